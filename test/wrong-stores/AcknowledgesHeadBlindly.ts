import { MsgStoreModel } from "@restante/conformance"
import type { MessageId, RecipientId } from "restante"
import { ofModel, type WrongStore } from "./WrongStore.ts"

export const store: WrongStore = {
  mistake: "acknowledges the head whatever id is named",
  caughtBy: ["22", "21"],
  caughtByHistories: true,
  layer: ofModel(
    class extends MsgStoreModel.MsgStoreModel {
      override acknowledge(recipientId: RecipientId, messageId: MessageId) {
        const queue = this.find({ recipientId })
        return super.acknowledge(recipientId, queue?.entries[0]?.id ?? messageId)
      }
    }
  )
}

import { MsgStoreModel } from "@restante/conformance"
import type { MessageId, RecipientId } from "restante"
import { ofModel, type WrongStore } from "./WrongStore.ts"

export const store: WrongStore = {
  mistake: "refuses to acknowledge while the queue is suspended",
  caughtBy: ["8"],
  caughtByHistories: true,
  layer: ofModel(
    class extends MsgStoreModel.MsgStoreModel {
      override acknowledge(recipientId: RecipientId, messageId: MessageId) {
        const queue = this.find({ recipientId })
        return queue?.status === "suspended" ? { success: undefined } : super.acknowledge(recipientId, messageId)
      }
    }
  )
}

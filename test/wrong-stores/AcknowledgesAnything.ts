import { MsgStoreModel } from "@restante/conformance"
import type { MessageId, RecipientId } from "restante"
import { ofModel, type WrongStore } from "./WrongStore.ts"

export const store: WrongStore = {
  mistake: "acknowledges a message wherever it stands",
  caughtBy: ["22"],
  caughtByHistories: true,
  layer: ofModel(
    class extends MsgStoreModel.MsgStoreModel {
      override acknowledge(recipientId: RecipientId, messageId: MessageId) {
        const queue = this.find({ recipientId })
        const index = queue?.entries.findIndex((entry) => entry.id === messageId) ?? -1
        if (queue === undefined || index <= 0) return super.acknowledge(recipientId, messageId)
        return { success: queue.entries.splice(index, 1)[0] }
      }
    }
  )
}

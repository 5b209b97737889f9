import { MsgStoreModel } from "@restante/conformance"
import type { RecipientId } from "restante"
import { ofModel, type WrongStore } from "./WrongStore.ts"

export const store: WrongStore = {
  mistake: "still shows the head of a deleted queue",
  caughtBy: ["7", "53", "54"],
  caughtByHistories: true,
  layer: ofModel(
    class extends MsgStoreModel.MsgStoreModel {
      override deleteQueue(recipientId: RecipientId) {
        const queue = this.find({ recipientId })
        const entries = queue?.entries ?? []
        const answer = super.deleteQueue(recipientId)
        if (queue !== undefined) queue.entries = entries
        return answer
      }
      override peek(recipientId: RecipientId) {
        const deleted = this.queues.find((queue) => queue.deleted && queue.recipientId === recipientId)
        return deleted === undefined ? super.peek(recipientId) : { success: deleted.entries[0] }
      }
    }
  )
}

import { MsgStoreModel } from "@restante/conformance"
import type { Queue, RecipientId } from "restante"
import { ofModel, type WrongStore } from "./WrongStore.ts"

export const store: WrongStore = {
  mistake: "changes updatedAt when the present status is set",
  caughtBy: ["9"],
  caughtByHistories: true,
  layer: ofModel(
    class extends MsgStoreModel.MsgStoreModel {
      override setQueueStatus(recipientId: RecipientId, status: Queue.QueueStatus, now: number) {
        const queue = this.find({ recipientId })
        if (queue !== undefined) queue.updatedAt = now
        return super.setQueueStatus(recipientId, status, now)
      }
    }
  )
}

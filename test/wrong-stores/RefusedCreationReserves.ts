import { MsgStoreModel } from "@restante/conformance"
import { ofModel, type WrongStore } from "./WrongStore.ts"

export const store: WrongStore = {
  mistake: "reserves the other id of a creation that it refuses",
  caughtBy: ["3"],
  caughtByHistories: true,
  layer: ofModel(
    class extends MsgStoreModel.MsgStoreModel {
      override createQueue(queue: Parameters<MsgStoreModel.MsgStoreModel["createQueue"]>[0], now: number) {
        const answer = super.createQueue(queue, now)
        if ("failure" in answer) {
          const { recipientId, senderId } = queue
          this.queues.push({
            recipientId,
            senderId,
            quota: undefined,
            status: "active",
            entries: [],
            latched: false,
            nextSequence: 1n,
            createdAt: now,
            updatedAt: now,
            deleted: true
          })
        }
        return answer
      }
    }
  )
}

import { MsgStoreModel } from "@restante/conformance"
import { ofModel, type WrongStore } from "./WrongStore.ts"

export const store: WrongStore = {
  mistake: "expires only queues that were changed after their creation",
  caughtBy: ["51", "I7"],
  caughtByHistories: true,
  layer: ofModel(
    class extends MsgStoreModel.MsgStoreModel {
      override *expireAll(before: number, batchSize: number) {
        const queues = this.queues
        const hidden = queues.filter((queue) => queue.updatedAt === queue.createdAt)
        for (const queue of hidden) queues.splice(queues.indexOf(queue), 1)
        yield* super.expireAll(before, batchSize)
        queues.push(...hidden)
      }
    }
  )
}

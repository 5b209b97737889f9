import { MsgStoreModel } from "@restante/conformance"
import { ofModel, type WrongStore } from "./WrongStore.ts"

export const store: WrongStore = {
  mistake: "does not expire latched queues",
  caughtBy: ["51"],
  caughtByHistories: true,
  layer: ofModel(
    class extends MsgStoreModel.MsgStoreModel {
      override *expireAll(before: number, batchSize: number) {
        const queues = this.queues
        const hidden = queues.filter((queue) => queue.latched)
        for (const queue of hidden) queues.splice(queues.indexOf(queue), 1)
        yield* super.expireAll(before, batchSize)
        queues.push(...hidden)
      }
    }
  )
}

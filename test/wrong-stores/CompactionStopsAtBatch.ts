import { MsgStoreModel } from "@restante/conformance"
import { Stream } from "effect"
import { ofModel, type WrongStore } from "./WrongStore.ts"

export const store: WrongStore = {
  mistake: "compacts one batch and takes it for all",
  caughtBy: ["58"],
  caughtByHistories: true,
  layer: ofModel(MsgStoreModel.MsgStoreModel, {
    replaces: (_, { queues }) => ({
      compactDeleted: (before, batchSize) =>
        Stream.sync(() => {
          const batch = queues.filter(({ deletedAt = before }) => deletedAt < before).slice(0, batchSize)
          for (const queue of batch) queues.splice(queues.indexOf(queue), 1)
          return batch.length
        })
    })
  })
}

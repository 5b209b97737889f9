import { MsgStoreModel } from "@restante/conformance"
import { Effect, Stream } from "effect"
import { ofModel, type WrongStore } from "./WrongStore.ts"

export const store: WrongStore = {
  mistake: "exports the record of a queue and its entries as they are at different times",
  caughtBy: ["102", "8.2"],
  caughtByHistories: false,
  layer: ofModel(MsgStoreModel.MsgStoreModel, {
    replaces: (_, model) => ({
      exportLog: () =>
        Stream.unwrap(Effect.gen(function*() {
          const queues = model.exportRecords().filter((record) => record._tag === "Queue")
          for (let i = 0; i < 20; i++) yield* Effect.yieldNow
          const later = model.exportRecords()
          return Stream.succeed(queues.flatMap((line) => [
            line,
            ...later.filter((record) => record._tag === "Entry" && record.recipientId === line.queue.recipientId)
          ]))
        }))
    })
  })
}

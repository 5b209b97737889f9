import { MsgStoreModel } from "@restante/conformance"
import { Effect } from "effect"
import { ofModel, type WrongStore } from "./WrongStore.ts"

export const store: WrongStore = {
  mistake: "counts the entries and deletes the queue in two steps, so that a write in between is lost",
  caughtBy: ["57"],
  caughtByHistories: false,
  layer: ofModel(MsgStoreModel.MsgStoreModel, {
    replaces: (driver) => ({
      deleteQueue: (recipientId, now) =>
        Effect.gen(function*() {
          const counted = yield* driver.size(recipientId)
          yield* Effect.yieldNow
          yield* driver.deleteQueue(recipientId, now)
          return counted
        })
    })
  })
}

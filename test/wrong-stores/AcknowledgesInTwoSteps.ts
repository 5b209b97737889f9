import { MsgStoreModel } from "@restante/conformance"
import { Effect, Option } from "effect"
import { ofModel, type WrongStore } from "./WrongStore.ts"

export const store: WrongStore = {
  mistake: "looks at the head and removes it in two steps, so that two readers can get one message",
  caughtBy: ["60"],
  caughtByHistories: false,
  layer: ofModel(MsgStoreModel.MsgStoreModel, {
    replaces: (driver) => ({
      acknowledge: (recipientId, messageId) =>
        Effect.gen(function*() {
          const head = yield* driver.peek(recipientId)
          yield* Effect.yieldNow
          yield* driver.acknowledge(recipientId, messageId)
          return Option.filter(head, (entry) => entry.id === messageId)
        })
    })
  })
}

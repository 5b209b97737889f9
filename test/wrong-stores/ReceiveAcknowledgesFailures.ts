import { Effect, Stream } from "effect"
import { ofMemory, type WrongStore } from "./WrongStore.ts"

export const store: WrongStore = {
  mistake: "acknowledges a message although handling it has failed",
  caughtBy: ["4.15", "I9"],
  caughtByHistories: false,
  layer: ofMemory((memory) => ({
    receive: (recipientId) =>
      Stream.map(
        memory.receive(recipientId),
        (received) =>
          Effect.tap(received, ({ sequence }) =>
            Effect.addFinalizer(() =>
              Effect.orDie(memory.acknowledgeThrough(recipientId, { sequence }))
            ))
      )
  }))
}

import { Effect, Stream } from "effect"
import { ofMemory, type WrongStore } from "./WrongStore.ts"

export const store: WrongStore = {
  mistake: "acknowledges a message when it is handed over, not when it has been handled",
  caughtBy: ["4.15"],
  caughtByHistories: false,
  layer: ofMemory((memory) => ({
    receive: (recipientId) =>
      Stream.map(
        memory.receive(recipientId),
        (received) =>
          Effect.tap(received, ({ sequence }) => Effect.orDie(memory.acknowledgeThrough(recipientId, { sequence })))
      )
  }))
}

import { Effect, Stream } from "effect"
import { ofMemory, type WrongStore } from "./WrongStore.ts"

export const store: WrongStore = {
  mistake: "tells readers of what arrives from now on, and not of what is there",
  caughtBy: ["66"],
  caughtByHistories: false,
  layer: ofMemory((memory) => ({
    arrivals: (recipientId) =>
      Stream.unwrap(
        Effect.map(memory.size(recipientId), (size) => Stream.drop(memory.arrivals(recipientId), size === 0 ? 0 : 1))
      )
  }))
}

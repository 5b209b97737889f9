import { Stream } from "effect"
import { ofMemory, type WrongStore } from "./WrongStore.ts"

export const store: WrongStore = {
  mistake: "tells each reader at the start that there is something, whether or not there is",
  caughtBy: ["66"],
  caughtByHistories: false,
  layer: ofMemory((memory) => ({
    arrivals: (recipientId) => Stream.concat(Stream.make(undefined), memory.arrivals(recipientId))
  }))
}

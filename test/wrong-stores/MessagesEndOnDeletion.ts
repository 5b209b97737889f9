import { Stream } from "effect"
import { ofMemory, type WrongStore } from "./WrongStore.ts"

export const store: WrongStore = {
  mistake: "ends the stream of messages quietly when the queue is deleted",
  caughtBy: ["18", "7"],
  caughtByHistories: true,
  layer: ofMemory((memory) => ({
    messages: (recipientId) => Stream.catchTag(memory.messages(recipientId), "QueueNotFound", () => Stream.empty)
  }))
}

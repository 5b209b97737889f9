import { Effect } from "effect"
import { ofMemory, type WrongStore } from "./WrongStore.ts"

export const store: WrongStore = {
  mistake: "looks for the queue before it looks at the size of the body",
  caughtBy: ["15"],
  caughtByHistories: true,
  layer: ofMemory((memory) => ({
    write: (target, message) =>
      Effect.andThen(
        "senderId" in target ? memory.getQueue(target) : memory.getQueue(target),
        memory.write(target, message)
      )
  }))
}

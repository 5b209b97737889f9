import { Effect, Result } from "effect"
import { ofMemory, type WrongStore } from "./WrongStore.ts"

export const store: WrongStore = {
  mistake: "answers nothing to a batch of which nothing could be stored",
  caughtBy: ["43"],
  caughtByHistories: true,
  layer: ofMemory((memory) => ({
    writeMany: (items) =>
      Effect.map(memory.writeMany(items), (results) => results.every(Result.isFailure) ? [] : results)
  }))
}

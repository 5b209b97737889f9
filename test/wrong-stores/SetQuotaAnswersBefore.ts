import { Effect } from "effect"
import { ofMemory, type WrongStore } from "./WrongStore.ts"

export const store: WrongStore = {
  mistake: "answers the record as it was before the quota was set",
  caughtBy: ["9", "2.6"],
  caughtByHistories: true,
  layer: ofMemory((memory) => ({
    setQuota: (recipientId, quota) =>
      Effect.flatMap(
        memory.setQuota(recipientId, undefined),
        (before) => Effect.as(memory.setQuota(recipientId, quota), before)
      )
  }))
}

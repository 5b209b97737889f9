import { Effect } from "effect"
import type { Maintenance } from "restante"
import { ofMemory, type WrongStore } from "./WrongStore.ts"

export const store: WrongStore = {
  mistake: "reports the counts of each batch, not of all so far",
  caughtBy: ["50"],
  caughtByHistories: true,
  layer: ofMemory((memory) => ({
    expireAll: ({ onProgress, ...options }) =>
      Effect.suspend(() => {
        let last: Maintenance.ExpiryCounts = { visited: 0, expired: 0, skipped: 0, failed: 0 }
        return memory.expireAll({
          ...options,
          onProgress: (counts) => {
            const batch = { ...counts, visited: counts.visited - last.visited, expired: counts.expired - last.expired }
            last = counts
            return onProgress?.(batch) ?? Effect.void
          }
        })
      })
  }))
}

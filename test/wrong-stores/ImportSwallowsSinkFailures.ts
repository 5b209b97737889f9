import { Effect } from "effect"
import { ofMemory, type WrongStore } from "./WrongStore.ts"

export const store: WrongStore = {
  mistake: "goes on with an import whose sink of rejected lines has failed",
  caughtBy: ["100", "8.4"],
  caughtByHistories: false,
  layer: ofMemory((memory) => ({
    importLog: (bytes, options = {}) => {
      const { rejects } = options
      return memory.importLog(bytes, {
        ...options,
        rejects: rejects === undefined ? undefined : (line) => Effect.ignore(rejects(line))
      })
    }
  }))
}

import { Effect } from "effect"
import { ofMemory, type WrongStore } from "./WrongStore.ts"

export const store: WrongStore = {
  mistake: "reads the arguments of a write when it runs, not when it is called",
  caughtBy: ["2.4", "4.5"],
  caughtByHistories: false,
  layer: ofMemory((memory) => ({
    write: (target, message) => Effect.suspend(() => memory.write(target, message)),
    writeMany: (items) => Effect.suspend(() => memory.writeMany(items))
  }))
}

import { Effect } from "effect"
import { ofMemory, type WrongStore } from "./WrongStore.ts"

export const store: WrongStore = {
  mistake: "puts the target of a write into its span",
  caughtBy: ["2.3"],
  caughtByHistories: false,
  layer: ofMemory((memory) => ({
    write: (target, message) =>
      Effect.withSpan(memory.write(target, message), "MsgStore.write", {
        attributes: { target: JSON.stringify(target) }
      })
  }))
}

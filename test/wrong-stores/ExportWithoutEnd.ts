import { Stream } from "effect"
import { ofMemory, type WrongStore } from "./WrongStore.ts"

const decoder = new TextDecoder()

export const store: WrongStore = {
  mistake: "leaves the end line out of an export",
  caughtBy: ["88", "98", "8.1"],
  caughtByHistories: false,
  layer: ofMemory((memory) => ({
    exportLog: (options) =>
      Stream.filter(memory.exportLog(options), (bytes) => !decoder.decode(bytes).startsWith(`{"t":"end"`))
  }))
}

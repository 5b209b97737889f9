import { Effect } from "effect"
import { ofMemory, type WrongStore } from "./WrongStore.ts"

export const store: WrongStore = {
  mistake: "counts the lines of an import from 0",
  caughtBy: ["95", "96", "99", "8.7"],
  caughtByHistories: true,
  layer: ofMemory((memory) => ({
    importLog: (bytes, options) =>
      Effect.map(memory.importLog(bytes, options), (report) => ({
        ...report,
        rejections: report.rejections.map(({ line, reason }) => ({ line: line - 1, reason }))
      }))
  }))
}

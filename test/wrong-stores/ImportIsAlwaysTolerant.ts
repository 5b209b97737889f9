import { ofMemory, type WrongStore } from "./WrongStore.ts"

export const store: WrongStore = {
  mistake: "takes a strict import for a tolerant one",
  caughtBy: ["95", "96", "99", "8.4"],
  caughtByHistories: true,
  layer: ofMemory((memory) => ({
    importLog: (bytes, options) => memory.importLog(bytes, { ...options, mode: "tolerant" })
  }))
}

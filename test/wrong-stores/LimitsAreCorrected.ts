import { MsgStore } from "restante"
import type { WrongStore } from "./WrongStore.ts"

export const store: WrongStore = {
  mistake: "corrects a limit that is out of bounds and says nothing",
  caughtBy: ["15"],
  caughtByHistories: false,
  layer: (limits) => {
    const corrected = limits.maxBatchItems === 0 ? { ...limits, maxBatchItems: 1 } : limits
    return MsgStore.layerMemory(corrected)
  }
}

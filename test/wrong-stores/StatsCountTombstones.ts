import { MsgStoreModel } from "@restante/conformance"
import { ofModel, type WrongStore } from "./WrongStore.ts"

export const store: WrongStore = {
  mistake: "counts deleted queues among the queues",
  caughtBy: ["58", "4.13"],
  caughtByHistories: true,
  layer: ofModel(
    class extends MsgStoreModel.MsgStoreModel {
      override stats() {
        return { ...super.stats(), queues: this.queues.length }
      }
    }
  )
}

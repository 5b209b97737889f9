import { MsgStoreModel } from "@restante/conformance"
import { ofModel, type WrongStore } from "./WrongStore.ts"

export const store: WrongStore = {
  mistake: "counts deleted queues as checked",
  caughtBy: ["80", "4.14"],
  caughtByHistories: true,
  layer: ofModel(
    class extends MsgStoreModel.MsgStoreModel {
      override recount() {
        return { ...super.recount(), checked: this.queues.length }
      }
    }
  )
}

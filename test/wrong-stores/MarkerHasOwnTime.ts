import { MsgStoreModel } from "@restante/conformance"
import { ofModel, type WrongStore } from "./WrongStore.ts"

export const store: WrongStore = {
  mistake: "gives the marker the time 0 in place of that of its message",
  caughtBy: ["29"],
  caughtByHistories: true,
  layer: ofModel(
    class extends MsgStoreModel.MsgStoreModel {
      override marker(message: MsgStoreModel.ModelMessage) {
        return { ...super.marker(message), timestamp: 0 }
      }
    }
  )
}

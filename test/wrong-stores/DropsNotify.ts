import { MsgStoreModel } from "@restante/conformance"
import { ofModel, type WrongStore } from "./WrongStore.ts"

export const store: WrongStore = {
  mistake: "loses the notify flag",
  caughtBy: ["14"],
  caughtByHistories: true,
  layer: ofModel(
    class extends MsgStoreModel.MsgStoreModel {
      override stored(message: MsgStoreModel.ModelMessage) {
        return { ...super.stored(message), notify: false }
      }
    }
  )
}

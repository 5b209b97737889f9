import { MsgStoreModel } from "@restante/conformance"
import { ofModel, type WrongStore } from "./WrongStore.ts"

export const store: WrongStore = {
  mistake: "stores the body of the overflowing message in the marker",
  caughtBy: ["29"],
  caughtByHistories: true,
  layer: ofModel(
    class extends MsgStoreModel.MsgStoreModel {
      override marker(message: MsgStoreModel.ModelMessage) {
        return { ...super.marker(message), body: message.body }
      }
    }
  )
}

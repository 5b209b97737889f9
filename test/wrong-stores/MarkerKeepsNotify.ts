import { MsgStoreModel } from "@restante/conformance"
import { ofModel, type WrongStore } from "./WrongStore.ts"

export const store: WrongStore = {
  mistake: "keeps the notify flag in the marker",
  caughtBy: ["29"],
  caughtByHistories: true,
  layer: ofModel(
    class extends MsgStoreModel.MsgStoreModel {
      override marker(message: MsgStoreModel.ModelMessage) {
        return Object.assign(super.marker(message), { notify: message.notify })
      }
    }
  )
}

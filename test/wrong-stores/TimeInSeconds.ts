import { MsgStoreModel } from "@restante/conformance"
import { ofModel, type WrongStore } from "./WrongStore.ts"

export const store: WrongStore = {
  mistake: "keeps timestamps in whole seconds",
  caughtBy: ["14"],
  caughtByHistories: true,
  layer: ofModel(
    class extends MsgStoreModel.MsgStoreModel {
      override stored(message: MsgStoreModel.ModelMessage) {
        return { ...super.stored(message), timestamp: Math.floor(message.timestamp / 1_000) * 1_000 }
      }
    }
  )
}

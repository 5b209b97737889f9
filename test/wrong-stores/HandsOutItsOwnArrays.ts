import { MsgStoreModel } from "@restante/conformance"
import { ofModel, type WrongStore } from "./WrongStore.ts"

export const store: WrongStore = {
  mistake: "hands out the arrays that it keeps",
  caughtBy: ["2.4"],
  caughtByHistories: false,
  layer: ofModel(MsgStoreModel.MsgStoreModel, { sharesBodies: true })
}

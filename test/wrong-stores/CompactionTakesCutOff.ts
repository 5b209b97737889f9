import { MsgStoreModel } from "@restante/conformance"
import { ofModel, type WrongStore } from "./WrongStore.ts"

export const store: WrongStore = {
  mistake: "forgets a queue that was deleted exactly at the cut-off",
  caughtBy: ["58", "4.9"],
  caughtByHistories: true,
  layer: ofModel(
    class extends MsgStoreModel.MsgStoreModel {
      override compactDeleted(before: number) {
        return super.compactDeleted(before + 1)
      }
    }
  )
}

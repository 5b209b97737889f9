import { MsgStoreModel } from "@restante/conformance"
import { ofModel, type WrongStore } from "./WrongStore.ts"

export const store: WrongStore = {
  mistake: "counts markers among the messages",
  caughtBy: ["58", "4.13"],
  caughtByHistories: true,
  layer: ofModel(
    class extends MsgStoreModel.MsgStoreModel {
      override stats() {
        const stats = super.stats()
        return { ...stats, messages: stats.messages + stats.markers }
      }
    }
  )
}

import { MsgStoreModel } from "@restante/conformance"
import { ofModel, type WrongStore } from "./WrongStore.ts"

export const store: WrongStore = {
  mistake: "orders recipient ids by their text",
  caughtBy: ["2.1", "4.11"],
  caughtByHistories: true,
  layer: ofModel(
    class extends MsgStoreModel.MsgStoreModel {
      override inOrder() {
        return this.queues.toSorted((a, b) => a.recipientId < b.recipientId ? -1 : 1)
      }
    }
  )
}

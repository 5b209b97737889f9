import { MsgStoreModel } from "@restante/conformance"
import { ofModel, type WrongStore } from "./WrongStore.ts"

export const store: WrongStore = {
  mistake: "creates every queue as an active one",
  caughtBy: ["1", "2.6", "43"],
  caughtByHistories: true,
  layer: ofModel(
    class extends MsgStoreModel.MsgStoreModel {
      override createQueue(queue: Parameters<MsgStoreModel.MsgStoreModel["createQueue"]>[0], now: number) {
        return super.createQueue({ ...queue, status: "active" }, now)
      }
    }
  )
}

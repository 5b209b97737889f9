import { MsgStoreModel } from "@restante/conformance"
import { ofModel, type WrongStore } from "./WrongStore.ts"

export const store: WrongStore = {
  mistake: "changes updatedAt with every message",
  caughtBy: ["9"],
  caughtByHistories: true,
  layer: ofModel(
    class extends MsgStoreModel.MsgStoreModel {
      override append(queue: MsgStoreModel.ModelQueue, entry: Parameters<MsgStoreModel.MsgStoreModel["append"]>[1]) {
        queue.updatedAt++
        return super.append(queue, entry)
      }
    }
  )
}

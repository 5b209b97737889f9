import { MsgStoreModel } from "@restante/conformance"
import { ofModel, type WrongStore } from "./WrongStore.ts"

export const store: WrongStore = {
  mistake: "reads the newest message first",
  caughtBy: ["13", "16", "19"],
  caughtByHistories: true,
  layer: ofModel(
    class extends MsgStoreModel.MsgStoreModel {
      override append(queue: MsgStoreModel.ModelQueue, entry: Parameters<MsgStoreModel.MsgStoreModel["append"]>[1]) {
        const sequence = super.append(queue, entry)
        queue.entries.reverse()
        return sequence
      }
    }
  )
}

import { MsgStoreModel } from "@restante/conformance"
import { ofModel, type WrongStore } from "./WrongStore.ts"

export const store: WrongStore = {
  mistake: "takes one message more than the quota",
  caughtBy: ["29", "33", "34"],
  caughtByHistories: true,
  layer: ofModel(
    class extends MsgStoreModel.MsgStoreModel {
      override hasRoom(queue: MsgStoreModel.ModelQueue) {
        return queue.entries.length <= (queue.quota ?? this.limits.defaultQuota)
      }
    }
  )
}

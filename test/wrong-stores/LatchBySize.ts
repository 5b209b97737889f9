import { MsgStoreModel } from "@restante/conformance"
import { ofModel, type WrongStore } from "./WrongStore.ts"

export const store: WrongStore = {
  mistake: "decides by the size whether the queue is latched",
  caughtBy: ["31", "35"],
  caughtByHistories: true,
  layer: ofModel(
    class extends MsgStoreModel.MsgStoreModel {
      override writeTo(queue: MsgStoreModel.ModelQueue, message: MsgStoreModel.ModelMessage) {
        queue.latched = queue.entries.length > (queue.quota ?? this.limits.defaultQuota)
        return super.writeTo(queue, message)
      }
    }
  )
}

import { MsgStoreModel } from "@restante/conformance"
import { ofModel, type WrongStore } from "./WrongStore.ts"

export const store: WrongStore = {
  mistake: "keeps the latch of a drained queue until the next write",
  caughtBy: ["27", "31", "77"],
  caughtByHistories: true,
  layer: ofModel(
    class extends MsgStoreModel.MsgStoreModel {
      override removeFirst(queue: MsgStoreModel.ModelQueue) {
        const { latched } = queue
        const first = super.removeFirst(queue)
        queue.latched = latched
        return first
      }
      override writeTo(queue: MsgStoreModel.ModelQueue, message: MsgStoreModel.ModelMessage) {
        if (queue.entries.length === 0) queue.latched = false
        return super.writeTo(queue, message)
      }
    }
  )
}

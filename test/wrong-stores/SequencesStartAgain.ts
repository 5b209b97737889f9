import { MsgStoreModel } from "@restante/conformance"
import { ofModel, type WrongStore } from "./WrongStore.ts"

export const store: WrongStore = {
  mistake: "starts the sequences again when the queue has been drained",
  caughtBy: ["20", "27", "39"],
  caughtByHistories: true,
  layer: ofModel(
    class extends MsgStoreModel.MsgStoreModel {
      override removeFirst(queue: MsgStoreModel.ModelQueue) {
        const first = super.removeFirst(queue)
        if (queue.entries.length === 0) queue.nextSequence = 1n
        return first
      }
    }
  )
}

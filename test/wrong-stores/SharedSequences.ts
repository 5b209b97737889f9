import { MsgStoreModel } from "@restante/conformance"
import { ofModel, type WrongStore } from "./WrongStore.ts"

export const store: WrongStore = {
  mistake: "numbers the messages of all queues together",
  caughtBy: ["10", "12"],
  caughtByHistories: true,
  layer: ofModel(
    class extends MsgStoreModel.MsgStoreModel {
      override append(queue: MsgStoreModel.ModelQueue, entry: Parameters<MsgStoreModel.MsgStoreModel["append"]>[1]) {
        for (const other of this.queues) {
          if (other.nextSequence > queue.nextSequence) queue.nextSequence = other.nextSequence
        }
        return super.append(queue, entry)
      }
    }
  )
}

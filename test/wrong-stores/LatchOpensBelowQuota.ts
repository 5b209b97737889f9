import { MsgStoreModel } from "@restante/conformance"
import { ofModel, type WrongStore } from "./WrongStore.ts"

export const store: WrongStore = {
  mistake: "opens the latch as soon as there is room again",
  caughtBy: ["31"],
  caughtByHistories: true,
  layer: ofModel(
    class extends MsgStoreModel.MsgStoreModel {
      override removeFirst(queue: MsgStoreModel.ModelQueue) {
        const first = super.removeFirst(queue)
        if (this.hasRoom(queue)) queue.latched = false
        return first
      }
    }
  )
}

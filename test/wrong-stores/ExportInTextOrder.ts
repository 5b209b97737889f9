import { MsgStoreModel } from "@restante/conformance"
import { ofModel, type WrongStore } from "./WrongStore.ts"

export const store: WrongStore = {
  mistake: "exports queues in the order of the texts of their ids, not of their bytes",
  caughtBy: ["88", "8.2"],
  caughtByHistories: true,
  layer: ofModel(
    class extends MsgStoreModel.MsgStoreModel {
      override exportRecords() {
        const copy = new MsgStoreModel.MsgStoreModel(this.limits)
        const inOrder = this.queues.toSorted((a, b) => a.recipientId < b.recipientId ? -1 : 1)
        return inOrder.flatMap((queue) => {
          copy.queues.splice(0, copy.queues.length, queue)
          return copy.exportRecords()
        })
      }
    }
  )
}

import { MsgStoreModel } from "@restante/conformance"
import { ofModel, type WrongStore } from "./WrongStore.ts"

export const store: WrongStore = {
  mistake: "exports queues that were deleted",
  caughtBy: ["54", "88", "8.2"],
  caughtByHistories: true,
  layer: ofModel(
    class extends MsgStoreModel.MsgStoreModel {
      override exportRecords() {
        const copy = new MsgStoreModel.MsgStoreModel(this.limits)
        copy.queues.push(...this.queues.map((queue) => ({ ...queue, deleted: false })))
        return copy.exportRecords()
      }
    }
  )
}

import { MsgStoreModel } from "@restante/conformance"
import { ofModel, type WrongStore } from "./WrongStore.ts"

export const store: WrongStore = {
  mistake: "compacts queues that are empty, deleted or not",
  caughtBy: ["58"],
  caughtByHistories: true,
  layer: ofModel(
    class extends MsgStoreModel.MsgStoreModel {
      override compactDeleted(before: number) {
        for (const queue of this.queues) if (queue.entries.length === 0) queue.deleted = true
        return super.compactDeleted(before)
      }
    }
  )
}

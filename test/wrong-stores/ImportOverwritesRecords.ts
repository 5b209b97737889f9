import { MsgStoreModel } from "@restante/conformance"
import { ofModel, type WrongStore } from "./WrongStore.ts"

export const store: WrongStore = {
  mistake: "gives a queue that is there the status of its line in the file",
  caughtBy: ["97", "8.5"],
  caughtByHistories: true,
  layer: ofModel(
    class extends MsgStoreModel.MsgStoreModel {
      override merge(staged: MsgStoreModel.ModelImport) {
        for (const record of staged.accepted) {
          const queue = record._tag === "Queue" ? this.find({ recipientId: record.queue.recipientId }) : undefined
          if (queue !== undefined && record._tag === "Queue") queue.status = record.queue.status
        }
        return super.merge(staged)
      }
    }
  )
}

import { MsgStoreModel } from "@restante/conformance"
import type { MsgStoreDriver } from "restante"
import { ofModel, type WrongStore } from "./WrongStore.ts"

export const store: WrongStore = {
  mistake: "brings a deleted queue back when a file has it",
  caughtBy: ["8.4"],
  caughtByHistories: true,
  layer: ofModel(
    class extends MsgStoreModel.MsgStoreModel {
      override stage(staged: MsgStoreModel.ModelImport, record: MsgStoreDriver.LogRecord) {
        if (record._tag === "Queue") {
          const { recipientId, senderId } = record.queue
          const deleted = this.queues.findIndex((queue) =>
            queue.deleted && (queue.recipientId === recipientId || queue.senderId === senderId)
          )
          if (deleted !== -1) this.queues.splice(deleted, 1)
        }
        return super.stage(staged, record)
      }
    }
  )
}

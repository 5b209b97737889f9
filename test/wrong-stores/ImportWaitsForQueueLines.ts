import { MsgStoreModel } from "@restante/conformance"
import type { MsgStoreDriver } from "restante"
import { ofModel, type WrongStore } from "./WrongStore.ts"

export const store: WrongStore = {
  mistake: "imports an entry whose queue line comes later",
  caughtBy: ["96", "8.4"],
  caughtByHistories: true,
  layer: ofModel(
    class extends MsgStoreModel.MsgStoreModel {
      private readonly early: Array<MsgStoreDriver.LogRecord> = []
      override stage(staged: MsgStoreModel.ModelImport, record: MsgStoreDriver.LogRecord) {
        const reason = super.stage(staged, record)
        if (reason === "QueueNotFound") this.early.push(record)
        if (reason === undefined && record._tag === "Queue") {
          const { recipientId } = record.queue
          const waiting = this.early.filter((entry) => entry._tag === "Entry" && entry.recipientId === recipientId)
          staged.accepted.push(...waiting)
        }
        return reason
      }
    }
  )
}

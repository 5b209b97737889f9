import { MsgStoreModel } from "@restante/conformance"
import type { MsgStoreDriver } from "restante"
import { ofModel, type WrongStore } from "./WrongStore.ts"

export const store: WrongStore = {
  mistake: "imports nothing into a suspended queue",
  caughtBy: ["101", "8.5"],
  caughtByHistories: true,
  layer: ofModel(
    class extends MsgStoreModel.MsgStoreModel {
      override stage(staged: MsgStoreModel.ModelImport, record: MsgStoreDriver.LogRecord) {
        const queue = record._tag === "Entry" ? this.find({ recipientId: record.recipientId }) : undefined
        return queue?.status === "suspended" ? "QueueNotFound" : super.stage(staged, record)
      }
    }
  )
}

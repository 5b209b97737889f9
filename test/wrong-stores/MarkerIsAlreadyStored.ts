import { MsgStoreModel } from "@restante/conformance"
import type { MsgStore } from "restante"
import { ofModel, type WrongStore } from "./WrongStore.ts"

export const store: WrongStore = {
  mistake: "answers AlreadyStored when the id of the marker is written again",
  caughtBy: ["40"],
  caughtByHistories: true,
  layer: ofModel(
    class extends MsgStoreModel.MsgStoreModel {
      override writeTo(
        queue: MsgStoreModel.ModelQueue,
        message: MsgStoreModel.ModelMessage
      ): MsgStoreModel.ModelAnswer<MsgStore.WriteOutcome> {
        const entry = queue.entries.find((candidate) => candidate.id === message.id)
        return entry?.kind === "quota"
          ? { success: { _tag: "AlreadyStored", sequence: entry.sequence } }
          : super.writeTo(queue, message)
      }
    }
  )
}

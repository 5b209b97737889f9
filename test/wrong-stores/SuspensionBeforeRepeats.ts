import { MsgStoreModel } from "@restante/conformance"
import type { MsgStore } from "restante"
import { ofModel, type WrongStore } from "./WrongStore.ts"

export const store: WrongStore = {
  mistake: "refuses a repeated write to a suspended queue",
  caughtBy: ["40", "8"],
  caughtByHistories: true,
  layer: ofModel(
    class extends MsgStoreModel.MsgStoreModel {
      override writeTo(
        queue: MsgStoreModel.ModelQueue,
        message: MsgStoreModel.ModelMessage
      ): MsgStoreModel.ModelAnswer<MsgStore.WriteOutcome> {
        if (queue.status === "suspended") return { failure: { _tag: "QueueSuspended" } }
        return super.writeTo(queue, message)
      }
    }
  )
}

import { MsgStoreModel } from "@restante/conformance"
import type { MsgStore } from "restante"
import { ofModel, type WrongStore } from "./WrongStore.ts"

export const store: WrongStore = {
  mistake: "answers QuotaExceeded to a repeated write when latched",
  caughtBy: ["40"],
  caughtByHistories: true,
  layer: ofModel(
    class extends MsgStoreModel.MsgStoreModel {
      override writeTo(
        queue: MsgStoreModel.ModelQueue,
        message: MsgStoreModel.ModelMessage
      ): MsgStoreModel.ModelAnswer<MsgStore.WriteOutcome> {
        if (queue.latched && queue.status === "active") return { success: { _tag: "QuotaExceeded" } }
        return super.writeTo(queue, message)
      }
    }
  )
}

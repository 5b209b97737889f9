import { MsgStoreModel } from "@restante/conformance"
import type { MsgStore } from "restante"
import { ofModel, type WrongStore } from "./WrongStore.ts"

export const store: WrongStore = {
  mistake: "stores a repeated write again",
  caughtBy: ["38", "40", "62"],
  caughtByHistories: true,
  layer: ofModel(
    class extends MsgStoreModel.MsgStoreModel {
      override writeTo(
        queue: MsgStoreModel.ModelQueue,
        message: MsgStoreModel.ModelMessage
      ): MsgStoreModel.ModelAnswer<MsgStore.WriteOutcome> {
        if (queue.status === "suspended") return { failure: { _tag: "QueueSuspended" } }
        if (queue.latched) return { success: { _tag: "QuotaExceeded" } }
        if (!this.hasRoom(queue)) {
          this.append(queue, this.marker(message))
          queue.latched = true
          return { success: { _tag: "QuotaReached" } }
        }
        const wasEmpty = queue.entries.length === 0
        return { success: { _tag: "Accepted", wasEmpty, sequence: this.append(queue, this.stored(message)) } }
      }
    }
  )
}

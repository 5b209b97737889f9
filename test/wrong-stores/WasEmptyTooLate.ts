import { MsgStoreModel } from "@restante/conformance"
import { ofModel, type WrongStore } from "./WrongStore.ts"

export const store: WrongStore = {
  mistake: "asks whether the queue is empty after it has stored the message",
  caughtBy: ["12", "20", "42"],
  caughtByHistories: true,
  layer: ofModel(
    class extends MsgStoreModel.MsgStoreModel {
      override writeTo(queue: MsgStoreModel.ModelQueue, message: MsgStoreModel.ModelMessage) {
        const answer = super.writeTo(queue, message)
        return "success" in answer && answer.success._tag === "Accepted"
          ? { success: { ...answer.success, wasEmpty: queue.entries.length === 0 } }
          : answer
      }
    }
  )
}

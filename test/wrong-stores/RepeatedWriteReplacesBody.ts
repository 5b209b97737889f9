import { MsgStoreModel } from "@restante/conformance"
import { ofModel, type WrongStore } from "./WrongStore.ts"

export const store: WrongStore = {
  mistake: "replaces the stored body by that of a repeated write",
  caughtBy: ["38"],
  caughtByHistories: true,
  layer: ofModel(
    class extends MsgStoreModel.MsgStoreModel {
      override writeTo(queue: MsgStoreModel.ModelQueue, message: MsgStoreModel.ModelMessage) {
        const answer = super.writeTo(queue, message)
        const repeated = "success" in answer && answer.success._tag === "AlreadyStored"
        queue.entries = queue.entries.map((entry) =>
          repeated && entry.id === message.id ? { ...entry, body: message.body } : entry
        )
        return answer
      }
    }
  )
}

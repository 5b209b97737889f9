import { MsgStoreModel } from "@restante/conformance"
import { ofModel, type WrongStore } from "./WrongStore.ts"

export const store: WrongStore = {
  mistake: "says that a queue was empty only for its very first message",
  caughtBy: ["20", "49"],
  caughtByHistories: true,
  layer: ofModel(
    class extends MsgStoreModel.MsgStoreModel {
      override writeTo(queue: MsgStoreModel.ModelQueue, message: MsgStoreModel.ModelMessage) {
        const answer = super.writeTo(queue, message)
        return "success" in answer && answer.success._tag === "Accepted"
          ? { success: { ...answer.success, wasEmpty: answer.success.sequence === 1n } }
          : answer
      }
    }
  )
}

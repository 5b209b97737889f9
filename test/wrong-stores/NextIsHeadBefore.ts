import { MsgStoreModel } from "@restante/conformance"
import type { MessageId, RecipientId } from "restante"
import { ofModel, type WrongStore } from "./WrongStore.ts"

export const store: WrongStore = {
  mistake: "answers the head before the removal as the next one",
  caughtBy: ["23", "24", "25"],
  caughtByHistories: true,
  layer: ofModel(
    class extends MsgStoreModel.MsgStoreModel {
      override acknowledgeAndPeek(recipientId: RecipientId, messageId: MessageId) {
        const before = this.find({ recipientId })?.entries[0]
        const answer = super.acknowledgeAndPeek(recipientId, messageId)
        return "success" in answer ? { success: { ...answer.success, next: before } } : answer
      }
    }
  )
}

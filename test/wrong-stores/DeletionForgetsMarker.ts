import { MsgStoreModel } from "@restante/conformance"
import type { RecipientId } from "restante"
import { ofModel, type WrongStore } from "./WrongStore.ts"

export const store: WrongStore = {
  mistake: "does not count the marker among the discarded entries",
  caughtBy: ["53"],
  caughtByHistories: true,
  layer: ofModel(
    class extends MsgStoreModel.MsgStoreModel {
      override deleteQueue(recipientId: RecipientId) {
        const latched = this.find({ recipientId })?.latched === true
        const answer = super.deleteQueue(recipientId)
        return "success" in answer && latched ? { success: answer.success - 1 } : answer
      }
    }
  )
}

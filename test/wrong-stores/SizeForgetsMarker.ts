import { MsgStoreModel } from "@restante/conformance"
import type { RecipientId } from "restante"
import { ofModel, type WrongStore } from "./WrongStore.ts"

export const store: WrongStore = {
  mistake: "does not count the marker in size",
  caughtBy: ["29", "30"],
  caughtByHistories: true,
  layer: ofModel(
    class extends MsgStoreModel.MsgStoreModel {
      override size(recipientId: RecipientId) {
        const answer = super.size(recipientId)
        const latched = this.find({ recipientId })?.latched === true
        return "success" in answer && latched ? { success: answer.success - 1 } : answer
      }
    }
  )
}

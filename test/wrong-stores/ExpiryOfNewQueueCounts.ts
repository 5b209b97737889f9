import { MsgStoreModel } from "@restante/conformance"
import type { RecipientId } from "restante"
import { ofModel, type WrongStore } from "./WrongStore.ts"

export const store: WrongStore = {
  mistake: "counts one message more than it expires when the queue has been empty all along",
  caughtBy: ["49"],
  caughtByHistories: true,
  layer: ofModel(
    class extends MsgStoreModel.MsgStoreModel {
      override deleteExpired(recipientId: RecipientId, before: number) {
        const empty = this.find({ recipientId })?.nextSequence === 1n
        return empty ? { success: 1 } : super.deleteExpired(recipientId, before)
      }
    }
  )
}

import { MsgStoreModel } from "@restante/conformance"
import type { MsgStore, RecipientId } from "restante"
import { ofModel, type WrongStore } from "./WrongStore.ts"

export const store: WrongStore = {
  mistake: "leaves the marker out of a batch",
  caughtBy: ["16", "29"],
  caughtByHistories: true,
  layer: ofModel(
    class extends MsgStoreModel.MsgStoreModel {
      override peekBatch(recipientId: RecipientId, range: MsgStore.PeekRange) {
        const answer = super.peekBatch(recipientId, range)
        return "success" in answer ? { success: answer.success.filter((entry) => entry.kind === "message") } : answer
      }
    }
  )
}

import { MsgStoreModel } from "@restante/conformance"
import type { MsgStore, RecipientId } from "restante"
import { ofModel, type WrongStore } from "./WrongStore.ts"

export const store: WrongStore = {
  mistake: "starts a batch at the given sequence, not behind it",
  caughtBy: ["16", "18"],
  caughtByHistories: true,
  layer: ofModel(
    class extends MsgStoreModel.MsgStoreModel {
      override peekBatch(recipientId: RecipientId, range: MsgStore.PeekRange) {
        const after = range.after === undefined || range.after === 0n ? 0n : range.after - 1n
        return super.peekBatch(recipientId, { ...range, after })
      }
    }
  )
}

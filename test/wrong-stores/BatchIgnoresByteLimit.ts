import { MsgStoreModel } from "@restante/conformance"
import type { MsgStore, RecipientId } from "restante"
import { ofModel, type WrongStore } from "./WrongStore.ts"

export const store: WrongStore = {
  mistake: "hands out more bytes in one batch than it may",
  caughtBy: ["17"],
  caughtByHistories: true,
  layer: ofModel(
    class extends MsgStoreModel.MsgStoreModel {
      override peekBatch(recipientId: RecipientId, range: MsgStore.PeekRange) {
        const entries = this.find({ recipientId })?.entries
        if (entries === undefined) return super.peekBatch(recipientId, range)
        const after = range.after ?? 0n
        return { success: entries.filter((entry) => entry.sequence > after).slice(0, range.limit) }
      }
    }
  )
}

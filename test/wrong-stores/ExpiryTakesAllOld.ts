import { MsgStoreModel } from "@restante/conformance"
import type { RecipientId } from "restante"
import { ofModel, type WrongStore } from "./WrongStore.ts"

export const store: WrongStore = {
  mistake: "removes every old message, also behind a fresh one",
  caughtBy: ["47"],
  caughtByHistories: true,
  layer: ofModel(
    class extends MsgStoreModel.MsgStoreModel {
      override deleteExpired(recipientId: RecipientId, before: number) {
        const queue = this.find({ recipientId })
        if (queue === undefined) return super.deleteExpired(recipientId, before)
        const left = queue.entries.filter((entry) => entry.kind === "quota" || entry.timestamp >= before)
        const removed = queue.entries.length - left.length
        queue.entries = left
        return { success: removed }
      }
    }
  )
}

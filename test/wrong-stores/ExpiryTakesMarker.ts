import { MsgStoreModel } from "@restante/conformance"
import type { RecipientId } from "restante"
import { ofModel, type WrongStore } from "./WrongStore.ts"

export const store: WrongStore = {
  mistake: "lets the marker expire",
  caughtBy: ["48"],
  caughtByHistories: true,
  layer: ofModel(
    class extends MsgStoreModel.MsgStoreModel {
      override deleteExpired(recipientId: RecipientId, before: number) {
        const queue = this.find({ recipientId })
        if (queue === undefined) return super.deleteExpired(recipientId, before)
        let removed = 0
        while (queue.entries[0] !== undefined && queue.entries[0].timestamp < before) {
          this.removeFirst(queue)
          removed++
        }
        return { success: removed }
      }
    }
  )
}

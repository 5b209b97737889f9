import { MsgStoreModel } from "@restante/conformance"
import type { RecipientId } from "restante"
import { ofModel, type WrongStore } from "./WrongStore.ts"

export const store: WrongStore = {
  mistake: "opens the latch when only the marker is left by expiry",
  caughtBy: ["48"],
  caughtByHistories: true,
  layer: ofModel(
    class extends MsgStoreModel.MsgStoreModel {
      override deleteExpired(recipientId: RecipientId, before: number) {
        const answer = super.deleteExpired(recipientId, before)
        const queue = this.find({ recipientId })
        if (queue?.entries[0]?.kind === "quota") queue.latched = false
        return answer
      }
    }
  )
}

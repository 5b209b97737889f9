import { MsgStoreModel } from "@restante/conformance"
import type { RecipientId } from "restante"
import { ofModel, type WrongStore } from "./WrongStore.ts"

export const store: WrongStore = {
  mistake: "opens the latch when the quota is set",
  caughtBy: ["35"],
  caughtByHistories: true,
  layer: ofModel(
    class extends MsgStoreModel.MsgStoreModel {
      override setQuota(recipientId: RecipientId, quota: number | undefined, now: number) {
        const queue = this.find({ recipientId })
        if (queue !== undefined) queue.latched = false
        return super.setQuota(recipientId, quota, now)
      }
    }
  )
}

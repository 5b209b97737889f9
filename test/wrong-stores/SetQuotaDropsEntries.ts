import { MsgStoreModel } from "@restante/conformance"
import type { RecipientId } from "restante"
import { ofModel, type WrongStore } from "./WrongStore.ts"

export const store: WrongStore = {
  mistake: "drops the entries above a lowered quota",
  caughtBy: ["34"],
  caughtByHistories: true,
  layer: ofModel(
    class extends MsgStoreModel.MsgStoreModel {
      override setQuota(recipientId: RecipientId, quota: number | undefined, now: number) {
        const queue = this.find({ recipientId })
        if (queue !== undefined && !queue.latched && quota !== undefined) queue.entries = queue.entries.slice(0, quota)
        return super.setQuota(recipientId, quota, now)
      }
    }
  )
}

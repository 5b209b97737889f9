import { MsgStoreModel } from "@restante/conformance"
import type { MsgStore, RecipientId } from "restante"
import { ofModel, type WrongStore } from "./WrongStore.ts"

export const store: WrongStore = {
  mistake: "takes a sequence that was never given out for the end of the queue",
  caughtBy: ["27"],
  caughtByHistories: true,
  layer: ofModel(
    class extends MsgStoreModel.MsgStoreModel {
      override acknowledgeThrough(recipientId: RecipientId, through: MsgStore.Through) {
        const last = (this.find({ recipientId })?.nextSequence ?? 1n) - 1n
        const tooFar = typeof through === "object" && through.sequence > last
        return super.acknowledgeThrough(recipientId, tooFar ? { sequence: last } : through)
      }
    }
  )
}

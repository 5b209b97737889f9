import { MsgStoreModel } from "@restante/conformance"
import type { MsgStore, RecipientId } from "restante"
import { ofModel, type WrongStore } from "./WrongStore.ts"

export const store: WrongStore = {
  mistake: "acknowledges everything before the named message but not the message",
  caughtBy: ["26", "27"],
  caughtByHistories: true,
  layer: ofModel(
    class extends MsgStoreModel.MsgStoreModel {
      override acknowledgeThrough(recipientId: RecipientId, through: MsgStore.Through) {
        const queue = this.find({ recipientId })
        const entry = queue?.entries.find((candidate) => candidate.id === through)
        return super.acknowledgeThrough(recipientId, entry === undefined ? through : { sequence: entry.sequence - 1n })
      }
    }
  )
}

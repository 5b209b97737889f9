import { MsgStoreModel } from "@restante/conformance"
import type { RecipientId } from "restante"
import { ofModel, type WrongStore } from "./WrongStore.ts"

export const store: WrongStore = {
  mistake: "wakes readers for messages only, and lets them sleep when a marker is stored into an empty queue",
  caughtBy: ["67"],
  caughtByHistories: false,
  layer: ofModel(
    class extends MsgStoreModel.MsgStoreModel {
      override mayHaveArrived(recipientId: RecipientId, from: bigint) {
        const queue = this.find({ recipientId })
        return super.mayHaveArrived(recipientId, from) && queue?.entries[0]?.kind !== "quota"
      }
    }
  )
}

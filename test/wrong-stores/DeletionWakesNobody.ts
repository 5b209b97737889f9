import { MsgStoreModel } from "@restante/conformance"
import type { RecipientId } from "restante"
import { ofModel, type WrongStore } from "./WrongStore.ts"

export const store: WrongStore = {
  mistake: "lets readers wait for a queue that is deleted",
  caughtBy: ["67", "4.15"],
  caughtByHistories: false,
  layer: ofModel(
    class extends MsgStoreModel.MsgStoreModel {
      override mayHaveArrived(recipientId: RecipientId, from: bigint) {
        return this.find({ recipientId }) !== undefined && super.mayHaveArrived(recipientId, from)
      }
    }
  )
}

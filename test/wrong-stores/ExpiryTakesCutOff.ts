import { MsgStoreModel } from "@restante/conformance"
import type { RecipientId } from "restante"
import { ofModel, type WrongStore } from "./WrongStore.ts"

export const store: WrongStore = {
  mistake: "removes a message exactly at the cut-off",
  caughtBy: ["46"],
  caughtByHistories: true,
  layer: ofModel(
    class extends MsgStoreModel.MsgStoreModel {
      override deleteExpired(recipientId: RecipientId, before: number) {
        return super.deleteExpired(recipientId, before + 1)
      }
    }
  )
}

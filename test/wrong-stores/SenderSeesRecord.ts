import { MsgStoreModel } from "@restante/conformance"
import type { MsgStoreError } from "restante"
import { ofModel, type WrongStore } from "./WrongStore.ts"

export const store: WrongStore = {
  mistake: "shows the whole record to the writer",
  caughtBy: ["6"],
  caughtByHistories: true,
  layer: ofModel(
    class extends MsgStoreModel.MsgStoreModel {
      override getQueue(target: MsgStoreError.Target) {
        const queue = this.find(target)
        return queue === undefined ? super.getQueue(target) : { success: this.record(queue) }
      }
    }
  )
}

import { MsgStoreModel } from "@restante/conformance"
import { ofModel, type WrongStore } from "./WrongStore.ts"

export const store: WrongStore = {
  mistake: "exports messages only, so that a latched queue comes back open",
  caughtBy: ["88", "91"],
  caughtByHistories: true,
  layer: ofModel(
    class extends MsgStoreModel.MsgStoreModel {
      override exportRecords() {
        return super.exportRecords().filter((record) => record._tag === "Queue" || record.entry.kind === "message")
      }
    }
  )
}

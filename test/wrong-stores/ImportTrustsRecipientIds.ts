import { MsgStoreModel } from "@restante/conformance"
import type { MsgStoreDriver } from "restante"
import { ofModel, type WrongStore } from "./WrongStore.ts"

export const store: WrongStore = {
  mistake: "imports the entries of a queue whose line was rejected because of its sender id",
  caughtBy: ["8.4", "4.7"],
  caughtByHistories: true,
  layer: ofModel(
    class extends MsgStoreModel.MsgStoreModel {
      override stage(staged: MsgStoreModel.ModelImport, record: MsgStoreDriver.LogRecord) {
        return super.stage({ ...staged, refused: [] }, record)
      }
    }
  )
}

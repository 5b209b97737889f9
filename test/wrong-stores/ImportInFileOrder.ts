import { MsgStoreModel } from "@restante/conformance"
import type { Message } from "restante"
import { ofModel, type WrongStore } from "./WrongStore.ts"

export const store: WrongStore = {
  mistake: "imports entries in the order of their lines, whatever their sequences",
  caughtBy: ["93", "8.5"],
  caughtByHistories: true,
  layer: ofModel(
    class extends MsgStoreModel.MsgStoreModel {
      override inSequence(entries: ReadonlyArray<Message.Entry>) {
        return entries
      }
    }
  )
}

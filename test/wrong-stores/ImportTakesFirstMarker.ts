import { MsgStoreModel } from "@restante/conformance"
import type { Message } from "restante"
import { ofModel, type WrongStore } from "./WrongStore.ts"

export const store: WrongStore = {
  mistake: "keeps the first of several markers in a file",
  caughtBy: ["93", "8.5"],
  caughtByHistories: true,
  layer: ofModel(
    class extends MsgStoreModel.MsgStoreModel {
      override inSequence(entries: ReadonlyArray<Message.Entry>) {
        const sorted = super.inSequence(entries)
        const first = sorted.find((entry) => entry.kind === "quota")
        return sorted.filter((entry) => entry.kind === "message" || entry === first)
      }
    }
  )
}

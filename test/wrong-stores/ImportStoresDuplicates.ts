import { MsgStoreModel } from "@restante/conformance"
import type { Message } from "restante"
import { ofModel, type WrongStore } from "./WrongStore.ts"

export const store: WrongStore = {
  mistake: "replaces a stored message by the one of the file with the same id",
  caughtBy: ["97", "8.5"],
  caughtByHistories: true,
  layer: ofModel(
    class extends MsgStoreModel.MsgStoreModel {
      override mergeInto(queue: MsgStoreModel.ModelQueue, entries: ReadonlyArray<Message.Entry>) {
        const merged = super.mergeInto(queue, entries)
        queue.entries = queue.entries.map((stored) => {
          const ofFile = entries.find((entry) => entry.kind === stored.kind && entry.id === stored.id)
          return ofFile === undefined || stored.kind === "quota" ? stored : { ...ofFile, sequence: stored.sequence }
        })
        return merged
      }
    }
  )
}

import { MsgStoreModel } from "@restante/conformance"
import type { Message } from "restante"
import { ofModel, type WrongStore } from "./WrongStore.ts"

export const store: WrongStore = {
  mistake: "places the marker anew even when an import appends nothing",
  caughtBy: ["93", "97", "8.5", "8.6"],
  caughtByHistories: true,
  layer: ofModel(
    class extends MsgStoreModel.MsgStoreModel {
      override mergeInto(queue: MsgStoreModel.ModelQueue, entries: ReadonlyArray<Message.Entry>) {
        const merged = super.mergeInto(queue, entries)
        const marker = queue.entries.at(-1)
        const ofFile = this.inSequence(entries).findLast((entry) => entry.kind === "quota")
        if (merged.messages === 0 && marker?.kind === "quota" && ofFile?.kind === "quota") {
          queue.entries = [...queue.entries.slice(0, -1), { ...ofFile, sequence: queue.nextSequence }]
          queue.nextSequence += 1n
        }
        return merged
      }
    }
  )
}

import { MsgStoreModel } from "@restante/conformance"
import type { Message } from "restante"
import { ofModel, type WrongStore } from "./WrongStore.ts"

export const store: WrongStore = {
  mistake: "gives an imported marker the id of its line, even if a message of the queue has it",
  caughtBy: ["8.5", "2.11"],
  caughtByHistories: true,
  layer: ofModel(
    class extends MsgStoreModel.MsgStoreModel {
      override mergeInto(queue: MsgStoreModel.ModelQueue, entries: ReadonlyArray<Message.Entry>) {
        const merged = super.mergeInto(queue, entries)
        const marker = queue.entries.at(-1)
        const ofFile = this.inSequence(entries).findLast((entry) => entry.kind === "quota")
        if (merged.messages > 0 && marker?.kind === "quota" && ofFile !== undefined) {
          queue.entries = [...queue.entries.slice(0, -1), { ...marker, id: ofFile.id }]
        }
        return merged
      }
    }
  )
}

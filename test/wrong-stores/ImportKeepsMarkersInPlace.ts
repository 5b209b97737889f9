import { MsgStoreModel } from "@restante/conformance"
import type { Message } from "restante"
import { ofModel, type WrongStore } from "./WrongStore.ts"

export const store: WrongStore = {
  mistake: "leaves the marker of a latched queue where it is when an import appends to the queue",
  caughtBy: ["8.5", "I2"],
  caughtByHistories: true,
  layer: ofModel(
    class extends MsgStoreModel.MsgStoreModel {
      override mergeInto(queue: MsgStoreModel.ModelQueue, entries: ReadonlyArray<Message.Entry>) {
        const present = queue.entries.find((entry) => entry.kind === "quota")
        const merged = super.mergeInto(queue, entries)
        if (present === undefined) return merged
        const messages = queue.entries.filter((entry) => entry.kind === "message")
        queue.entries = [...messages, present].toSorted((a, b) => Number(a.sequence - b.sequence))
        return merged
      }
    }
  )
}

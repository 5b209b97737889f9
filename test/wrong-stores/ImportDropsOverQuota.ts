import { MsgStoreModel } from "@restante/conformance"
import type { Message } from "restante"
import { ofModel, type WrongStore } from "./WrongStore.ts"

export const store: WrongStore = {
  mistake: "imports no more messages than the quota",
  caughtBy: ["94", "8.5"],
  caughtByHistories: true,
  layer: ofModel(
    class extends MsgStoreModel.MsgStoreModel {
      override mergeInto(queue: MsgStoreModel.ModelQueue, entries: ReadonlyArray<Message.Entry>) {
        const quota = queue.quota ?? this.limits.defaultQuota
        const messages = this.inSequence(entries).filter((entry) => entry.kind === "message")
        const dropped = new Set<Message.Entry>(messages.slice(quota))
        return super.mergeInto(queue, entries.filter((entry) => !dropped.has(entry)))
      }
    }
  )
}

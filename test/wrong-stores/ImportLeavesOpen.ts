import { MsgStoreModel } from "@restante/conformance"
import type { Message } from "restante"
import { ofModel, type WrongStore } from "./WrongStore.ts"

export const store: WrongStore = {
  mistake: "leaves a queue open that has more messages than its quota after an import",
  caughtBy: ["94", "8.5"],
  caughtByHistories: true,
  layer: ofModel(
    class extends MsgStoreModel.MsgStoreModel {
      override mergeInto(queue: MsgStoreModel.ModelQueue, entries: ReadonlyArray<Message.Entry>) {
        const { quota } = queue
        queue.quota = 2_147_483_647
        const merged = super.mergeInto(queue, entries)
        queue.quota = quota
        return merged
      }
    }
  )
}

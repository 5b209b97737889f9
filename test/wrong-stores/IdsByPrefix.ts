import { MsgStoreModel } from "@restante/conformance"
import type { MsgStoreError } from "restante"
import { ofModel, type WrongStore } from "./WrongStore.ts"

export const store: WrongStore = {
  mistake: "takes an id for another that begins with it",
  caughtBy: ["2.1"],
  caughtByHistories: false,
  layer: ofModel(
    class extends MsgStoreModel.MsgStoreModel {
      override find(target: MsgStoreError.Target) {
        return this.queues.find((queue) =>
          !queue.deleted && ("senderId" in target
            ? target.senderId.startsWith(queue.senderId.slice(0, 32))
            : target.recipientId.startsWith(queue.recipientId.slice(0, 32)))
        )
      }
    }
  )
}

import { MsgStoreModel } from "@restante/conformance"
import type { MsgStoreError } from "restante"
import { ofModel, type WrongStore } from "./WrongStore.ts"

export const store: WrongStore = {
  mistake: "takes two ids for the same when their texts differ in case only",
  caughtBy: ["2"],
  caughtByHistories: false,
  layer: ofModel(
    class extends MsgStoreModel.MsgStoreModel {
      override find(target: MsgStoreError.Target) {
        return this.queues.find((queue) =>
          !queue.deleted && ("senderId" in target
            ? queue.senderId.toLowerCase() === target.senderId.toLowerCase()
            : queue.recipientId.toLowerCase() === target.recipientId.toLowerCase())
        )
      }
    }
  )
}

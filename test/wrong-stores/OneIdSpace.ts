import { MsgStoreModel } from "@restante/conformance"
import type { MsgStoreError } from "restante"
import { ofModel, type WrongStore } from "./WrongStore.ts"

export const store: WrongStore = {
  mistake: "takes the recipient id of one queue and the sender id of another for the same",
  caughtBy: ["5"],
  caughtByHistories: false,
  layer: ofModel(
    class extends MsgStoreModel.MsgStoreModel {
      override find(target: MsgStoreError.Target) {
        const id: string = "senderId" in target ? target.senderId : target.recipientId
        return this.queues.find((queue) =>
          !queue.deleted && [queue.recipientId, queue.senderId].some((own) => own === id)
        )
      }
    }
  )
}

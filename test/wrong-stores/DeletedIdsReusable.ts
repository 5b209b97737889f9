import { MsgStoreModel } from "@restante/conformance"
import type { RecipientId } from "restante"
import { ofModel, type WrongStore } from "./WrongStore.ts"

export const store: WrongStore = {
  mistake: "gives the ids of a deleted queue away again",
  caughtBy: ["55"],
  caughtByHistories: true,
  layer: ofModel(
    class extends MsgStoreModel.MsgStoreModel {
      override deleteQueue(recipientId: RecipientId) {
        const answer = super.deleteQueue(recipientId)
        if ("success" in answer) this.queues.splice(this.queues.findIndex((queue) => queue.deleted), 1)
        return answer
      }
    }
  )
}

import { MsgStoreModel } from "@restante/conformance"
import type { MsgStore, MsgStoreError } from "restante"
import { ofModel, type WrongStore } from "./WrongStore.ts"

export const store: WrongStore = {
  mistake: "names the recipient id when a write by sender id meets a deleted queue",
  caughtBy: ["6", "7"],
  caughtByHistories: true,
  layer: ofModel(
    class extends MsgStoreModel.MsgStoreModel {
      override write(
        target: MsgStoreError.Target,
        message: MsgStoreModel.ModelMessage
      ): MsgStoreModel.ModelAnswer<MsgStore.WriteOutcome> {
        const answer = super.write(target, message)
        const deleted = this.queues.find((queue) =>
          queue.deleted && "senderId" in target && queue.senderId === target.senderId
        )
        return "failure" in answer && deleted !== undefined
          ? { failure: { _tag: "QueueNotFound", target: { recipientId: deleted.recipientId } } }
          : answer
      }
    }
  )
}

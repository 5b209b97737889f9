import { MsgStoreModel } from "@restante/conformance"
import type { MsgStore } from "restante"
import { ofModel, type WrongStore } from "./WrongStore.ts"

class Model extends MsgStoreModel.MsgStoreModel {
  readonly seen = new Map<string, bigint>()

  override writeTo(
    queue: MsgStoreModel.ModelQueue,
    message: MsgStoreModel.ModelMessage
  ): MsgStoreModel.ModelAnswer<MsgStore.WriteOutcome> {
    const key = `${queue.recipientId} ${message.id}`
    const sequence = this.seen.get(key)
    if (sequence !== undefined) return { success: { _tag: "AlreadyStored", sequence } }
    const answer = super.writeTo(queue, message)
    if ("success" in answer && answer.success._tag === "Accepted") this.seen.set(key, answer.success.sequence)
    return answer
  }
}

export const store: WrongStore = {
  mistake: "remembers the ids of removed messages and calls a late retry already stored",
  caughtBy: ["39"],
  caughtByHistories: true,
  layer: ofModel(Model)
}

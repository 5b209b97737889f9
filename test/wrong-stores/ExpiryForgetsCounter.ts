import { MsgStoreModel } from "@restante/conformance"
import type { RecipientId } from "restante"
import { ofModel, type WrongStore } from "./WrongStore.ts"

class Model extends MsgStoreModel.MsgStoreModel {
  readonly drift = new Map<RecipientId, number>()

  override deleteExpired(recipientId: RecipientId, before: number) {
    const answer = super.deleteExpired(recipientId, before)
    if ("success" in answer) this.drift.set(recipientId, (this.drift.get(recipientId) ?? 0) + answer.success)
    return answer
  }
  override record(queue: MsgStoreModel.ModelQueue) {
    const record = super.record(queue)
    return { ...record, size: record.size + (this.drift.get(queue.recipientId) ?? 0) }
  }
  override size(recipientId: RecipientId) {
    const answer = super.size(recipientId)
    return "success" in answer ? { success: answer.success + (this.drift.get(recipientId) ?? 0) } : answer
  }
}

export const store: WrongStore = {
  mistake: "does not subtract expired messages from the counter",
  caughtBy: ["46", "49"],
  caughtByHistories: true,
  layer: ofModel(Model)
}

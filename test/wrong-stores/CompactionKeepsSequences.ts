import { MsgStoreModel } from "@restante/conformance"
import type { RecipientId } from "restante"
import { ofModel, type WrongStore } from "./WrongStore.ts"

export const store: WrongStore = {
  mistake: "goes on with the sequences of a queue that was compacted",
  caughtBy: ["55", "4.9"],
  caughtByHistories: true,
  layer: ofModel(
    class extends MsgStoreModel.MsgStoreModel {
      readonly sequences = new Map<RecipientId, bigint>()

      override createQueue(queue: Parameters<MsgStoreModel.MsgStoreModel["createQueue"]>[0], now: number) {
        const isNew = this.queues.every((other) => other.recipientId !== queue.recipientId)
        const answer = super.createQueue(queue, now)
        const created = this.find({ recipientId: queue.recipientId })
        if (isNew && created !== undefined) created.nextSequence = this.sequences.get(queue.recipientId) ?? 1n
        return answer
      }

      override compactDeleted(before: number) {
        for (const queue of this.queues) this.sequences.set(queue.recipientId, queue.nextSequence)
        return super.compactDeleted(before)
      }
    }
  )
}

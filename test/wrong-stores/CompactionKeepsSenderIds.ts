import { MsgStoreModel } from "@restante/conformance"
import type { SenderId } from "restante"
import { ofModel, type WrongStore } from "./WrongStore.ts"

export const store: WrongStore = {
  mistake: "frees the recipient ids of what it compacts and not the sender ids",
  caughtBy: ["55", "4.9"],
  caughtByHistories: true,
  layer: ofModel(
    class extends MsgStoreModel.MsgStoreModel {
      readonly kept: Array<SenderId> = []

      override createQueue(queue: Parameters<MsgStoreModel.MsgStoreModel["createQueue"]>[0], now: number) {
        return this.kept.includes(queue.senderId)
          ? { failure: { _tag: "QueueIdTaken", field: "senderId" } } as const
          : super.createQueue(queue, now)
      }

      override compactDeleted(before: number) {
        const was = this.queues.map((queue) => queue.senderId)
        const compacted = super.compactDeleted(before)
        this.kept.push(...was.filter((id) => this.queues.every((queue) => queue.senderId !== id)))
        return compacted
      }
    }
  )
}

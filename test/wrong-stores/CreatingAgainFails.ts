import { MsgStoreModel } from "@restante/conformance"
import { ofModel, type WrongStore } from "./WrongStore.ts"

export const store: WrongStore = {
  mistake: "refuses to create a queue again, though the ids are its own",
  caughtBy: ["4"],
  caughtByHistories: true,
  layer: ofModel(
    class extends MsgStoreModel.MsgStoreModel {
      override createQueue(queue: Parameters<MsgStoreModel.MsgStoreModel["createQueue"]>[0], now: number) {
        const present = this.find({ recipientId: queue.recipientId })
        return present === undefined
          ? super.createQueue(queue, now)
          : { failure: { _tag: "QueueIdTaken", field: "recipientId" } as const }
      }
    }
  )
}

import { MsgStoreModel } from "@restante/conformance"
import { ofModel, type WrongStore } from "./WrongStore.ts"

export const store: WrongStore = {
  mistake: "sets quota and status anew when a queue is created again",
  caughtBy: ["4"],
  caughtByHistories: true,
  layer: ofModel(
    class extends MsgStoreModel.MsgStoreModel {
      override createQueue(queue: Parameters<MsgStoreModel.MsgStoreModel["createQueue"]>[0], now: number) {
        const present = this.find({ recipientId: queue.recipientId })
        if (present?.senderId === queue.senderId) {
          present.quota = queue.quota
          present.status = queue.status ?? "active"
        }
        return super.createQueue(queue, now)
      }
    }
  )
}

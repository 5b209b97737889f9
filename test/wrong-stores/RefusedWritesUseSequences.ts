import { MsgStoreModel } from "@restante/conformance"
import { ofModel, type WrongStore } from "./WrongStore.ts"

export const store: WrongStore = {
  mistake: "gives a sequence to writes that it refuses",
  caughtBy: ["20", "31"],
  caughtByHistories: true,
  layer: ofModel(
    class extends MsgStoreModel.MsgStoreModel {
      override writeTo(queue: MsgStoreModel.ModelQueue, message: MsgStoreModel.ModelMessage) {
        const refused = queue.latched && queue.status === "active"
        const answer = super.writeTo(queue, message)
        if (refused) queue.nextSequence++
        return answer
      }
    }
  )
}

import { MsgStoreModel } from "@restante/conformance"
import type { MsgStore } from "restante"
import { ofModel, type WrongStore } from "./WrongStore.ts"

export const store: WrongStore = {
  mistake: "calls a message already stored when another queue has its id",
  caughtBy: ["38"],
  caughtByHistories: true,
  layer: ofModel(
    class extends MsgStoreModel.MsgStoreModel {
      override writeTo(
        queue: MsgStoreModel.ModelQueue,
        message: MsgStoreModel.ModelMessage
      ): MsgStoreModel.ModelAnswer<MsgStore.WriteOutcome> {
        for (const other of this.queues) {
          const entry = other.entries.find((candidate) => candidate.id === message.id)
          if (entry !== undefined && other !== queue) {
            return {
              success: { _tag: "AlreadyStored", sequence: entry.sequence }
            }
          }
        }
        return super.writeTo(queue, message)
      }
    }
  )
}

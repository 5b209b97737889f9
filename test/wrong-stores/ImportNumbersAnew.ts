import { MsgStoreModel } from "@restante/conformance"
import type { Message } from "restante"
import { ofModel, type WrongStore } from "./WrongStore.ts"

export const store: WrongStore = {
  mistake: "gives imported entries the next sequences instead of their own",
  caughtBy: ["88", "93", "97", "8.5"],
  caughtByHistories: true,
  layer: ofModel(
    class extends MsgStoreModel.MsgStoreModel {
      override mergeInto(queue: MsgStoreModel.ModelQueue, entries: ReadonlyArray<Message.Entry>) {
        return super.mergeInto(queue, this.inSequence(entries).map((entry) => ({ ...entry, sequence: 0n })))
      }
    }
  )
}

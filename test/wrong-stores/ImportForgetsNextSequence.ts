import { MsgStoreModel } from "@restante/conformance"
import { ofModel, type WrongStore } from "./WrongStore.ts"

export const store: WrongStore = {
  mistake: "goes on behind the last imported entry, not where the queue would have gone on",
  caughtBy: ["88", "93", "8.3"],
  caughtByHistories: true,
  layer: ofModel(
    class extends MsgStoreModel.MsgStoreModel {
      override merge(staged: MsgStoreModel.ModelImport) {
        const accepted = staged.accepted.map((record) =>
          record._tag === "Queue" ? { ...record, queue: { ...record.queue, nextSequence: 1n } } : record
        )
        return super.merge({ ...staged, accepted })
      }
    }
  )
}

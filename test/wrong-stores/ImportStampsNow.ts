import { MsgStoreModel } from "@restante/conformance"
import { ofModel, type WrongStore } from "./WrongStore.ts"

export const store: WrongStore = {
  mistake: "says that an imported queue was created by the import",
  caughtBy: ["88", "8.3"],
  caughtByHistories: true,
  layer: ofModel(
    class extends MsgStoreModel.MsgStoreModel {
      override merge(staged: MsgStoreModel.ModelImport) {
        const now = Date.now()
        const accepted = staged.accepted.map((record) =>
          record._tag === "Queue" ? { ...record, queue: { ...record.queue, createdAt: now, updatedAt: now } } : record
        )
        return super.merge({ ...staged, accepted })
      }
    }
  )
}

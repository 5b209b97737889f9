import { MsgStoreModel } from "@restante/conformance"
import { ofModel, type WrongStore } from "./WrongStore.ts"

export const store: WrongStore = {
  mistake: "answers a batch queue by queue, not item by item",
  caughtBy: ["43"],
  caughtByHistories: true,
  layer: ofModel(
    class extends MsgStoreModel.MsgStoreModel {
      override writeMany(items: ReadonlyArray<MsgStoreModel.ModelItem>) {
        const key = ({ target }: MsgStoreModel.ModelItem) => this.find(target)?.recipientId ?? ""
        return super.writeMany(items.toSorted((a, b) => key(a) < key(b) ? -1 : key(a) > key(b) ? 1 : 0))
      }
    }
  )
}

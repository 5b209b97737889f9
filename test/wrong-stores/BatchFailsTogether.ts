import { MsgStoreModel } from "@restante/conformance"
import { ofModel, type WrongStore } from "./WrongStore.ts"

export const store: WrongStore = {
  mistake: "fails every item of a batch when the queue of one is missing",
  caughtBy: ["43"],
  caughtByHistories: true,
  layer: ofModel(
    class extends MsgStoreModel.MsgStoreModel {
      override writeMany(items: ReadonlyArray<MsgStoreModel.ModelItem>): ReturnType<
        MsgStoreModel.MsgStoreModel["writeMany"]
      > {
        const bad = items.find((item) => this.find(item.target) === undefined)
        return bad === undefined
          ? super.writeMany(items)
          : { success: items.map(() => ({ failure: { _tag: "QueueNotFound", target: bad.target } })) }
      }
    }
  )
}

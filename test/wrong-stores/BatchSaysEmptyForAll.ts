import { MsgStoreModel } from "@restante/conformance"
import { ofModel, type WrongStore } from "./WrongStore.ts"

export const store: WrongStore = {
  mistake: "says for every item of a batch that the queue was empty",
  caughtBy: ["42"],
  caughtByHistories: true,
  layer: ofModel(
    class extends MsgStoreModel.MsgStoreModel {
      override writeMany(items: ReadonlyArray<MsgStoreModel.ModelItem>): ReturnType<
        MsgStoreModel.MsgStoreModel["writeMany"]
      > {
        const empty = items.map((item) => this.find(item.target)?.entries.length === 0)
        const answer = super.writeMany(items)
        if ("failure" in answer) return answer
        return {
          success: answer.success.map((item, i) =>
            "success" in item && item.success._tag === "Accepted"
              ? { success: { ...item.success, wasEmpty: empty[i] === true } }
              : item
          )
        }
      }
    }
  )
}

import { MsgStoreModel } from "@restante/conformance"
import { ofModel, type WrongStore } from "./WrongStore.ts"

export const store: WrongStore = {
  mistake: "expires all queues in one batch, however few were asked for",
  caughtBy: ["50"],
  caughtByHistories: true,
  layer: ofModel(MsgStoreModel.MsgStoreModel, {
    replaces: (driver) => ({
      expireAll: (before) => driver.expireAll(before, 10_000)
    })
  })
}

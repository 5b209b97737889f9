import { MsgStoreModel } from "@restante/conformance"
import { Stream } from "effect"
import { ofModel, type WrongStore } from "./WrongStore.ts"

export const store: WrongStore = {
  mistake: "expires one batch and takes it for all",
  caughtBy: ["50"],
  caughtByHistories: true,
  layer: ofModel(MsgStoreModel.MsgStoreModel, {
    replaces: (driver) => ({
      expireAll: (before, batchSize) => Stream.take(driver.expireAll(before, batchSize), 1)
    })
  })
}

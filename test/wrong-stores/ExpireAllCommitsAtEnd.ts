import { MsgStoreModel } from "@restante/conformance"
import { Stream } from "effect"
import { ofModel, type WrongStore } from "./WrongStore.ts"

export const store: WrongStore = {
  mistake: "applies all batches of an expiry before it reports the first",
  caughtBy: ["4.11"],
  caughtByHistories: false,
  layer: ofModel(MsgStoreModel.MsgStoreModel, {
    replaces: (driver) => ({
      expireAll: (before, batchSize) =>
        Stream.fromIterableEffect(Stream.runCollect(driver.expireAll(before, batchSize)))
    })
  })
}

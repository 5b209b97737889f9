import { MsgStoreModel } from "@restante/conformance"
import { Effect } from "effect"
import { ofModel, type WrongStore } from "./WrongStore.ts"

export const store: WrongStore = {
  mistake: "writes the items of a batch one by one, so that others see and interrupt a part of it",
  caughtBy: ["59", "69"],
  caughtByHistories: false,
  layer: ofModel(MsgStoreModel.MsgStoreModel, {
    replaces: (driver) => ({
      writeMany: (items, defaultQuota) =>
        Effect.forEach(
          items,
          (item) =>
            Effect.andThen(
              Effect.yieldNow,
              Effect.result(Effect.catchTag(driver.write(item, defaultQuota), "MsgStoreError", Effect.die))
            )
        )
    })
  })
}

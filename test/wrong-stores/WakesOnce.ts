import { MsgStoreModel } from "@restante/conformance"
import { Effect } from "effect"
import { ofModel, type WrongStore } from "./WrongStore.ts"

export const store: WrongStore = {
  mistake: "wakes each reader once and never again",
  caughtBy: ["66", "67", "4.15"],
  caughtByHistories: false,
  layer: ofModel(MsgStoreModel.MsgStoreModel, {
    replaces: (driver) => ({
      watch: (recipientId) =>
        Effect.map(driver.watch(recipientId), (wait) => {
          let woken = false
          return (from) =>
            woken ? Effect.never : Effect.tap(wait(from), () =>
              Effect.sync(() => {
                woken = true
              }))
        })
    })
  })
}

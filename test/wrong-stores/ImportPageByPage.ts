import { MsgStoreModel } from "@restante/conformance"
import { Effect } from "effect"
import { ofModel, type WrongStore } from "./WrongStore.ts"

export const store: WrongStore = {
  mistake: "applies each page of an import when it has been read, and keeps them when the import fails",
  caughtBy: ["95", "100", "8.4"],
  caughtByHistories: true,
  layer: ofModel(MsgStoreModel.MsgStoreModel, {
    replaces: (driver) => ({
      importLog: (use) =>
        driver.importLog((session) => {
          const total = { queuesCreated: 0, queuesExisting: 0, messages: 0, duplicates: 0, latchedQueues: 0 }
          return use({
            stage: (records) =>
              Effect.flatMap(session.stage(records), (refused) => {
                // The records of earlier pages are merged again, which does no harm.
                return Effect.as(Effect.map(session.merge(128), (counts) => Object.assign(total, counts)), refused)
              }),
            merge: () => Effect.succeed(total)
          })
        })
    })
  })
}

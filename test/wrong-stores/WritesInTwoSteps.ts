import { MsgStoreModel } from "@restante/conformance"
import { Effect } from "effect"
import { ofModel, type WrongStore } from "./WrongStore.ts"

/** A model that has room for the writes that were promised a place before. */
class Model extends MsgStoreModel.MsgStoreModel {
  promised = false
  override hasRoom(queue: MsgStoreModel.ModelQueue) {
    return this.promised || super.hasRoom(queue)
  }
}

export const store: WrongStore = {
  mistake: "checks the quota and stores the message in two steps, so that writers who race pass the quota",
  caughtBy: ["6.2"],
  caughtByHistories: false,
  layer: ofModel(Model, {
    replaces: (driver, model) => ({
      write: (item, defaultQuota) =>
        Effect.gen(function*() {
          const queue = model.find(item.target)
          const promised = queue !== undefined && model.hasRoom(queue)
          yield* Effect.yieldNow
          if (model instanceof Model) model.promised = promised
          return yield* Effect.ensuring(
            driver.write(item, defaultQuota),
            Effect.sync(() => {
              if (model instanceof Model) model.promised = false
            })
          )
        })
    })
  })
}

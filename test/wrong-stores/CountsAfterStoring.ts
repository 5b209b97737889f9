import { MsgStoreModel } from "@restante/conformance"
import { Effect } from "effect"
import type { RecipientId } from "restante"
import { ofModel, type WrongStore } from "./WrongStore.ts"

/** A model whose records show a counter of its own. */
class Model extends MsgStoreModel.MsgStoreModel {
  readonly uncounted = new Map<RecipientId, number>()
  count(recipientId: RecipientId, change: number) {
    this.uncounted.set(recipientId, (this.uncounted.get(recipientId) ?? 0) + change)
  }
  override record(queue: MsgStoreModel.ModelQueue) {
    const record = super.record(queue)
    return { ...record, size: record.size - (this.uncounted.get(queue.recipientId) ?? 0) }
  }
}

export const store: WrongStore = {
  mistake: "counts a message after it has stored it, so that an interruption leaves the counter behind",
  caughtBy: ["69"],
  caughtByHistories: false,
  layer: ofModel(Model, {
    replaces: (driver, model) => ({
      write: (item, defaultQuota) =>
        Effect.gen(function*() {
          const queue = model.find(item.target)
          const before = queue?.entries.length
          const outcome = yield* driver.write(item, defaultQuota)
          if (!(model instanceof Model) || queue === undefined || queue.entries.length === before) return outcome
          model.count(queue.recipientId, 1)
          yield* Effect.yieldNow
          model.count(queue.recipientId, -1)
          return outcome
        })
    })
  })
}

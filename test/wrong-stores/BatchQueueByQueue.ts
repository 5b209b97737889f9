import { MsgStoreModel } from "@restante/conformance"
import { Array as Arr, Effect } from "effect"
import { ofModel, type WrongStore } from "./WrongStore.ts"

export const store: WrongStore = {
  mistake: "writes a batch queue by queue, so that others see and interrupt it between two queues",
  caughtBy: ["4.5", "6.1"],
  caughtByHistories: false,
  layer: ofModel(MsgStoreModel.MsgStoreModel, {
    replaces: (driver, model) => ({
      writeMany: (items, defaultQuota) =>
        Effect.gen(function*() {
          const places = Map.groupBy(items.keys(), (place) => model.find(Arr.getUnsafe(items, place).target))
          const results: Array<Effect.Success<ReturnType<typeof driver.writeMany>>[number]> = []
          for (const own of places.values()) {
            yield* Effect.yieldNow
            const answers = yield* driver.writeMany(own.map((place) => Arr.getUnsafe(items, place)), defaultQuota)
            for (const [i, place] of own.entries()) results[place] = Arr.getUnsafe(answers, i)
          }
          return results
        })
    })
  })
}

import { MsgStoreModel } from "@restante/conformance"
import { ofModel, type WrongStore } from "./WrongStore.ts"

export const store: WrongStore = {
  mistake: "removes old messages behind a fresh one when all queues are expired",
  caughtBy: ["51"],
  caughtByHistories: true,
  layer: ofModel(
    class extends MsgStoreModel.MsgStoreModel {
      override *expireAll(before: number, batchSize: number) {
        for (const queue of this.queues) {
          const fresh = queue.entries.filter((entry) => entry.kind === "quota" || entry.timestamp >= before)
          if (fresh.length > 0 && fresh[0]?.kind === "message") queue.entries = fresh
        }
        yield* super.expireAll(before, batchSize)
      }
    }
  )
}

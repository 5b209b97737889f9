import { Array as Arr, Effect, Option, Stream } from "effect"
import { ofMemory, type WrongStore } from "./WrongStore.ts"

export const store: WrongStore = {
  mistake: "goes on with the messages that come while it reads",
  caughtBy: ["18", "4.12"],
  caughtByHistories: false,
  layer: ofMemory((memory) => ({
    messages: (recipientId) =>
      Stream.paginate(
        0n,
        (after: bigint) =>
          Effect.map(memory.peekBatch(recipientId, { limit: 1, after }), (page) =>
            [page, Option.map(Arr.last(page), (entry) => entry.sequence)] as const)
      )
  }))
}

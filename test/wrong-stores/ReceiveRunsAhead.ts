import { Effect, Exit, Option, Stream } from "effect"
import { ofMemory, type WrongStore } from "./WrongStore.ts"

export const store: WrongStore = {
  mistake: "hands over the head again while it is being handled",
  caughtBy: ["4.15"],
  caughtByHistories: false,
  layer: ofMemory((memory) => ({
    receive: (recipientId) =>
      Stream.forever(Stream.unwrap(
        Effect.map(memory.peek(recipientId), (head) =>
          Option.isNone(head)
            ? Stream.drain(Stream.take(memory.arrivals(recipientId), 1))
            : Stream.make(Effect.acquireRelease(Effect.succeed(head.value), ({ sequence }, exit) =>
              Exit.isSuccess(exit)
                ? Effect.orDie(memory.acknowledgeThrough(recipientId, { sequence }))
                : Effect.void)))
      ))
  }))
}

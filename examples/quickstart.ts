/**
 * `node examples/quickstart.ts`: one message through one queue, on the memory store.
 */
import { Console, Effect, Option } from "effect"
import { Message, MsgStore } from "restante"

export const program = Effect.gen(function*() {
  const store = yield* MsgStore.MsgStore
  const { recipientId, senderId } = yield* store.createQueue()

  const outcome = yield* store.write({ senderId }, Message.fromText("Gone fishing. Back on Monday."))
  yield* Console.log(`written:      ${outcome._tag}`)

  const head = yield* Effect.fromOption(yield* store.peek(recipientId))
  yield* Console.log(`read:         ${yield* Message.bodyText(head)}`)

  const removed = yield* store.acknowledge(recipientId, head.id)
  yield* Console.log(`acknowledged: ${Option.isSome(removed)}, ${yield* store.size(recipientId)} left`)
})

// `postgres.ts` imports the program in order to run it on another store.
if (import.meta.main) {
  await Effect.runPromise(program.pipe(Effect.provide(MsgStore.layerMemory())))
}

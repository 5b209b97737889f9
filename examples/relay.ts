/**
 * `node examples/relay.ts`: a relay between two queues, which waits for messages and hands each on before it acknowledges it.
 * It is stopped in the middle of one, started again, and delivers everything once and in order.
 *
 * On the memory store; with `PgMsgStore.layer` in the last line the program is the same, and the wake-ups cross processes.
 */
import { Console, Effect, Fiber, Queue, Schedule, Stream } from "effect"
import type { RecipientId, SenderId } from "restante"
import { Message, MessageId, MsgStore, MsgStoreError } from "restante"

/** The next queue was full; it takes messages again once its reader has emptied it. */
class Full extends Error {
  readonly _tag = "Full"
}

/** Moves messages from one queue to another, for ever. */
const relay = Effect.fn("relay")(function*(
  from: RecipientId,
  to: SenderId,
  /** Told what was handed on and is not acknowledged yet. */
  handedOn: (text: string) => Effect.Effect<void>
) {
  const store = yield* MsgStore.MsgStore
  yield* store.receive(from).pipe(
    Stream.runForEach((received) =>
      Effect.scoped(Effect.gen(function*() {
        const entry = yield* received
        // The marker only says that the writer was stopped; acknowledging it opens the queue again.
        if (entry.kind === "quota") return
        // The id travels along: if this relay dies before it has acknowledged, the repeated write changes nothing.
        const outcome = yield* store.write({ senderId: to }, entry)
        if (outcome._tag === "QuotaReached" || outcome._tag === "QuotaExceeded") return yield* Effect.fail(new Full())
        yield* handedOn(yield* Message.bodyText(entry))
      }))
    ),
    // A full queue and a store that is away are waited for. The message is still the head: nothing is lost.
    Effect.retry({
      while: (error) => error._tag === "Full" || (error instanceof MsgStoreError.MsgStoreError && error.isRetryable),
      schedule: Schedule.spaced("100 millis")
    })
  )
})

const program = Effect.gen(function*() {
  const store = yield* MsgStore.MsgStore
  const inbox = yield* store.createQueue()
  const delivery = yield* store.createQueue()
  const write = (text: string) =>
    store.write({ senderId: inbox.senderId }, Message.fromText(text, { id: MessageId.named(text) }))

  const events = yield* Queue.unbounded<string>()
  const start = (handedOn: (text: string) => Effect.Effect<void>) =>
    Effect.forkChild(relay(inbox.recipientId, delivery.senderId, handedOn))

  // This relay hands one message on and then hangs, before it has acknowledged it.
  const hanging = yield* start((text) => Effect.andThen(Queue.offer(events, text), Effect.never))
  yield* Effect.forEach(["one", "two", "three"], write)
  yield* Console.log(`handed on, not acknowledged: ${yield* Queue.take(events)}`)
  yield* Fiber.interrupt(hanging)
  yield* Console.log(`stopped; ${yield* store.size(inbox.recipientId)} left in the inbox`)

  const relaying = yield* start((text) => Effect.asVoid(Queue.offer(events, text)))
  yield* write("four")
  for (let i = 0; i < 4; i++) yield* Console.log(`handed on: ${yield* Queue.take(events)}`)
  yield* Fiber.interrupt(relaying)

  const delivered = yield* Stream.runCollect(Stream.mapEffect(store.messages(delivery.recipientId), Message.bodyText))
  yield* Console.log(`delivered: ${delivered.join(", ")}`)
})

await Effect.runPromise(Effect.provide(program, MsgStore.layerMemory()))

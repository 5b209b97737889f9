/**
 * `receive` over a driver whose acknowledgements fail: what no store does when asked to, and what each may do.
 */
import { assert, describe, it } from "@effect/vitest"
import { MsgStoreModel } from "@restante/conformance"
import { Cause, Effect, Exit, Fiber, References, Stream } from "effect"
import { Message, MessageId, MsgStore, MsgStoreDriver, MsgStoreError } from "restante"
import { driverOf } from "./wrong-stores/WrongStore.ts"

const message = (name: string): Message.NewMessage => ({ ...Message.fromText(name), id: MessageId.named(name) })

const lost = new MsgStoreError.MsgStoreError({
  operation: "acknowledge",
  reason: new MsgStoreError.OutcomeUnknown()
})

type Acknowledgement = ReturnType<MsgStoreDriver.MsgStoreDriver["acknowledge"]>

/** A queue with three messages, in a store that does this to acknowledgements. */
const withAcknowledgement = Effect.fnUntraced(function*(
  handle: (acknowledge: Acknowledgement, call: number) => Acknowledgement
) {
  let calls = 0
  const driver = driverOf(new MsgStoreModel.MsgStoreModel(), {
    replaces: ({ acknowledge }) => ({
      acknowledge: (recipientId, messageId) =>
        Effect.suspend(() => handle(acknowledge(recipientId, messageId), ++calls))
    })
  })
  const store = yield* MsgStoreDriver.makeStore(driver, {})
  const { recipientId } = yield* store.createQueue()
  yield* store.writeMany(["m1", "m2", "m3"].map((name) => ({ target: { recipientId }, message: message(name) })))
  const seen: Array<string> = []
  const read = Stream.runForEach(
    Stream.take(store.receive(recipientId), 3),
    (received) =>
      Effect.scoped(Effect.map(Effect.flatMap(received, Message.bodyText), (text) => {
        seen.push(text)
      }))
  )
  return { store, recipientId, read, seen, calls: () => calls }
})

describe("an acknowledgement", () => {
  it.live("that was applied and whose answer was lost is repeated, which removes nothing more", () =>
    Effect.gen(function*() {
      const { calls, read, recipientId, seen, store } = yield* withAcknowledgement((acknowledge, call) =>
        call === 1 ? Effect.andThen(acknowledge, Effect.fail(lost)) : acknowledge
      )
      yield* read
      assert.deepStrictEqual(seen, ["m1", "m2", "m3"])
      assert.strictEqual(yield* store.size(recipientId), 0)
      assert.strictEqual(calls(), 4)
    }))

  it.live("that fails twice ends the stream with its error before another message is handed over", () =>
    Effect.gen(function*() {
      const { calls, read, recipientId, seen, store } = yield* withAcknowledgement((acknowledge, call) =>
        call > 1 ? Effect.fail(lost) : acknowledge
      )
      assert.strictEqual(yield* Effect.flip(read), lost)
      assert.deepStrictEqual(seen, ["m1", "m2"])
      assert.strictEqual(yield* store.size(recipientId), 2)
      assert.strictEqual(calls(), 3)
    }))

  it.live("that dies does not leave the reader waiting, and is seen when it is repeated", () =>
    Effect.gen(function*() {
      const { read, seen } = yield* withAcknowledgement(() => Effect.die(new Error("a bug")))
      const exit = yield* Effect.exit(read)
      assert.isTrue(Exit.isFailure(exit) && Cause.hasDies(exit.cause))
      assert.deepStrictEqual(seen, ["m1"])
    }))

  it.live("of the marker names no other queue's entry: one that was created anew ends the stream with QueueNotFound", () =>
    Effect.gen(function*() {
      const driver = driverOf(new MsgStoreModel.MsgStoreModel(), {
        replaces: () => ({
          acknowledgeThroughSequence: () => Effect.fail(new MsgStoreError.SequenceNotAssigned({ next: 1n }))
        })
      })
      const store = yield* MsgStoreDriver.makeStore(driver, {})
      const { recipientId } = yield* store.createQueue({ quota: 0 })
      yield* store.write({ recipientId }, message("m1"))
      const read = Stream.runForEach(Stream.take(store.receive(recipientId), 2), (received) => Effect.scoped(received))
      const error = yield* Effect.flip(read)
      assert.deepStrictEqual(error._tag === "QueueNotFound" ? error.target : error._tag, { recipientId })
    }))
})

describe("the memory store", () => {
  it.live("loses no wake-up however often its fibers yield", () =>
    Effect.gen(function*() {
      // With fewer operations no transaction of Effect comes to an end.
      for (const budget of [3, 4, 5, 7, 11, 17]) {
        yield* Effect.gen(function*() {
          const store = yield* MsgStore.MsgStore
          const { recipientId, senderId } = yield* store.createQueue({ quota: 2 })
          const sent = Array.from({ length: 100 }, (_, i) => `m${i}`)
          const received: Array<string> = []
          const reader = yield* Effect.forkChild(Stream.runForEach(
            Stream.take(store.receive(recipientId), sent.length),
            (element) =>
              Effect.scoped(Effect.map(Effect.flatMap(element, Message.bodyText), (text) => {
                received.push(text)
              }))
          ))
          for (const [i, name] of sent.entries()) {
            yield* store.write({ senderId }, message(name))
            // Now the reader is asleep, and now it is not.
            while ((yield* store.size(recipientId)) > i % 2) yield* Effect.yieldNow
          }
          yield* Effect.timeout(Fiber.join(reader), "20 seconds")
          assert.deepStrictEqual(received, sent)
        }).pipe(Effect.provide(MsgStore.layerMemory()), Effect.provideService(References.MaxOpsBeforeYield, budget))
      }
    }))
})

/**
 * What only the memory layer can show: its operations compose in the caller's own transaction.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Option, TxRef } from "effect"
import { Message, MessageId, MsgStore, SenderId } from "restante"

const message = (name: string): Message.NewMessage => ({ ...Message.fromText(name), id: MessageId.named(name) })

describe("the memory store in a transaction of the caller", () => {
  it.effect("commits several operations at once, a queue that was just created included", () =>
    Effect.gen(function*() {
      const store = yield* MsgStore.MsgStore
      const { recipientId } = yield* Effect.tx(Effect.gen(function*() {
        const queue = yield* store.createQueue()
        yield* store.write({ senderId: queue.senderId }, message("m1"))
        yield* store.writeMany([{ target: { recipientId: queue.recipientId }, message: message("m2") }])
        return queue
      }))
      assert.strictEqual(yield* store.size(recipientId), 2)
    }).pipe(Effect.provide(MsgStore.layerMemory())))

  it.effect("a transaction that fails leaves nothing behind, and no id reserved", () =>
    Effect.gen(function*() {
      const store = yield* MsgStore.MsgStore
      const { recipientId } = yield* store.createQueue()
      const senderId = SenderId.named("rolled back")
      const exit = yield* Effect.exit(Effect.tx(Effect.gen(function*() {
        yield* store.write({ recipientId }, message("m1"))
        yield* store.createQueue({ senderId })
        return yield* Effect.fail("no")
      })))
      assert.isTrue(Exit.isFailure(exit))
      assert.strictEqual(yield* store.size(recipientId), 0)
      assert.strictEqual((yield* store.createQueue({ senderId })).senderId, senderId)
    }).pipe(Effect.provide(MsgStore.layerMemory())))

  it.effect("a reader can wait for a message with txRetry", () =>
    Effect.gen(function*() {
      const store = yield* MsgStore.MsgStore
      const { recipientId, senderId } = yield* store.createQueue()
      const reader = yield* Effect.forkChild(Effect.tx(Effect.gen(function*() {
        const head = yield* store.peek(recipientId)
        return Option.isSome(head) ? head.value.id : yield* Effect.txRetry
      })))
      yield* Effect.yieldNow
      yield* store.write({ senderId }, message("m1"))
      assert.strictEqual(yield* Fiber.join(reader), MessageId.named("m1"))
    }).pipe(Effect.provide(MsgStore.layerMemory())))

  it.effect("moving a message from one queue to another is atomic for everybody", () =>
    Effect.gen(function*() {
      const store = yield* MsgStore.MsgStore
      const moved = yield* TxRef.make(0)
      const from = yield* store.createQueue()
      const to = yield* store.createQueue()
      yield* store.write({ senderId: from.senderId }, message("m1"))
      yield* Effect.tx(Effect.gen(function*() {
        const head = yield* store.acknowledge(from.recipientId, MessageId.named("m1"))
        const { body, id } = Option.getOrThrow(head)
        yield* store.write({ senderId: to.senderId }, { id, body })
        yield* TxRef.update(moved, (n) => n + 1)
      }))
      assert.deepStrictEqual(
        [yield* store.size(from.recipientId), yield* store.size(to.recipientId), yield* TxRef.get(moved)],
        [0, 1, 1]
      )
    }).pipe(Effect.provide(MsgStore.layerMemory())))

  it.effect("changing a removed entry does not change what a rolled back transaction gives back (rule 2.4)", () =>
    Effect.gen(function*() {
      const store = yield* MsgStore.MsgStore
      const { recipientId } = yield* store.createQueue()
      yield* store.write({ recipientId }, message("m1"))
      for (
        const removal of [
          Effect.map(store.acknowledge(recipientId, MessageId.named("m1")), Option.getOrThrow),
          Effect.map(
            store.acknowledgeAndPeek(recipientId, MessageId.named("m1")),
            ({ acknowledged }) => Option.getOrThrow(acknowledged)
          )
        ]
      ) {
        yield* Effect.exit(Effect.tx(Effect.flatMap(removal, ({ body }) => {
          body.fill(88)
          return Effect.fail("no")
        })))
        assert.strictEqual(yield* Message.bodyText(Option.getOrThrow(yield* store.peek(recipientId))), "m1")
      }
    }).pipe(Effect.provide(MsgStore.layerMemory())))
})

import { Effect, Exit, Option, Result } from "effect"
import { RecipientId, SenderId } from "restante"
import { group, test } from "./case.ts"
import * as Expect from "./expectation.ts"
import { freshQueue, id, names } from "./fixture.ts"

const taken = (field: "recipientId" | "senderId") => ({ _tag: "QueueIdTaken", field })

export const deletion = group("G Deletion", [
  test("deleting a queue answers how many entries were discarded, the marker included", ["53"], function*({ store }) {
    const queue = yield* freshQueue(store, { quota: 2, holding: names(3) })
    Expect.same("discarded", yield* queue.delete, 3)
    yield* Expect.failsWith("deleting again", queue.delete, { _tag: "QueueNotFound", target: queue.reader })
    const empty = yield* freshQueue(store)
    Expect.same("of an empty queue", yield* empty.delete, 0)
    const partly = yield* freshQueue(store, { holding: names(4) })
    yield* partly.acknowledgeThrough("M3")
    Expect.same("of a queue read in part", yield* partly.delete, 1)
  }),

  test(
    "after a deletion nothing of the queue can be read, written or removed",
    ["53", "54", "4.8"],
    function*({ store }) {
      const queue = yield* freshQueue(store, { holding: names(3) })
      yield* queue.delete
      const byReader = { _tag: "QueueNotFound", target: queue.reader }
      const byWriter = { _tag: "QueueNotFound", target: queue.writer }
      yield* Expect.failsWith("peek", queue.peek, byReader)
      yield* Expect.failsWith("peekBatch", queue.entries, byReader)
      yield* Expect.failsWith("messages", queue.all, byReader)
      yield* Expect.failsWith("size", queue.size, byReader)
      yield* Expect.failsWith("the record", queue.record, byReader)
      yield* Expect.failsWith("the writer's view", store.getQueue(queue.writer), byWriter)
      yield* Expect.failsWith("acknowledge", queue.acknowledge("M1"), byReader)
      yield* Expect.failsWith("a write of a stored id", queue.write("M1"), byWriter)
      yield* Expect.failsWith("a new write", queue.write("M4"), byWriter)
    }
  ),

  test("the ids of a deleted queue stay reserved", ["55", "4.7", "4.8"], function*({ store }) {
    const queue = yield* freshQueue(store, { holding: ["M1"] })
    const { recipientId, senderId } = queue
    yield* queue.delete
    yield* Expect.failsWith("both ids", store.createQueue({ recipientId, senderId }), taken("recipientId"))
    yield* Expect.failsWith("the recipient id", store.createQueue({ recipientId }), taken("recipientId"))
    const other = RecipientId.randomUnsafe()
    yield* Expect.failsWith("the sender id", store.createQueue({ recipientId: other, senderId }), taken("senderId"))
    const sender = SenderId.randomUnsafe()
    Expect.same(
      "an id of a refused call",
      (yield* store.createQueue({ recipientId: other, senderId: sender })).recipientId,
      other
    )
    yield* Expect.failsWith("the deleted queue", queue.peek, { _tag: "QueueNotFound", target: { recipientId } })
  }),

  test("of concurrent deletions exactly one succeeds, and it counts everything", ["56", "4.8"], function*({ store }) {
    const queue = yield* freshQueue(store, { quota: 4, holding: names(5) })
    const results = yield* Effect.all(names(16).map(() => Effect.result(queue.delete)), { concurrency: "unbounded" })
    Expect.same("counts of those that succeeded", results.filter(Result.isSuccess).map((result) => result.success), [5])
    for (const lost of results.filter(Result.isFailure)) {
      Expect.same("why a deletion failed", lost.failure, { _tag: "QueueNotFound", target: queue.reader })
    }
  }),

  test(
    "a deletion that races other calls ends them with QueueNotFound at worst, and the queue is gone",
    ["57", "4.8"],
    function*({ store }) {
      for (const round of names(6)) {
        const queue = yield* freshQueue(store, { quota: 50, holding: names(5) })
        const calls = names(8).flatMap((name): Array<Effect.Effect<unknown, unknown>> => [
          queue.remove(name),
          queue.deleteExpired(2_000),
          queue.peek,
          queue.write(`${round}-${name}`),
          store.acknowledgeAndPeek(queue.recipientId, id(name)),
          queue.setQuota(60),
          queue.record
        ])
        const middle = Math.floor(calls.length / 2)
        const all = [...calls.slice(0, middle), queue.delete, ...calls.slice(middle)]
        const exits = yield* Effect.all(all.map((call) => Effect.exit(call)), { concurrency: 8 })
        for (const exit of exits.filter(Exit.isFailure)) {
          const target = Option.getOrUndefined(Exit.findErrorOption(exit))
          Expect.same("how a call failed", Expect.tagOf(target), "QueueNotFound")
        }
        yield* Expect.failsWith("the queue", queue.size, { _tag: "QueueNotFound", target: queue.reader })
      }
    }
  ),

  test(
    "a write that races a deletion is counted by it or fails; none is lost in between",
    ["57", "4.8", "I8"],
    function*({ store }) {
      for (const yields of [0, 1, 2, 3, 5, 8, 13]) {
        const queue = yield* freshQueue(store, { quota: 1_000 })
        // Writers let others run between two writes: a store that answers at once would otherwise be done before the race.
        const writing = Effect.forEach(
          names(4),
          (writer) =>
            Effect.forEach(
              names(8),
              (name) => Effect.andThen(Effect.yieldNow, Effect.result(queue.write(`${writer}-${name}`)))
            ),
          { concurrency: "unbounded" }
        )
        const waiting = Effect.forEach(names(yields), () => Effect.yieldNow)
        const [written, discarded] = yield* Effect.all([writing, Effect.andThen(waiting, queue.delete)], {
          concurrency: "unbounded"
        })
        const results = written.flat()
        Expect.same("writes accepted, entries discarded", results.filter(Result.isSuccess).length, discarded)
        for (const lost of results.filter(Result.isFailure)) {
          Expect.same("why a write failed", lost.failure, { _tag: "QueueNotFound", target: queue.writer })
        }
      }
    }
  )
])

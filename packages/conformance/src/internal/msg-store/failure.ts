import { Array as Arr, Effect, Exit, Fiber, Option, Result, Schema } from "effect"
import type { MsgStore } from "restante"
import { MsgStoreError } from "restante"
import { group, test } from "./case.ts"
import * as Expect from "./expectation.ts"
import {
  accepted,
  acceptedFirst,
  alreadyStored,
  deletedQueue,
  filled,
  freshQueue,
  id,
  label,
  names,
  queueUnderTest,
  quotaExceeded,
  quotaReached,
  times,
  unknownQueue
} from "./fixture.ts"

/**
 * How often the caller lets others run before it interrupts: every early point one by one, then further apart. A store
 * that answers within one turn of the scheduler is done at the first; one that waits for a server is not at the last.
 */
const delays = [...Arr.range(0, 12), 16, 24, 40, 80, 160, 320]

/** Starts a call, lets others run that often, interrupts it, and answers how it ended. */
const interrupted = Effect.fnUntraced(function*<A, E>(call: Effect.Effect<A, E>, yields: number) {
  const fiber = yield* Effect.forkChild(call)
  for (let i = 0; i < yields; i++) yield* Effect.yieldNow
  yield* Fiber.interrupt(fiber)
  return yield* Fiber.await(fiber)
})

export const failure = group("I Interruption and failure", [
  test("a write that is interrupted has happened or has not, and never in part", ["69", "7.1"], function*({ store }) {
    for (const yields of delays) {
      const queue = yield* freshQueue(store, { quota: 1, holding: ["M1"] })
      const before = yield* queue.state
      const exit = yield* interrupted(queue.write("M2"), yields)
      const after = yield* queue.state
      if (Exit.isSuccess(exit)) Expect.same("an answer that came", exit.value, quotaReached)
      if (Exit.isSuccess(exit) || after.entries.length === 2) {
        Expect.same("the entries", after.entries.map(label), ["M1", "Q(M2)"])
        const { latched, nextSequence, size } = after.record
        Expect.same("the record", { latched, nextSequence, size }, { latched: true, nextSequence: 3n, size: 2 })
      } else Expect.same("the queue", after, before)
      const again = yield* queue.write("M2")
      Expect.same("the write repeated", again, quotaReached)
      Expect.same("the entries then", yield* queue.labels, ["M1", "Q(M2)"])
    }
  }),

  test(
    "a batch that is interrupted has happened in all its queues or in none",
    ["69", "4.5", "7.1"],
    function*({ store }) {
      for (const yields of delays) {
        const a = yield* freshQueue(store)
        const b = yield* freshQueue(store)
        const items = names(4).flatMap((name) => [a.item(name), b.item(name)])
        const exit = yield* interrupted(store.writeMany(items), yields)
        const sizes = [(yield* a.labels).length, (yield* b.labels).length]
        if (Exit.isSuccess(exit)) Expect.same("entries after an answer", sizes, [4, 4])
        else Expect.holds("all entries or none", sizes[0] === sizes[1] && (sizes[0] === 0 || sizes[0] === 4), sizes)
        Expect.same("sizes in the records", [(yield* a.record).size, (yield* b.record).size], sizes)
      }
    }
  ),

  test("an acknowledgement that is interrupted has removed the head or left it", ["69", "7.1"], function*({ store }) {
    for (const yields of delays) {
      const queue = yield* freshQueue(store, { quota: 1, holding: ["M1", "M2"] })
      yield* queue.remove("M1")
      const before = yield* queue.state
      const exit = yield* interrupted(store.acknowledgeAndPeek(queue.recipientId, id("M2")), yields)
      const after = yield* queue.state
      if (Exit.isSuccess(exit) || after.entries.length === 0) {
        const { latched, size } = after.record
        Expect.same("the queue without its marker", { latched, size, entries: after.entries }, {
          latched: false,
          size: 0,
          entries: []
        })
      } else Expect.same("the queue", after, before)
    }
  }),

  test(
    "a deletion that is interrupted has happened or has not, and can be repeated",
    ["69", "7.1"],
    function*({ store }) {
      for (const yields of delays) {
        const queue = yield* freshQueue(store, { holding: ["M1"] })
        const exit = yield* interrupted(queue.delete, yields)
        if (Exit.isSuccess(exit)) Expect.same("an answer that came", exit.value, 1)
        const left = yield* Effect.result(queue.labels)
        const gone = { _tag: "QueueNotFound", target: queue.reader }
        if (Exit.isSuccess(exit) || Result.isFailure(left)) Expect.same("what is read then", left, Result.fail(gone))
        else Expect.same("what is read then", left, Result.succeed(["M1"]))
        yield* Effect.exit(queue.delete)
        yield* Expect.failsWith("the queue after the call repeated", queue.size, gone)
        yield* Expect.failsWith("its ids", store.createQueue({ ...queue.reader, ...queue.writer }), {
          _tag: "QueueIdTaken",
          field: "recipientId"
        })
      }
    }
  ),

  test(
    "a creation that is interrupted has made the whole queue or nothing, and can be repeated",
    ["69", "7.1", "4.7"],
    function*({ store }) {
      for (const yields of delays) {
        const queue = unknownQueue(store)
        const creating = store.createQueue({ ...queue.reader, ...queue.writer, quota: 5 })
        const exit = yield* interrupted(creating, yields)
        const found = [yield* Effect.result(queue.record), yield* Effect.result(store.getQueue(queue.writer))]
        const made = found.filter(Result.isSuccess).length
        Expect.holds("found by both ids or by none", made === 2 || (made === 0 && Exit.isFailure(exit)), found)
        const record = yield* creating
        const { quota, recipientId, senderId, size } = record
        Expect.same("the queue after the call repeated", { quota, recipientId, senderId, size }, {
          quota: 5,
          ...queue.reader,
          ...queue.writer,
          size: 0
        })
        Expect.same("its record", yield* queue.record, record)
      }
    }
  ),

  test(
    "interrupting many writers at once leaves a sound queue that takes the next message",
    ["68", "69", "7.1"],
    function*({ store }) {
      const queue = yield* freshQueue(store, { quota: 10_000 })
      const fibers = yield* Effect.forEach(names(200), (name) => Effect.forkChild(queue.write(name)))
      yield* Effect.yieldNow
      yield* Fiber.interruptAll(fibers)
      const exits = yield* Effect.forEach(fibers, (fiber) => Fiber.await(fiber))
      const { entries, record } = yield* queue.state
      Expect.same("size", record.size, entries.length)
      Expect.same("sequences", entries.map((entry) => entry.sequence), times(entries.length, (i) => BigInt(i + 1)))
      Expect.holds(
        "every answered write is stored",
        exits.filter(Exit.isSuccess).length <= entries.length,
        entries.length
      )
      Expect.same("the next write", yield* queue.write("next"), {
        _tag: "Accepted",
        wasEmpty: entries.length === 0,
        sequence: BigInt(entries.length + 1)
      })
    }
  ),

  test(
    "a limit out of bounds fails the construction of the layer, by name",
    ["15", "2.8", "4.3"],
    function*({ open }) {
      const bad: ReadonlyArray<readonly [field: string, limits: MsgStore.Limits]> = [
        ["defaultQuota", { defaultQuota: -1 }],
        ["defaultQuota", { defaultQuota: 2_147_483_648 }],
        ["defaultQuota", { defaultQuota: 1.5 }],
        ["maxBodyBytes", { maxBodyBytes: -1 }],
        ["maxBodyBytes", { maxBodyBytes: 8_388_609 }],
        ["maxBodyBytes", { maxBodyBytes: Number.NaN }],
        ["maxBatchItems", { maxBatchItems: 0 }],
        ["maxBatchItems", { maxBatchItems: 2.5 }],
        ["maxBatchBytes", { maxBodyBytes: 100, maxBatchBytes: 99 }],
        ["maxBatchBytes", { maxBatchBytes: 65_535 }]
      ]
      for (const [field, limits] of bad) {
        const failure = yield* Expect.failsWithTag(
          `limits ${Expect.print(limits)}`,
          Effect.scoped(open(limits)),
          "InvalidArgument"
        )
        Expect.same("the field", Expect.fieldOf(failure), field)
      }
    }
  ),

  test("limits at their bounds are taken", ["15", "2.8"], function*({ open }) {
    const smallest = Effect.gen(function*() {
      const store = yield* open({ defaultQuota: 0, maxBodyBytes: 0, maxBatchItems: 1, maxBatchBytes: 0 })
      const queue = yield* freshQueue(store)
      Expect.same("a write at quota 0", yield* queue.write("M1", { body: filled(0) }), quotaReached)
    })
    const largest = Effect.gen(function*() {
      const store = yield* open({ defaultQuota: 2_147_483_647, maxBodyBytes: 8_388_608 })
      const queue = yield* freshQueue(store)
      const body = filled(8_388_608, 3)
      Expect.same("a write of 8,388,608 bytes", yield* queue.write("M1", { body }), acceptedFirst(1n))
      yield* Expect.failsWith("one byte more", queue.write("M2", { body: filled(8_388_609) }), {
        _tag: "MessageTooLarge",
        size: 8_388_609,
        limit: 8_388_608
      })
      const stored = Option.getOrUndefined(yield* queue.acknowledge("M1"))
      Expect.same("the body as read", stored?.body, body)
    })
    yield* Effect.scoped(smallest)
    yield* Effect.scoped(largest)
  }),

  test(
    "a MsgStoreError keeps its cause for a person and out of its text and serialised form",
    ["74", "7.7"],
    function*() {
      const cause = new Error("insert into secret_table values (secret-id)")
      const error = MsgStoreError.fromCause("write", new MsgStoreError.OutcomeUnknown(), cause)
      Expect.same("the cause", error.cause, cause)
      const encoded = Schema.encodeSync(MsgStoreError.MsgStoreError)(error)
      for (const text of [error.message, String(error), JSON.stringify(error), JSON.stringify(encoded)]) {
        Expect.holds("the text is free of the cause", !text.includes("secret"), text)
      }
      Expect.same("the operation and the reason", [error.operation, error.reason._tag], ["write", "OutcomeUnknown"])
      yield* Effect.void
    }
  ),

  test(
    "what a layer stored is there when it is built again: entries, sequences, latches, quotas, statuses, deletions",
    ["76", "2.10"],
    function*({ open }) {
      const built = yield* Effect.scoped(Effect.gen(function*() {
        const store = yield* open({})
        const latched = yield* freshQueue(store, { quota: 2, holding: names(3) })
        yield* latched.remove("M1")
        const suspended = yield* freshQueue(store, { status: "suspended" })
        const drained = yield* freshQueue(store, { holding: names(4) })
        yield* drained.acknowledgeThrough("M4")
        const deleted = yield* deletedQueue(store)
        const states = yield* Effect.all([latched.state, suspended.state, drained.state])
        return { latched, suspended, drained, deleted, states }
      }))
      const store = yield* open({})
      const again = (queue: typeof built.latched) => queueUnderTest(store, queue.recipientId, queue.senderId)
      const latched = again(built.latched)
      const suspended = again(built.suspended)
      const drained = again(built.drained)
      const deleted = again(built.deleted)
      Expect.same("all queues", yield* Effect.all([latched.state, suspended.state, drained.state]), built.states)
      Expect.same("a new message to the latched queue", yield* latched.write("M9"), quotaExceeded)
      Expect.same("a repeated one", yield* latched.write("M2"), alreadyStored(2n))
      yield* Expect.failsWith("a message to the suspended queue", suspended.write("M9"), { _tag: "QueueSuspended" })
      Expect.same("a message to the drained queue", yield* drained.write("M9"), acceptedFirst(5n))
      yield* Expect.failsWith("the deleted queue", deleted.peek, { _tag: "QueueNotFound", target: deleted.reader })
      yield* Expect.failsWith("its ids", store.createQueue({ ...deleted.reader, ...deleted.writer }), {
        _tag: "QueueIdTaken",
        field: "recipientId"
      })
    },
    { survivesReopen: true }
  ),

  test(
    "after a reopening with another default quota only queues without one of their own follow it",
    ["36"],
    function*({ open }) {
      const built = yield* Effect.scoped(Effect.gen(function*() {
        const store = yield* open({ defaultQuota: 3 })
        const own = yield* freshQueue(store, { quota: 3, holding: ["M1"] })
        const following = yield* freshQueue(store, { holding: ["M1"] })
        const latched = yield* freshQueue(store, { holding: names(4) })
        return { own, following, latched }
      }))
      const store = yield* open({ defaultQuota: 1 })
      const again = (queue: typeof built.own) => queueUnderTest(store, queue.recipientId, queue.senderId)
      Expect.same("the queue with its own quota", yield* again(built.own).write("M2"), accepted(2n))
      Expect.same("the queue without", yield* again(built.following).write("M2"), quotaReached)
      const latched = again(built.latched)
      Expect.same("the latched queue", yield* latched.write("M9"), quotaExceeded)
      yield* latched.acknowledgeThrough("M4")
      Expect.same("the latched queue once drained", yield* latched.write("M9"), acceptedFirst(5n))
    },
    { survivesReopen: true }
  ),

  test("a body stored under a larger limit is still read, and is the whole of a batch if it must be", [
    "17",
    "4.6",
    "7.5"
  ], function*({ open }) {
    const { recipientId, senderId } = yield* Effect.scoped(Effect.gen(function*() {
      const queue = yield* freshQueue(yield* open({ maxBodyBytes: 100 }))
      yield* queue.write("M1", { body: filled(100) })
      yield* queue.write("M2", { body: filled(100) })
      return queue
    }))
    const queue = queueUnderTest(yield* open({ maxBodyBytes: 10, maxBatchBytes: 10 }), recipientId, senderId)
    Expect.same("peekBatch", yield* queue.labels, ["M1"])
    Expect.same("messages", (yield* queue.all).map(label), ["M1", "M2"])
    Expect.same("the body", Option.getOrUndefined(yield* queue.acknowledge("M1"))?.body, filled(100))
  }, { survivesReopen: true }),

  test("two layers on one storage are one store", ["76", "6.1"], function*({ open, store }) {
    const queue = yield* freshQueue(store, { quota: 1, holding: ["M1"] })
    const elsewhere = queueUnderTest(yield* open({}), queue.recipientId, queue.senderId)
    Expect.same("what the other layer sees", yield* elsewhere.state, yield* queue.state)
    Expect.same("what the other layer writes", yield* elsewhere.write("M2"), quotaReached)
    Expect.same("what this layer sees", yield* queue.labels, ["M1", "Q(M2)"])
  }, { survivesReopen: true }),

  test(
    "a store that does not survive starts empty, and two of its layers do not meet",
    ["76"],
    function*({ open, store }) {
      const kept = yield* freshQueue(store, { holding: ["M1"] })
      const { recipientId, senderId } = yield* Effect.scoped(
        Effect.flatMap(open({}), (other) => freshQueue(other, { holding: ["M1"] }))
      )
      const other = yield* open({})
      for (const queue of [kept, { recipientId, senderId }]) {
        const there = queueUnderTest(other, queue.recipientId, queue.senderId)
        yield* Expect.failsWith("the queue of another layer", there.peek, {
          _tag: "QueueNotFound",
          target: there.reader
        })
        yield* Expect.failsWith("its sender id", store.getQueue({ senderId }), {
          _tag: "QueueNotFound",
          target: { senderId }
        })
      }
      Expect.same("the queue in its own layer", yield* kept.labels, ["M1"])
    },
    { survivesReopen: false }
  )
])

import { Arbitrary, Effect, Option, Result, Schema } from "effect"
import type { MsgStore } from "restante"
import { MessageId } from "restante"
import { group, test } from "./case.ts"
import * as Expect from "./expectation.ts"
import {
  accepted,
  acceptedFirst,
  alreadyStored,
  bytes,
  entry,
  filled,
  freshQueue,
  id,
  label,
  marker,
  message,
  names,
  quotaExceeded,
  quotaReached,
  unknownQueue
} from "./fixture.ts"

/** The answers of a batch as they are expected: outcomes are successes. */
const outcomes = (...expected: ReadonlyArray<MsgStore.WriteOutcome>) =>
  expected.map((outcome) => Result.succeed(outcome))

export const writing = group("E Repeated and batch writes", [
  test(
    "writing the id of a stored message again changes nothing and tells where it is",
    ["38", "4.4"],
    function*({ store }) {
      const queue = yield* freshQueue(store, { holding: ["M1", "M2"] })
      const before = yield* queue.state
      const other = { body: bytes("another body"), timestamp: 9, notify: true }
      Expect.same("M1 again", yield* queue.write("M1", other), alreadyStored(1n))
      Expect.same("M2 again", yield* queue.write("M2", other), alreadyStored(2n))
      Expect.same("the queue", yield* queue.state, before)
      const second = yield* freshQueue(store)
      Expect.same("the same id in another queue", yield* second.write("M1", other), acceptedFirst(1n))
      Expect.same("the other queue", yield* second.entries, [entry("M1", 1n, other)])
    }
  ),

  test(
    "the id of an acknowledged message is free: a late retry is a new message",
    ["39", "4.4", "2.10"],
    function*({ store }) {
      const queue = yield* freshQueue(store, { holding: ["M1"] })
      yield* queue.remove("M1")
      Expect.same("M1 again", yield* queue.write("M1"), acceptedFirst(2n))
      yield* queue.acknowledgeThrough("M1")
      Expect.same("M1 a third time", yield* queue.write("M1"), acceptedFirst(3n))
      yield* queue.deleteExpired(5_000)
      Expect.same("M1 a fourth time", yield* queue.write("M1"), acceptedFirst(4n))
    }
  ),

  test(
    "a latched queue still tells about the first attempt: AlreadyStored for a message, QuotaReached for the marker",
    ["40", "4.4"],
    function*({ store }) {
      const queue = yield* freshQueue(store, { quota: 2, holding: names(3) })
      const before = yield* queue.state
      Expect.same("M1", yield* queue.write("M1"), alreadyStored(1n))
      Expect.same("M2", yield* queue.write("M2"), alreadyStored(2n))
      Expect.same("the marker's id", yield* queue.write("M3"), quotaReached)
      Expect.same("a new id", yield* queue.write("M4"), quotaExceeded)
      Expect.same("the queue", yield* queue.state, before)
      yield* queue.acknowledgeThrough("M2")
      Expect.same("the marker's id when only the marker is left", yield* queue.write("M3"), quotaReached)
      yield* queue.remove("M3")
      Expect.same("the marker's id after the drain", yield* queue.write("M3"), acceptedFirst(4n))
    }
  ),

  test("a suspended queue still tells about the first attempt", ["40", "8", "4.4"], function*({ store }) {
    const queue = yield* freshQueue(store, { quota: 1, holding: names(2) })
    yield* queue.setStatus("suspended")
    const before = yield* queue.state
    Expect.same("a stored message", yield* queue.write("M1"), alreadyStored(1n))
    Expect.same("the marker", yield* queue.write("M2"), quotaReached)
    yield* Expect.failsWith("a new message, though the queue is latched too", queue.write("M3"), {
      _tag: "QueueSuspended"
    })
    Expect.same("all in one batch", yield* store.writeMany(names(3).map((name) => queue.item(name))), [
      Result.succeed(alreadyStored(1n)),
      Result.succeed(quotaReached),
      Result.fail({ _tag: "QueueSuspended" })
    ])
    Expect.same("the queue", yield* queue.state, before)
  }),

  test("messages without an id get different ones of 24 bytes", ["41", "2.8"], function*({ store }) {
    const queue = yield* freshQueue(store)
    const body = bytes("the same")
    yield* store.write(queue.writer, { body })
    yield* store.write(queue.writer, { body })
    yield* store.writeMany([{ target: queue.writer, message: { body } }, { target: queue.writer, message: { body } }])
    const ids = (yield* queue.entries).map((entry) => entry.id)
    Expect.same("different ids", new Set(ids).size, 4)
    Expect.same("their lengths", ids.map((id) => MessageId.toBytes(id).length), [24, 24, 24, 24])
  }),

  test("a batch into an empty queue is stored in order, and only its first message says that it was empty", [
    "42",
    "I11"
  ], function*({ store }) {
    const queue = yield* freshQueue(store)
    const result = yield* store.writeMany(names(3).map((name) => queue.item(name)))
    Expect.same("the outcomes", result, outcomes(acceptedFirst(1n), accepted(2n), accepted(3n)))
    Expect.same("the entries", yield* queue.entries, names(3).map((name, i) => entry(name, BigInt(i + 1))))
  }),

  test(
    "in a batch each item gets its own answer, and those that fail do not affect the others",
    ["43", "4.5"],
    function*({ store }) {
      const good = yield* freshQueue(store)
      const unknown = unknownQueue(store)
      const suspended = yield* freshQueue(store, { status: "suspended" })
      const notFound = Result.fail({ _tag: "QueueNotFound", target: unknown.writer })
      const result = yield* store.writeMany([
        unknown.item("M1"),
        good.item("M1"),
        suspended.item("M1"),
        good.item("M2", { body: filled(65_537) }),
        good.item("M3"),
        unknown.item("M2"),
        unknown.item("M3", { body: filled(65_537) })
      ])
      const tooLarge = Result.fail({ _tag: "MessageTooLarge", size: 65_537, limit: 65_536 })
      Expect.same("the answers", result, [
        notFound,
        ...outcomes(acceptedFirst(1n)),
        Result.fail({ _tag: "QueueSuspended" }),
        tooLarge,
        ...outcomes(accepted(2n)),
        notFound,
        tooLarge
      ])
      Expect.same("the good queue", yield* good.labels, ["M1", "M3"])
      Expect.same("the suspended queue", yield* suspended.labels, [])
    }
  ),

  test("a batch of which nothing can be stored answers every item", ["43", "4.5"], function*({ store }) {
    const unknown = unknownQueue(store)
    const notFound = Result.fail({ _tag: "QueueNotFound", target: unknown.writer })
    Expect.same("unknown queues", yield* store.writeMany([unknown.item("M1"), unknown.item("M2")]), [
      notFound,
      notFound
    ])
    const queue = yield* freshQueue(store)
    const tooLarge = Result.fail({ _tag: "MessageTooLarge", size: 65_537, limit: 65_536 })
    Expect.same("too large", yield* store.writeMany([queue.item("M1", { body: filled(65_537) })]), [tooLarge])
    Expect.same("the queue", yield* queue.size, 0)
  }),

  test("a batch may name several queues, each by either id and more than once, and keeps input order per queue", [
    "42",
    "43",
    "4.5"
  ], function*({ store }) {
    const a = yield* freshQueue(store)
    const b = yield* freshQueue(store)
    const result = yield* store.writeMany([
      b.item("M1"),
      { target: a.reader, message: message("M2") },
      a.item("M3"),
      { target: b.reader, message: message("M4") },
      { target: a.reader, message: message("M5") },
      b.item("M6")
    ])
    Expect.same(
      "the outcomes",
      result,
      outcomes(acceptedFirst(1n), acceptedFirst(1n), accepted(2n), accepted(2n), accepted(3n), accepted(3n))
    )
    Expect.same("queue A", yield* a.labels, ["M2", "M3", "M5"])
    Expect.same("queue B", yield* b.labels, ["M1", "M4", "M6"])
  }),

  test(
    "an id that is repeated inside a batch is stored once, as its first item has it",
    ["42", "4.5", "2.11"],
    function*({ store }) {
      const queue = yield* freshQueue(store, { holding: ["M0"] })
      const result = yield* store.writeMany([
        queue.item("M1"),
        queue.item("M0"),
        { target: queue.reader, message: message("M1", { body: bytes("another") }) },
        queue.item("M2"),
        queue.item("M1")
      ])
      Expect.same(
        "the outcomes",
        result,
        outcomes(accepted(2n), alreadyStored(1n), alreadyStored(2n), accepted(3n), alreadyStored(2n))
      )
      Expect.same("the entries", yield* queue.entries, [entry("M0", 1n), entry("M1", 2n), entry("M2", 3n)])
    }
  ),

  test("a batch can overflow a queue on its way", ["29", "42", "4.5"], function*({ store }) {
    const queue = yield* freshQueue(store, { quota: 2 })
    const other = yield* freshQueue(store, { quota: 0 })
    const result = yield* store.writeMany([
      queue.item("M1"),
      other.item("M1"),
      queue.item("M2"),
      queue.item("M3", { timestamp: 7, notify: true }),
      queue.item("M4"),
      queue.item("M3"),
      queue.item("M1"),
      other.item("M2")
    ])
    Expect.same(
      "the outcomes",
      result,
      outcomes(
        acceptedFirst(1n),
        quotaReached,
        accepted(2n),
        quotaReached,
        quotaExceeded,
        quotaReached,
        alreadyStored(1n),
        quotaExceeded
      )
    )
    Expect.same("the entries", yield* queue.entries, [entry("M1", 1n), entry("M2", 2n), marker("M3", 3n, 7)])
    Expect.same("the other queue", yield* other.entries, [marker("M1", 1n)])
  }),

  test("a batch of none answers none, and any iterable is a batch", ["44", "4.5"], function*({ store }) {
    Expect.same("an empty list", yield* store.writeMany([]), [])
    const queue = yield* freshQueue(store)
    const once = function*() {
      yield queue.item("M1")
      yield queue.item("M2")
    }
    Expect.same(
      "a generator, which can be read once",
      yield* store.writeMany(once()),
      outcomes(acceptedFirst(1n), accepted(2n))
    )
    Expect.same("a set", yield* store.writeMany(new Set([queue.item("M3")])), outcomes(accepted(3n)))
  }),

  test(
    "a batch of exactly the limit of items is stored, and one of more is refused whole",
    ["44", "4.5"],
    function*({ store }) {
      const queue = yield* freshQueue(store, { quota: 2_000 })
      const items = names(1_001).map((name) => queue.item(name))
      yield* Expect.failsWithTag("1,001 items", store.writeMany(items), "InvalidArgument")
      Expect.same("size", yield* queue.size, 0)
      const results = yield* store.writeMany(items.slice(0, 1_000))
      Expect.same("1,000 items, the last answer", results[999], Result.succeed(accepted(1_000n)))
      Expect.same("size then", yield* queue.size, 1_000)
    }
  ),

  test("a batch with more bytes than allowed is refused whole; bodies too large by themselves do not count", [
    "44",
    "4.5"
  ], function*({ open }) {
    const store = yield* open({ maxBodyBytes: 10, maxBatchBytes: 20, maxBatchItems: 4 })
    const queue = yield* freshQueue(store)
    const item = (name: string, size: number) => queue.item(name, { body: filled(size) })
    const over = store.writeMany([item("M1", 10), item("M2", 10), item("M3", 1)])
    yield* Expect.failsWithTag("21 bytes", over, "InvalidArgument")
    const many = store.writeMany(names(5).map((name) => item(name, 0)))
    yield* Expect.failsWithTag("5 items", many, "InvalidArgument")
    Expect.same("size", yield* queue.size, 0)
    const tooLarge = Result.fail({ _tag: "MessageTooLarge", size: 11, limit: 10 })
    Expect.same(
      "20 bytes and two bodies too large",
      yield* store.writeMany([item("M1", 11), item("M2", 10), item("M3", 10), item("M4", 11)]),
      [tooLarge, ...outcomes(acceptedFirst(1n), accepted(2n)), tooLarge]
    )
    Expect.same("the entries", (yield* queue.all).map(label), ["M2", "M3"])
  }),

  test("a batch with one malformed item is refused whole", ["44", "4.3"], function*({ store }) {
    const queue = yield* freshQueue(store)
    const bad = store.writeMany([queue.item("M1"), queue.item("M2", { timestamp: -1 }), unknownQueue(store).item("M3")])
    const failure = yield* Expect.failsWithTag("the batch", bad, "InvalidArgument")
    Expect.holds("the failure names the item", JSON.stringify(failure).includes("items[1]"), failure)
    Expect.same("size", yield* queue.size, 0)
  }),

  test("a batch answers and stores what the same writes one by one do", ["45", "4.5"], function*({ store }) {
    const Write = Arbitrary.all({
      queue: Arbitrary.schema(Schema.Literals([0, 1, 2])),
      name: Arbitrary.schema(Schema.Literals(["M1", "M2", "M3", "M4", "M5"])),
      byReader: Arbitrary.schema(Schema.Boolean),
      timestamp: Arbitrary.schema(Schema.Literals([5, 50, 500]))
    })
    let items = 0
    const check = Arbitrary.checkEffect(
      Arbitrary.array(Write, { maxLength: 16 }),
      Effect.fnUntraced(function*(writes) {
        const options = [{ quota: 2 }, { quota: 3 }, { quota: 0 }]
        const batched = yield* Effect.all(options.map((quota) => freshQueue(store, quota)))
        const single = yield* Effect.all(options.map((quota) => freshQueue(store, quota)))
        const item = (queues: typeof batched, write: (typeof writes)[number]): Option.Option<MsgStore.WriteItem> =>
          Option.map(Option.fromUndefinedOr(queues[write.queue]), (queue) => ({
            target: write.byReader ? queue.reader : queue.writer,
            message: message(write.name, { timestamp: write.timestamp })
          }))
        const some = (queues: typeof batched) => writes.flatMap((write) => Option.toArray(item(queues, write)))
        const results = yield* store.writeMany(some(batched))
        const oneByOne = []
        for (const { message, target } of some(single)) {
          oneByOne.push(yield* Effect.result(store.write(target, message)))
        }
        Expect.same("the outcomes", results, oneByOne)
        for (const [i, queue] of batched.entries()) {
          Expect.same(`entries of queue ${i}`, yield* queue.all, yield* single[i]?.all ?? Effect.succeed([]))
        }
        items += results.length
        return true
      }),
      { runs: 40, size: 16, seed: 45 }
    )
    Expect.same("the batches", (yield* check)._tag, "Passed")
    Expect.holds("at least 100 items were compared", items >= 100, items)
  }),

  test("two writes of one id into two queues are two messages", ["38", "2.11"], function*({ store }) {
    const a = yield* freshQueue(store)
    const b = yield* freshQueue(store)
    Expect.same(
      "the batch",
      yield* store.writeMany([a.item("M1"), b.item("M1")]),
      outcomes(acceptedFirst(1n), acceptedFirst(1n))
    )
    yield* a.remove("M1")
    Expect.same("queue A", yield* a.labels, [])
    Expect.same("queue B", yield* b.labels, ["M1"])
    Expect.same("the id in queue B", yield* store.write(b.writer, { id: id("M1"), body: bytes("") }), alreadyStored(1n))
  })
])

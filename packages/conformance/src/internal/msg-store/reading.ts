import { Arbitrary, Array as Arr, Effect, Option, Result, Schema, Stream } from "effect"
import * as TestClock from "effect/testing/TestClock"
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
  names,
  onTestClock,
  type QueueUnderTest,
  quotaReached,
  unchecked,
  unknownQueue
} from "./fixture.ts"

/** An array as Node's `Buffer` is one: `slice` gives a view of the same memory, so it is no way to copy. */
class ViewingArray extends Uint8Array {
  override slice(start?: number, end?: number): ViewingArray {
    return this.subarray(start, end)
  }
  override subarray(start = 0, end = this.length): ViewingArray {
    return new ViewingArray(this.buffer, this.byteOffset + start, Math.max(0, end - start))
  }
}

/** One step of a short history. */
const MessageStep = Schema.Literals(["write", "acknowledge", "expire"])
type MessageStep = typeof MessageStep.Type

/** The queue holds `count` messages, written in batches of 1,000. */
const fillQueue = Effect.fnUntraced(
  function*(store: MsgStore.MsgStore["Service"], queue: QueueUnderTest, count: number) {
    for (const part of Arr.chunksOf(names(count), 1_000)) {
      yield* store.writeMany(part.map((name) => queue.item(name)))
    }
  }
)

const spoil = (entries: Iterable<{ readonly body: Uint8Array }>) => {
  for (const { body } of entries) body.fill(0)
}

export const reading = group("B FIFO and reading", [
  test("a new queue is empty however it is looked at", ["11"], function*({ store }) {
    const queue = yield* freshQueue(store)
    Expect.same("peek", yield* queue.peek, Option.none())
    Expect.same("size", yield* queue.size, 0)
    Expect.same("peekBatch", yield* queue.entries, [])
    Expect.same("messages", yield* queue.all, [])
    const record = yield* queue.record
    Expect.holds("no first sequence", !Object.hasOwn(record, "firstSequence"), record)
    Expect.same("next sequence", record.nextSequence, 1n)
  }),

  test("only the write into an empty queue says so", ["12"], function*({ store }) {
    const queue = yield* freshQueue(store)
    Expect.same("the first write", yield* queue.write("M1"), acceptedFirst(1n))
    Expect.same("the second write", yield* queue.write("M2"), accepted(2n))
    Expect.same("size", yield* queue.size, 2)
  }),

  test("peeking shows the head and leaves it", ["13"], function*({ store }) {
    const queue = yield* freshQueue(store, { holding: ["M1", "M2"] })
    const before = yield* queue.state
    Expect.same("the first peek", yield* queue.peek, Option.some(entry("M1", 1n)))
    Expect.same("the second peek", yield* queue.peek, Option.some(entry("M1", 1n)))
    Expect.same("size", yield* queue.size, 2)
    Expect.same("the queue", yield* queue.state, before)
  }),

  test("bodies, flags and times come back exactly as they were written", ["14", "2.5"], function*({ store }) {
    const all = Uint8Array.from({ length: 256 }, (_, i) => i)
    const bodies: ReadonlyArray<Uint8Array> = [filled(0), filled(1, 0), filled(1, 255), all, filled(65_536, 200)]
    const times = [0, 1, 1_234_567_890_123, Number.MAX_SAFE_INTEGER - 1, Number.MAX_SAFE_INTEGER]
    const queue = yield* freshQueue(store)
    const expected = []
    for (const [i, body] of bodies.entries()) {
      const content = { body, timestamp: times[i] ?? 0, notify: i % 2 === 0 }
      yield* queue.write(`M${i}`, content)
      expected.push(entry(`M${i}`, BigInt(i + 1), content))
    }
    Expect.same("peek", yield* queue.peek, Option.fromUndefinedOr(expected[0]))
    Expect.same("peekBatch", yield* queue.entries, expected)
    Expect.same("messages", yield* queue.all, expected)
    for (const [i, stored] of expected.entries()) {
      Expect.same(`acknowledge ${i}`, yield* queue.acknowledge(`M${i}`), Option.some(stored))
    }
  }),

  test(
    "message ids of 1 and of 64 bytes, whatever the bytes, are kept as they are",
    ["14", "2.1"],
    function*({ store }) {
      const queue = yield* freshQueue(store)
      const ids = [filled(1, 0), filled(64, 255), new Uint8Array([1, 0]), new Uint8Array([1]), bytes("a'b\\c")]
      const messageIds = ids.map((bytes) => Result.getOrThrow(MessageId.fromBytes(bytes)))
      for (const messageId of messageIds) yield* queue.write("any", { id: messageId })
      Expect.same("the ids as read", (yield* queue.entries).map((entry) => entry.id), messageIds)
      const result = yield* store.acknowledgeThrough(queue.recipientId, messageIds[3] ?? id("none"))
      Expect.same("acknowledged through the fourth", result, 4)
    }
  ),

  test(
    "a message without timestamp and flag gets the clock of the caller, and false",
    ["14", "2.8"],
    function*({ store }) {
      yield* onTestClock(function*() {
        const queue = yield* freshQueue(store)
        yield* TestClock.setTime(777)
        yield* store.write(queue.writer, { id: id("M1"), body: bytes("M1") })
        yield* TestClock.setTime(888)
        yield* store.writeMany([{ target: queue.writer, message: { id: id("M2"), body: bytes("M2") } }])
        Expect.same("the entries", yield* queue.entries, [
          entry("M1", 1n, { timestamp: 777, notify: false }),
          entry("M2", 2n, { timestamp: 888, notify: false })
        ])
      })
    }
  ),

  test("a time that is not a whole number of milliseconds from 0 to 2^53-1 is refused and changes nothing", [
    "14",
    "2.5",
    "4.3"
  ], function*({ store }) {
    const queue = yield* freshQueue(store, { holding: ["M1"] })
    const before = yield* queue.state
    const bad = [-1, 0.5, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 53, unchecked<number>("5"), unchecked<number>(5n)]
    for (const timestamp of bad) {
      yield* Expect.failsWithTag(`write at ${timestamp}`, queue.write("M2", { timestamp }), "InvalidArgument")
      const batch = store.writeMany([queue.item("M2"), queue.item("M3", { timestamp })])
      yield* Expect.failsWithTag(`writeMany at ${timestamp}`, batch, "InvalidArgument")
      yield* Expect.failsWithTag(`expiry before ${timestamp}`, queue.deleteExpired(timestamp), "InvalidArgument")
      const unknown = unknownQueue(store)
      yield* Expect.failsWithTag("write to an unknown queue", unknown.write("M2", { timestamp }), "InvalidArgument")
      yield* Expect.failsWithTag("expiry of an unknown queue", unknown.deleteExpired(timestamp), "InvalidArgument")
    }
    Expect.same("the queue", yield* queue.state, before)
  }),

  test("a body must be bytes: a text is refused and changes nothing", ["14", "2.8"], function*({ store }) {
    const queue = yield* freshQueue(store, { holding: ["M1"] })
    const before = yield* queue.state
    for (const body of ["text", [1, 2, 3], null, new ArrayBuffer(3)]) {
      const call = queue.write("M2", { body: unchecked(body) })
      yield* Expect.failsWithTag(`a body of ${Expect.print(body)}`, call, "InvalidArgument")
      const batch = store.writeMany([queue.item("M2"), queue.item("M3", { body: unchecked(body) })])
      yield* Expect.failsWithTag(`a batch with a body of ${Expect.print(body)}`, batch, "InvalidArgument")
    }
    Expect.same("the queue", yield* queue.state, before)
  }),

  test("changing an array after passing it in does not change the store", ["14", "2.4"], function*({ store }) {
    const queue = yield* freshQueue(store)
    const plain = filled(4, 1)
    const viewing = new ViewingArray([1, 1, 1, 1])
    const window = new Uint8Array(filled(12, 1).buffer, 4, 4)
    for (const [i, body] of [plain, viewing, window].entries()) {
      yield* queue.write(`W${i}`, { body })
      yield* store.writeMany([queue.item(`B${i}`, { body })])
      new Uint8Array(body.buffer).fill(9)
      body.set([1, 1, 1, 1])
      body.fill(9)
    }
    for (const stored of yield* queue.entries) Expect.same(`body of ${label(stored)}`, stored.body, filled(4, 1))
  }),

  test("changing an array that was handed out does not change the store", ["14", "2.4"], function*({ store }) {
    const queue = yield* freshQueue(store, { holding: ["M1", "M2"] })
    const before = yield* queue.state
    spoil(Option.toArray(yield* queue.peek))
    Expect.same("after changing what peek gave", yield* queue.state, before)
    spoil(yield* queue.entries)
    Expect.same("after changing what peekBatch gave", yield* queue.state, before)
    spoil(yield* queue.all)
    Expect.same("after changing what messages gave", yield* queue.state, before)
    spoil(Option.toArray((yield* store.acknowledgeAndPeek(queue.recipientId, id("none"))).next))
    Expect.same("after changing what acknowledgeAndPeek gave", yield* queue.state, before)
    const { next } = yield* store.acknowledgeAndPeek(queue.recipientId, id("M1"))
    spoil(Option.toArray(next))
    Expect.same(
      "the next head, after changing what acknowledgeAndPeek gave of it",
      yield* queue.peek,
      Option.some(entry("M2", 2n))
    )
  }),

  test("a message keeps its bytes when another is written from the same array", ["14", "2.4"], function*({ store }) {
    const queue = yield* freshQueue(store)
    const array = filled(3, 1)
    yield* queue.write("M1", { body: array })
    array.fill(2)
    yield* queue.write("M2", { body: array })
    array.fill(3)
    Expect.same("the bodies", (yield* queue.entries).map((entry) => entry.body), [filled(3, 1), filled(3, 2)])
  }),

  // Once a batch from a generator was empty when it was repeated, and succeeded without storing anything.
  test(
    "a call writes what its arguments were when it was made, however late and however often it runs",
    ["14", "2.4", "4.5"],
    function*({ store }) {
      const queue = yield* freshQueue(store)
      const array = filled(3, 1)
      function* once() {
        yield queue.item("M2", { body: array })
      }
      const write = queue.write("M1", { body: array })
      const writeMany = store.writeMany(once())
      array.fill(9)
      Expect.same("the write", yield* write, acceptedFirst(1n))
      Expect.same("the batch", yield* writeMany, [Result.succeed(accepted(2n))])
      Expect.same("the batch again", yield* writeMany, [Result.succeed(alreadyStored(2n))])
      Expect.same("the bodies", (yield* queue.entries).map((entry) => entry.body), [filled(3, 1), filled(3, 1)])
    }
  ),

  test(
    "a body of exactly the limit is accepted, and one byte more is refused and not stored",
    ["15", "2.8"],
    function*({ store }) {
      const queue = yield* freshQueue(store)
      Expect.same("65,536 bytes", yield* queue.write("M1", { body: filled(65_536) }), acceptedFirst(1n))
      const before = yield* queue.state
      yield* Expect.failsWith("65,537 bytes", queue.write("M2", { body: filled(65_537) }), {
        _tag: "MessageTooLarge",
        size: 65_537,
        limit: 65_536
      })
      Expect.same("the queue", yield* queue.state, before)
    }
  ),

  test(
    "a layer with another limit refuses by that limit, before it looks for the queue",
    ["15", "4.3"],
    function*({ open }) {
      const store = yield* open({ maxBodyBytes: 10 })
      const queue = yield* freshQueue(store)
      const tooLarge = { _tag: "MessageTooLarge", size: 11, limit: 10 }
      const eleven = { body: filled(11) }
      Expect.same("10 bytes", yield* queue.write("M1", { body: filled(10) }), acceptedFirst(1n))
      yield* Expect.failsWith("11 bytes", queue.write("M2", eleven), tooLarge)
      yield* Expect.failsWith("11 bytes of a message that is stored", queue.write("M1", eleven), tooLarge)
      yield* Expect.failsWith("11 bytes to an unknown queue", unknownQueue(store).write("M2", eleven), tooLarge)
      yield* Expect.failsWithTag(
        "11 bytes and a bad time",
        queue.write("M2", { ...eleven, timestamp: -1 }),
        "InvalidArgument"
      )
      yield* queue.setStatus("suspended")
      yield* Expect.failsWith("11 bytes to a suspended queue", queue.write("M2", eleven), tooLarge)
      Expect.same("the entries", yield* queue.labels, ["M1"])
    }
  ),

  test("a store whose limit is 0 keeps messages without body", ["15", "2.8"], function*({ open }) {
    const store = yield* open({ maxBodyBytes: 0, maxBatchBytes: 0 })
    const queue = yield* freshQueue(store)
    Expect.same("an empty body", yield* queue.write("M1", { body: filled(0) }), acceptedFirst(1n))
    yield* Expect.failsWith("one byte", queue.write("M2", { body: filled(1) }), {
      _tag: "MessageTooLarge",
      size: 1,
      limit: 0
    })
    Expect.same("the entries", yield* queue.entries, [entry("M1", 1n, { body: filled(0) })])
  }),

  test(
    "peekBatch gives the first entries in order, and with a start those behind it",
    ["16", "4.6"],
    function*({ store }) {
      const queue = yield* freshQueue(store, { quota: 5, holding: names(6) })
      const { recipientId } = queue
      const all = [...names(5).map((name, i) => entry(name, BigInt(i + 1))), marker("M6", 6n)]
      for (const limit of [1, 5, 6, 7, 1_000]) {
        Expect.same(`limit ${limit}`, yield* store.peekBatch(recipientId, { limit }), all.slice(0, limit))
      }
      for (const after of [0n, 1n, 4n, 5n, 6n, 7n, 2n ** 63n - 1n]) {
        const rest = all.filter((entry) => entry.sequence > after)
        Expect.same(`after ${after}`, yield* store.peekBatch(recipientId, { limit: 9, after }), rest)
        Expect.same(`one after ${after}`, yield* store.peekBatch(recipientId, { limit: 1, after }), rest.slice(0, 1))
      }
      yield* queue.acknowledgeThrough("M3")
      Expect.same("from the head", yield* store.peekBatch(recipientId, { limit: 9 }), all.slice(3))
      Expect.same("after one that is gone", yield* store.peekBatch(recipientId, { limit: 9, after: 1n }), all.slice(3))
      Expect.same("after the head", yield* store.peekBatch(recipientId, { limit: 9, after: 4n }), all.slice(4))
      Expect.same("size", yield* queue.size, 3)
    }
  ),

  test(
    "a limit or start of peekBatch out of bounds is refused, for unknown queues too",
    ["16", "4.3"],
    function*({ store }) {
      const queues = [yield* freshQueue(store, { holding: ["M1"] }), unknownQueue(store)]
      for (const { recipientId } of queues) {
        for (const limit of [0, -1, 1.5, 1_001, Number.NaN, unchecked<number>("1"), unchecked<number>(undefined)]) {
          yield* Expect.failsWithTag(`limit ${limit}`, store.peekBatch(recipientId, { limit }), "InvalidArgument")
        }
        for (const after of [-1n, 2n ** 63n, unchecked<bigint>(1)]) {
          yield* Expect.failsWithTag(
            `after ${after}`,
            store.peekBatch(recipientId, { limit: 1, after }),
            "InvalidArgument"
          )
        }
      }
    }
  ),

  test(
    "peekBatch stops before its bodies pass the byte limit, but always has a first entry",
    ["17", "4.6"],
    function*({ open }) {
      const store = yield* open({ maxBodyBytes: 10, maxBatchBytes: 12, maxBatchItems: 3 })
      const queue = yield* freshQueue(store)
      const sizes = [10, 6, 6, 0, 1, 10, 2, 0, 0, 0, 0]
      for (const [i, size] of sizes.entries()) yield* queue.write(`M${i + 1}`, { body: filled(size) })
      const from = (after: bigint) =>
        Effect.map(store.peekBatch(queue.recipientId, { limit: 3, after }), (entries) => entries.map(label))
      Expect.same("10, then 6 would pass 12", yield* from(0n), ["M1"])
      Expect.same("6 + 6 is exactly 12, and an empty body still fits", yield* from(1n), ["M2", "M3", "M4"])
      Expect.same("6 + 0 + 1", yield* from(2n), ["M3", "M4", "M5"])
      Expect.same("0 + 1 + 10", yield* from(3n), ["M4", "M5", "M6"])
      Expect.same("1 + 10, then 2 would pass 12", yield* from(4n), ["M5", "M6"])
      Expect.same("10 + 2 is exactly 12, and an empty body still fits", yield* from(5n), ["M6", "M7", "M8"])
      Expect.same("the limit of entries", yield* from(7n), ["M8", "M9", "M10"])
      const over = store.peekBatch(queue.recipientId, { limit: 4 })
      yield* Expect.failsWithTag("a limit above maxBatchItems", over, "InvalidArgument")
      Expect.same("messages", (yield* queue.all).map(label), names(11))
    }
  ),

  test("a head of exactly the byte limit is given", ["17", "4.6"], function*({ open }) {
    const store = yield* open({ maxBodyBytes: 10, maxBatchBytes: 10 })
    const queue = yield* freshQueue(store)
    yield* queue.write("M1", { body: filled(10) })
    yield* queue.write("M2", { body: filled(10) })
    Expect.same("the batch", yield* queue.labels, ["M1"])
    Expect.same("the next batch", yield* store.peekBatch(queue.recipientId, { limit: 5, after: 1n }), [
      entry("M2", 2n, { body: filled(10) })
    ])
    Expect.same("messages", (yield* queue.all).map(label), ["M1", "M2"])
  }),

  test(
    "messages gives every entry in order and removes none, over more than one page",
    ["18", "4.12"],
    function*({ store }) {
      const queue = yield* freshQueue(store, { quota: 2_500 })
      Expect.same("of an empty queue", yield* queue.all, [])
      yield* queue.write("M1")
      Expect.same("of one entry", yield* queue.all, [entry("M1", 1n)])
      yield* fillQueue(store, queue, 2_500)
      yield* queue.write("M2501")
      const all = yield* queue.all
      Expect.same("of 2,500 entries and the marker", all.map(label), [...names(2_500), "Q(M2501)"])
      Expect.same("sequences", all.map((entry) => entry.sequence), names(2_501).map((_, i) => BigInt(i + 1)))
      Expect.same("size afterwards", yield* queue.size, 2_501)
    }
  ),

  test(
    "messages fails with QueueNotFound when the queue is deleted between two pages",
    ["18", "7", "4.12"],
    function*({ store }) {
      const queue = yield* freshQueue(store, { quota: 2_500 })
      yield* fillQueue(store, queue, 2_500)
      let seen = 0
      const read = Stream.runForEach(Stream.take(store.messages(queue.recipientId), 2_600), () => {
        seen++
        return seen === 1 ? queue.delete : Effect.void
      })
      yield* Expect.failsWith("the stream", read, { _tag: "QueueNotFound", target: queue.reader })
      Expect.holds("entries of the first page came, and not all", seen >= 1 && seen < 2_500, seen)
    }
  ),

  test("messages comes to an end although a writer keeps up with it", ["18", "4.12"], function*({ store }) {
    const queue = yield* freshQueue(store, { quota: 10_000, holding: ["M1", "M2", "M3"] })
    const read: Array<string> = []
    yield* Stream.runForEach(Stream.take(store.messages(queue.recipientId), 2_600), (entry) => {
      read.push(label(entry))
      return queue.write(`late ${read.length}`)
    })
    Expect.same("what was there at the start", read.slice(0, 3), ["M1", "M2", "M3"])
    Expect.holds("it ended by itself", read.length < 2_600, read.length)
  }),

  test(
    "messages emits what stays exactly once while the head is acknowledged and the tail grows",
    ["18", "4.12"],
    function*({ store }) {
      const queue = yield* freshQueue(store, { quota: 5_000 })
      yield* fillQueue(store, queue, 2_500)
      const seen: Array<string> = []
      yield* Stream.runForEach(Stream.take(store.messages(queue.recipientId), 2_600), (entry) => {
        seen.push(label(entry))
        if (seen.length !== 1) return Effect.void
        return Effect.andThen(queue.acknowledgeThrough("M500"), queue.write("late"))
      })
      const present = names(2_500).slice(500)
      Expect.sameElements("entries that were there throughout", seen.filter((name) => present.includes(name)), present)
      const order = seen.filter((name) => name !== "late").map((name) => Number(name.slice(1)))
      Expect.same("the order", order, order.toSorted((a, b) => a - b))
    }
  ),

  test("entries are read in the order of acceptance, whatever their timestamps", ["19", "I1"], function*({ store }) {
    const queue = yield* freshQueue(store)
    for (const [i, name] of names(5).entries()) yield* queue.write(name, { timestamp: 500 - i * 100 })
    Expect.same("peekBatch", yield* queue.labels, names(5))
    Expect.same("messages", (yield* queue.all).map(label), names(5))
    for (const name of names(5)) Expect.same("the head, acknowledged", yield* queue.remove(name), name)
  }),

  test("ids in decreasing order are read in the order of acceptance too", ["19", "I1"], function*({ store }) {
    const queue = yield* freshQueue(store)
    const backwards = names(9).toReversed()
    for (const name of backwards) yield* queue.write(name)
    Expect.same("peekBatch", yield* queue.labels, backwards)
  }),

  test("a queue that runs empty goes on with its sequences, and each first write says that it was empty", [
    "20",
    "2.10",
    "I11"
  ], function*({ store }) {
    const queue = yield* freshQueue(store)
    for (let round = 1n; round <= 5n; round++) {
      Expect.same(`write ${round}`, yield* queue.write("M"), acceptedFirst(round))
      Expect.same(`acknowledge ${round}`, yield* queue.acknowledge("M"), Option.some(entry("M", round)))
    }
    const record = yield* queue.record
    Expect.same("next sequence", record.nextSequence, 6n)
    Expect.holds("no first sequence", !Object.hasOwn(record, "firstSequence"), record)
  }),

  test("writes that store nothing use no sequence, and the marker uses one", ["20", "2.10"], function*({ store }) {
    const queue = yield* freshQueue(store, { quota: 2, holding: ["M1"] })
    const next = Effect.map(queue.record, (record) => record.nextSequence)
    yield* queue.write("M1")
    Expect.same("after a repeated write", yield* next, 2n)
    yield* Effect.flip(queue.write("M2", { body: filled(65_537) }))
    Expect.same("after one that is too large", yield* next, 2n)
    yield* queue.setStatus("suspended")
    yield* Effect.flip(queue.write("M2"))
    yield* queue.setStatus("active")
    Expect.same("after one that was refused", yield* next, 2n)
    yield* queue.write("M2")
    Expect.same("the overflow", yield* queue.write("M3"), quotaReached)
    Expect.same("after the marker", yield* next, 4n)
    yield* queue.write("M3")
    yield* queue.write("M4")
    Expect.same("after writes to a latched queue", yield* next, 4n)
    yield* queue.acknowledgeThrough({ sequence: 3n })
    Expect.same("after the drain", yield* next, 4n)
    Expect.same("the next write", yield* queue.write("M5"), acceptedFirst(4n))
  }),

  test(
    "the record of a queue is one snapshot that agrees with its entries",
    ["6", "2.6", "I3", "I6"],
    function*({ store }) {
      const check = Arbitrary.checkEffect(
        Arbitrary.array(Arbitrary.schema(MessageStep), { maxLength: 12 }),
        Effect.fnUntraced(function*(steps: ReadonlyArray<MessageStep>) {
          const queue = yield* freshQueue(store, { quota: 3 })
          for (const [i, step] of steps.entries()) {
            if (step === "write") yield* queue.write(`M${i}`)
            else if (step === "acknowledge") {
              yield* Effect.flatMap(queue.head, (head) => queue.remove(head.replace(/^Q\((.*)\)$/, "$1")))
            } else yield* queue.deleteExpired(2_000)
            const { entries, record } = yield* queue.state
            Expect.same("size", record.size, entries.length)
            Expect.same("first sequence", record.firstSequence, entries[0]?.sequence)
            Expect.same("latched", record.latched, entries.at(-1)?.kind === "quota")
            Expect.holds("next sequence", record.nextSequence > (entries.at(-1)?.sequence ?? 0n), record)
          }
          return true
        }),
        { runs: 20, size: 12, seed: 6 }
      )
      Expect.same("the histories", (yield* check)._tag, "Passed")
    }
  )
])

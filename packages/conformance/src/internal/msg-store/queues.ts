import { Cause, Effect, Logger, Metric, Option, Predicate, References, Result, Tracer } from "effect"
import * as TestClock from "effect/testing/TestClock"
import { MessageId, RecipientId, SenderId } from "restante"
import type { Store } from "./case.ts"
import { group, test } from "./case.ts"
import * as Expect from "./expectation.ts"
import {
  bytes,
  deletedQueue,
  filled,
  freshQueue,
  id,
  message,
  names,
  onTestClock,
  type QueueUnderTest,
  queueUnderTest,
  unchecked,
  unknownQueue
} from "./fixture.ts"

/** Every operation that names a queue by its recipient id, by name. Those with an id of a message name one that may exist. */
const byRecipient = (
  store: Store,
  recipientId: RecipientId
): Record<string, Effect.Effect<unknown, unknown>> => ({
  getQueue: store.getQueue({ recipientId }),
  setQueueStatus: store.setQueueStatus(recipientId, "suspended"),
  setQuota: store.setQuota(recipientId, 7),
  write: store.write({ recipientId }, message("M1")),
  peek: store.peek(recipientId),
  peekBatch: store.peekBatch(recipientId, { limit: 1 }),
  acknowledge: store.acknowledge(recipientId, id("M1")),
  acknowledgeAndPeek: store.acknowledgeAndPeek(recipientId, id("M1")),
  "acknowledgeThrough by id": store.acknowledgeThrough(recipientId, id("M1")),
  "acknowledgeThrough by sequence": store.acknowledgeThrough(recipientId, { sequence: 1n }),
  size: store.size(recipientId),
  deleteExpired: store.deleteExpired(recipientId, 1),
  messages: Effect.suspend(() => queueUnderTest(store, recipientId, SenderId.randomUnsafe()).all),
  deleteQueue: store.deleteQueue(recipientId)
})

/** Every operation that names a queue by its sender id. */
const bySender = (store: Store, senderId: SenderId): Record<string, Effect.Effect<unknown, unknown>> => ({
  getQueue: store.getQueue({ senderId }),
  write: store.write({ senderId }, message("M1"))
})

/** What is not an id: no bytes, 65 bytes, characters of another alphabet, a second spelling of one byte, no text at all. */
const badIds: ReadonlyArray<unknown> = ["", "A".repeat(88), "not base64url!", "AB", 7, null]

/** All texts that can be reached from a value, getters of errors included. */
const textsIn = (value: unknown, seen = new Set<unknown>()): Array<string> => {
  if (typeof value === "string") return [value]
  if (!Predicate.isObjectOrArray(value) || seen.has(value)) return []
  seen.add(value)
  if (value instanceof Map) return Array.from(value).flatMap((pair) => textsIn(pair, seen))
  const texts = value instanceof Error ? [value.message, String(value)] : []
  // A stack names files of this program, whose paths are not the store's business.
  const keys = Reflect.ownKeys(value).filter((key) => key !== "stack")
  return [...texts, ...keys.flatMap((key) => textsIn(Reflect.get(value, key), seen))]
}

const mentions = (value: unknown, text: string): boolean => textsIn(value).some((found) => found.includes(text))

/** The state of the queue is the same after each of these calls, whatever they answer. */
const changesNothing = Effect.fnUntraced(function*(
  queue: QueueUnderTest,
  calls: Record<string, Effect.Effect<unknown, unknown>>,
  tag: string
) {
  const before = yield* queue.state
  for (const [name, call] of Object.entries(calls)) yield* Expect.failsWithTag(name, call, tag)
  Expect.same("the queue after the refused calls", yield* queue.state, before)
})

const taken = (field: "recipientId" | "senderId") => ({ _tag: "QueueIdTaken", field })

/** Random bytes, as many as an id may have. */
const randomBytes = (length: number) => {
  const bytes = filled(length, 0)
  bytes.set(RecipientId.toBytes(RecipientId.randomUnsafe()).subarray(0, length))
  return bytes
}

const errorText = (queue: QueueUnderTest) => Effect.map(Effect.flip(queue.peek), (error) => error.message)

const timesOf = (record: { readonly createdAt: number; readonly updatedAt: number }) => [
  record.createdAt,
  record.updatedAt
]

export const queues = group("A Queues and capabilities", [
  test(
    "a queue created without options gets two ids of 24 random bytes and follows the defaults",
    ["1", "2.2"],
    function*({ store }) {
      const seen = new Set<string>()
      yield* onTestClock(function*() {
        yield* TestClock.setTime(1_234_567_890_123)
        for (const _ of names(8)) {
          const record = yield* store.createQueue()
          const { recipientId, senderId } = record
          Expect.same("the record", record, {
            recipientId,
            senderId,
            status: "active",
            size: 0,
            latched: false,
            nextSequence: 1n,
            createdAt: 1_234_567_890_123,
            updatedAt: 1_234_567_890_123
          })
          Expect.same("bytes of the recipient id", RecipientId.toBytes(recipientId).length, 24)
          Expect.same("bytes of the sender id", SenderId.toBytes(senderId).length, 24)
          seen.add(recipientId).add(senderId)
        }
      })
      Expect.same("different ids of 8 queues", seen.size, 16)
    }
  ),

  test("a queue is created with the quota and the status that are asked for", ["1", "2.6"], function*({ store }) {
    const suspended = yield* store.createQueue({ quota: 2_147_483_647, status: "suspended" })
    Expect.same("status", suspended.status, "suspended")
    Expect.same("quota", suspended.quota, 2_147_483_647)
    Expect.same("the record as read", yield* store.getQueue({ recipientId: suspended.recipientId }), suspended)
    const zero = yield* store.createQueue({ quota: 0, status: "active" })
    Expect.same("quota 0", (yield* store.getQueue({ recipientId: zero.recipientId })).quota, 0)
  }),

  test("ids of 1 and of 64 bytes name queues, whatever the bytes", ["2", "2.1"], function*({ store }) {
    const long = yield* store.createQueue({
      recipientId: Result.getOrThrow(RecipientId.fromBytes(randomBytes(64))),
      senderId: Result.getOrThrow(SenderId.fromBytes(randomBytes(64)))
    })
    Expect.same("a queue of 64-byte ids", yield* store.getQueue({ recipientId: long.recipientId }), long)

    // There are only 256 ids of one byte, and the storage may hold queues of earlier runs.
    const start = randomBytes(1)[0] ?? 0
    let created = false
    for (let i = 0; i < 256 && !created; i++) {
      const recipientId = Result.getOrThrow(RecipientId.fromBytes(filled(1, (start + i) % 256)))
      const senderId = SenderId.randomUnsafe()
      const result = yield* Effect.result(store.createQueue({ recipientId, senderId }))
      if (Result.isFailure(result)) {
        Expect.same("why an id of 1 byte is refused", result.failure, { _tag: "QueueIdTaken", field: "recipientId" })
        continue
      }
      created = true
      Expect.same("the queue of a 1-byte id", yield* store.getQueue({ recipientId }), result.success)
      Expect.same("its writer's view", yield* store.getQueue({ senderId }), { senderId, status: "active" })
    }
    Expect.holds("one of the 256 ids of one byte is free", created)
  }),

  test(
    "ids that are prefixes of each other, or differ in a zero byte, name different queues",
    ["2", "2.1"],
    function*({ store }) {
      const stem = RecipientId.toBytes(RecipientId.randomUnsafe())
      const variants = [
        stem,
        new Uint8Array([...stem, 0]),
        new Uint8Array([...stem, 0, 0]),
        new Uint8Array([...stem, 255])
      ]
      const queues = []
      for (const [i, variant] of variants.entries()) {
        const { recipientId, senderId } = yield* store.createQueue({
          recipientId: Result.getOrThrow(RecipientId.fromBytes(variant)),
          senderId: Result.getOrThrow(SenderId.fromBytes(new Uint8Array([...variant, 1])))
        })
        const queue = queueUnderTest(store, recipientId, senderId)
        yield* queue.write(`M${i}`)
        queues.push(queue)
      }
      for (const [i, queue] of queues.entries()) Expect.same(`queue ${i}`, yield* queue.labels, [`M${i}`])
    }
  ),

  test("ids whose texts differ in nothing but case name different queues", ["2", "2.1"], function*({ store }) {
    const first = RecipientId.randomUnsafe()
    const swapped = first.replaceAll(
      /[a-z]/gi,
      (letter) => letter === letter.toLowerCase() ? letter.toUpperCase() : letter.toLowerCase()
    )
    const second = Result.getOrThrow(RecipientId.parse(swapped))
    const a = yield* store.createQueue({ recipientId: first })
    const b = yield* store.createQueue({ recipientId: second })
    yield* store.write({ recipientId: second }, message("M1"))
    Expect.same("the first queue", yield* store.getQueue({ recipientId: first }), a)
    Expect.same("entries of the second", yield* store.size(b.recipientId), 1)
  }),

  test(
    "what is not 1 to 64 bytes is refused as an id by every operation, and nothing changes",
    ["2", "2.1", "4.3"],
    function*({ store }) {
      const queue = yield* freshQueue(store, { holding: ["M1", "M2"] })
      for (const bad of badIds) {
        yield* changesNothing(queue, byRecipient(store, unchecked(bad)), "InvalidArgument")
        yield* changesNothing(queue, bySender(store, unchecked(bad)), "InvalidArgument")
        yield* changesNothing(queue, {
          "createQueue with this recipientId": store.createQueue({ recipientId: unchecked(bad ?? 0) }),
          "createQueue with this senderId": store.createQueue({ senderId: unchecked(bad ?? 0) }),
          "write of this message id": store.write(queue.writer, message("M3", { id: unchecked(bad ?? 0) })),
          "writeMany with this target": store.writeMany([queue.item("M3"), {
            target: { senderId: unchecked(bad) },
            message: message("M4")
          }]),
          "writeMany with this message id": store.writeMany([
            queue.item("M3"),
            queue.item("M4", { id: unchecked(bad ?? 0) })
          ]),
          acknowledge: store.acknowledge(queue.recipientId, unchecked(bad)),
          acknowledgeAndPeek: store.acknowledgeAndPeek(queue.recipientId, unchecked(bad))
        }, "InvalidArgument")
      }
      for (const bad of badIds.filter(Predicate.isString)) {
        yield* changesNothing(queue, {
          acknowledgeThrough: store.acknowledgeThrough(queue.recipientId, unchecked(bad))
        }, "InvalidArgument")
      }
    }
  ),

  test("one byte string cannot be both ids of a queue", ["2", "2.2"], function*({ store }) {
    const recipientId = RecipientId.randomUnsafe()
    const call = store.createQueue({ recipientId, senderId: unchecked(recipientId) })
    yield* Expect.failsWithTag("createQueue with equal ids", call, "InvalidArgument")
    yield* Expect.failsWith("the recipient id afterwards", store.getQueue({ recipientId }), {
      _tag: "QueueNotFound",
      target: { recipientId }
    })
  }),

  test("an id in use is refused by name, and the refused call reserves neither id", ["3", "4.7"], function*({ store }) {
    const first = yield* freshQueue(store, { holding: ["M1"] })
    const before = yield* first.state
    const r2 = RecipientId.randomUnsafe()
    const s2 = SenderId.randomUnsafe()
    yield* Expect.failsWith(
      "(r1, s2)",
      store.createQueue({ recipientId: first.recipientId, senderId: s2 }),
      taken("recipientId")
    )
    yield* Expect.failsWith(
      "(r2, s1)",
      store.createQueue({ recipientId: r2, senderId: first.senderId }),
      taken("senderId")
    )
    yield* Expect.failsWith("r2", store.peek(r2), { _tag: "QueueNotFound", target: { recipientId: r2 } })
    yield* Expect.failsWith("s2", store.getQueue({ senderId: s2 }), { _tag: "QueueNotFound", target: { senderId: s2 } })
    Expect.same("queue (r1, s1)", yield* first.state, before)
    const second = yield* store.createQueue({ recipientId: r2, senderId: s2 })
    Expect.same("queue (r2, s2) is new", second.size, 0)
    yield* Expect.failsWith(
      "both ids taken by two queues",
      store.createQueue({ recipientId: first.recipientId, senderId: s2 }),
      taken("recipientId")
    )
  }),

  test(
    "creating the same pair of ids again answers the present record and changes nothing",
    ["4", "4.7"],
    function*({ store }) {
      const queue = yield* freshQueue(store, { quota: 3, holding: ["M1"] })
      const { recipientId, senderId } = queue
      yield* queue.setStatus("suspended")
      const before = yield* queue.state
      const again = yield* store.createQueue({ recipientId, senderId, quota: 9, status: "active" })
      Expect.same("the answer", again, before.record)
      Expect.same("the state afterwards", yield* queue.state, before)
    }
  ),

  test("concurrent creations of one pair of ids agree on one queue", ["4", "4.7"], function*({ store }) {
    const recipientId = RecipientId.randomUnsafe()
    const senderId = SenderId.randomUnsafe()
    const records = yield* Effect.all(
      names(12).map(() => store.createQueue({ recipientId, senderId })),
      { concurrency: "unbounded" }
    )
    const present = yield* store.getQueue({ recipientId })
    for (const record of records) Expect.same("the record each creator got", record, present)
  }),

  test(
    "of concurrent creations that share one id exactly one succeeds, and the others reserve nothing",
    ["3", "4.7"],
    function*({ store }) {
      const recipientId = RecipientId.randomUnsafe()
      const senders = names(8).map(() => SenderId.randomUnsafe())
      const results = yield* Effect.all(
        senders.map((senderId) => Effect.result(store.createQueue({ recipientId, senderId }))),
        { concurrency: "unbounded" }
      )
      const won = results.filter(Result.isSuccess)
      Expect.same("creations that succeeded", won.length, 1)
      for (const lost of results.filter(Result.isFailure)) {
        Expect.same("why a creation failed", lost.failure, { _tag: "QueueIdTaken", field: "recipientId" })
      }
      const owner = (yield* store.getQueue({ recipientId })).senderId
      for (const senderId of senders.filter((sender) => sender !== owner)) {
        Expect.same("a sender id that lost is free", (yield* store.createQueue({ senderId })).senderId, senderId)
      }
    }
  ),

  test(
    "the same bytes can be the recipient id of one queue and the sender id of another",
    ["5", "2.2"],
    function*({ store }) {
      const x = RecipientId.toBytes(RecipientId.randomUnsafe())
      const recipientId = Result.getOrThrow(RecipientId.fromBytes(x))
      const senderId = Result.getOrThrow(SenderId.fromBytes(x))
      const a = yield* store.createQueue({ recipientId })
      const b = yield* store.createQueue({ senderId })
      yield* store.write({ senderId }, message("M1"))
      Expect.same("entries of A", yield* store.size(a.recipientId), 0)
      Expect.same("entries of B", yield* store.size(b.recipientId), 1)
      Expect.same("the record of A", yield* store.getQueue({ recipientId: a.recipientId }), a)
    }
  ),

  test(
    "the reader sees the whole record; the writer sees the sender id and the status and nothing else",
    ["6", "2.7"],
    function*({ store }) {
      yield* onTestClock(function*() {
        yield* TestClock.setTime(100)
        const queue = yield* freshQueue(store, { quota: 2, holding: ["M1", "M2", "M3"] })
        const { recipientId, senderId } = queue
        yield* queue.remove("M1")
        Expect.same("the reader's view", yield* queue.record, {
          recipientId,
          senderId,
          quota: 2,
          status: "active",
          size: 2,
          latched: true,
          firstSequence: 2n,
          nextSequence: 4n,
          createdAt: 100,
          updatedAt: 100
        })
        Expect.same("the writer's view", yield* store.getQueue(queue.writer), { senderId, status: "active" })
        yield* queue.setStatus("suspended")
        Expect.same("the writer's view when suspended", yield* store.getQueue(queue.writer), {
          senderId,
          status: "suspended"
        })
      })
    }
  ),

  test(
    "nothing that a sender id can get, result or failure, contains the recipient id",
    ["6", "2.3"],
    function*({ store }) {
      const queue = yield* freshQueue(store, { quota: 1 })
      const secret = queue.recipientId
      const { writer } = queue
      const seen: Array<unknown> = []
      const look = (call: Effect.Effect<unknown, unknown>) =>
        Effect.map(Effect.result(call), (result) => {
          seen.push(result)
        })
      yield* look(store.write(writer, message("M1")))
      yield* look(store.write(writer, message("M1")))
      yield* look(store.write(writer, message("M2")))
      yield* look(store.write(writer, message("M3")))
      yield* look(store.write(writer, message("M4", { body: filled(65_537) })))
      yield* look(store.write(writer, message("M4", { timestamp: -1 })))
      yield* look(store.writeMany([queue.item("M1"), queue.item("M5"), queue.item("M6", { body: filled(65_537) })]))
      yield* look(store.getQueue(writer))
      yield* look(store.createQueue({ senderId: queue.senderId }))
      yield* queue.setStatus("suspended")
      yield* look(store.write(writer, message("M7")))
      yield* look(store.writeMany([queue.item("M7")]))
      yield* queue.delete
      yield* look(store.write(writer, message("M8")))
      yield* look(store.writeMany([queue.item("M8")]))
      yield* look(store.getQueue(writer))
      yield* look(store.createQueue({ senderId: queue.senderId }))
      Expect.same("answers looked at", seen.length, 15)
      for (const answer of seen) {
        Expect.holds("the answer is free of the recipient id", !mentions(answer, secret), answer)
      }
    }
  ),

  test("a sender id does not read, and a recipient id is not a sender id", ["5", "2.3"], function*({ store }) {
    const queue = yield* freshQueue(store, { holding: ["M1"] })
    const asRecipient = Result.getOrThrow(RecipientId.parse(queue.senderId))
    const asSender = Result.getOrThrow(SenderId.parse(queue.recipientId))
    yield* changesNothing(queue, byRecipient(store, asRecipient), "QueueNotFound")
    yield* changesNothing(queue, bySender(store, asSender), "QueueNotFound")
  }),

  test("a queue can be written by either of its ids", ["6", "4.5"], function*({ store }) {
    const queue = yield* freshQueue(store)
    yield* store.write(queue.reader, message("M1"))
    yield* store.write(queue.writer, message("M2"))
    Expect.same("the entries", yield* queue.labels, ["M1", "M2"])
    Expect.same("a repeated write by the other id", yield* store.write(queue.reader, message("M2")), {
      _tag: "AlreadyStored",
      sequence: 2n
    })
  }),

  test("every operation answers QueueNotFound, with the target as given, for unknown and deleted queues alike", [
    "7",
    "4.2"
  ], function*({ store }) {
    const unknown = unknownQueue(store)
    const deleted = yield* deletedQueue(store)
    for (const queue of [unknown, deleted]) {
      const { recipientId, senderId } = queue
      for (const [name, call] of Object.entries(byRecipient(store, recipientId))) {
        yield* Expect.failsWith(name, call, { _tag: "QueueNotFound", target: { recipientId } })
      }
      for (const [name, call] of Object.entries(bySender(store, senderId))) {
        yield* Expect.failsWith(name, call, { _tag: "QueueNotFound", target: { senderId } })
      }
      const items = [queue.item("M1"), { target: queue.reader, message: message("M2") }]
      Expect.same("writeMany", yield* store.writeMany(items), [
        Result.fail({ _tag: "QueueNotFound", target: { senderId } }),
        Result.fail({ _tag: "QueueNotFound", target: { recipientId } })
      ])
    }
    Expect.same("the error text", yield* errorText(unknown), yield* errorText(deleted))
  }),

  test("a suspended queue refuses writes and nothing else", ["8"], function*({ store }) {
    const queue = yield* freshQueue(store, { holding: ["M1", "M2", "M3"] })
    yield* queue.setStatus("suspended")
    yield* Expect.failsWith("write", queue.write("M4"), { _tag: "QueueSuspended" })
    Expect.same("writeMany", yield* store.writeMany([queue.item("M4")]), [Result.fail({ _tag: "QueueSuspended" })])
    Expect.same("head", yield* queue.head, "M1")
    Expect.same("size", yield* queue.size, 3)
    Expect.same("acknowledge", yield* queue.remove("M1"), "M1")
    Expect.same("deleteExpired", yield* queue.deleteExpired(2_000), 2)
    Expect.same("peekBatch", yield* queue.labels, [])
    Expect.same("a write refused while suspended used no sequence", (yield* queue.record).nextSequence, 4n)
    yield* queue.setStatus("active")
    Expect.same("write when active again", yield* queue.write("M5"), { _tag: "Accepted", wasEmpty: true, sequence: 4n })
  }),

  test("updatedAt follows changes of status and quota, and nothing else", ["9", "2.6"], function*({ store }) {
    yield* onTestClock(function*() {
      yield* TestClock.setTime(10)
      const queue = yield* freshQueue(store, { quota: 2 })
      const at = (time: number, call: Effect.Effect<unknown, unknown>) =>
        Effect.andThen(TestClock.setTime(time), Effect.andThen(call, queue.record))
      Expect.same("the same status", timesOf(yield* at(20, queue.setStatus("active"))), [10, 10])
      Expect.same("the same quota", timesOf(yield* at(21, queue.setQuota(2))), [10, 10])
      Expect.same("another status", timesOf(yield* at(22, queue.setStatus("suspended"))), [10, 22])
      Expect.same("the same status again", timesOf(yield* at(23, queue.setStatus("suspended"))), [10, 22])
      Expect.same("the first status", timesOf(yield* at(24, queue.setStatus("active"))), [10, 24])
      Expect.same("another quota", timesOf(yield* at(25, queue.setQuota(3))), [10, 25])
      Expect.same("no quota", timesOf(yield* at(26, queue.setQuota(undefined))), [10, 26])
      Expect.same("no quota again", timesOf(yield* at(27, queue.setQuota(undefined))), [10, 26])
      Expect.same("the default, but as an override", timesOf(yield* at(28, queue.setQuota(128))), [10, 28])
      Expect.same("quota 1", timesOf(yield* at(29, queue.setQuota(1))), [10, 29])
      Expect.same("accepted", timesOf(yield* at(30, queue.write("M1"))), [10, 29])
      Expect.same("repeated", timesOf(yield* at(31, queue.write("M1"))), [10, 29])
      Expect.same("overflow", timesOf(yield* at(32, queue.write("M2"))), [10, 29])
      Expect.same("refused", timesOf(yield* at(33, queue.write("M3"))), [10, 29])
      Expect.same("a batch", timesOf(yield* at(34, store.writeMany([queue.item("M4")]))), [10, 29])
      Expect.same("acknowledged", timesOf(yield* at(35, queue.remove("M1"))), [10, 29])
      Expect.same("drained", timesOf(yield* at(36, queue.acknowledgeThrough("M2"))), [10, 29])
      yield* queue.write("M5")
      Expect.same("expired", timesOf(yield* at(37, queue.deleteExpired(5_000))), [10, 29])
      Expect.same("created again", timesOf(yield* at(38, store.createQueue({ ...queue.reader, ...queue.writer }))), [
        10,
        29
      ])
    })
  }),

  test("setQuota and setQueueStatus answer the record as it is afterwards", ["9", "2.6"], function*({ store }) {
    const queue = yield* freshQueue(store, { quota: 2, holding: ["M1"] })
    Expect.same("setQuota", yield* queue.setQuota(5), yield* queue.record)
    Expect.same("the quota", (yield* queue.record).quota, 5)
    Expect.same("setQueueStatus", yield* queue.setStatus("suspended"), yield* queue.record)
    const cleared = yield* queue.setQuota(undefined)
    Expect.same("without override", cleared, yield* queue.record)
    Expect.holds("a queue without override has no quota field", !Object.hasOwn(cleared, "quota"), cleared)
  }),

  test("a quota or status out of bounds is refused and changes nothing", ["9", "2.6"], function*({ store }) {
    const queue = yield* freshQueue(store, { quota: 2, holding: ["M1"] })
    for (const quota of [-1, 1.5, 2_147_483_648, Number.NaN, Number.POSITIVE_INFINITY, unchecked<number>("3")]) {
      yield* changesNothing(queue, {
        [`setQuota ${quota}`]: queue.setQuota(quota),
        [`createQueue with quota ${quota}`]: store.createQueue({ quota })
      }, "InvalidArgument")
    }
    yield* changesNothing(queue, {
      setQueueStatus: queue.setStatus(unchecked("paused")),
      createQueue: store.createQueue({ status: unchecked("paused") }),
      "setQuota on an unknown queue": unknownQueue(store).setQuota(-1),
      "setQueueStatus on an unknown queue": unknownQueue(store).setStatus(unchecked("paused"))
    }, "InvalidArgument")
    Expect.same("the largest quota", (yield* queue.setQuota(2_147_483_647)).quota, 2_147_483_647)
  }),

  test("what happens to one queue leaves another as it was", ["10", "I12"], function*({ store }) {
    const quiet = yield* freshQueue(store, { quota: 2, holding: ["M1", "M2", "M3"] })
    const before = yield* quiet.state
    const busy = yield* freshQueue(store, { quota: 2, holding: ["M1", "M2", "M3", "M4"] })
    yield* busy.remove("M1")
    yield* busy.deleteExpired(5_000)
    yield* busy.acknowledgeThrough("M3")
    yield* store.writeMany([busy.item("M1"), busy.item("M1"), busy.item("M5")])
    yield* busy.setQuota(0)
    yield* busy.setStatus("suspended")
    yield* busy.delete
    Expect.same("the other queue", yield* quiet.state, before)
    Expect.same("the other queue goes on where it was", yield* quiet.removeAndPeek("M1"), {
      acknowledged: "M1",
      next: "M2"
    })
  }),

  test(
    "texts of errors and InvalidArgument as a whole contain no id and no body",
    ["2.3", "7.7"],
    function*({ store }) {
      const queue = yield* freshQueue(store, { quota: 5, holding: ["first-message"] })
      const gone = yield* deletedQueue(store)
      const secret = "secret-body-of-a-message"
      const body = bytes(secret.repeat(3_000))
      const small = message("secret-message-id", { body: bytes(secret) })
      const failures: Array<Error> = []
      const look = (call: Effect.Effect<unknown, Error>) =>
        Effect.map(Effect.flip(call), (error) => {
          failures.push(error)
        })
      yield* look(store.write(gone.writer, small))
      yield* look(store.write(gone.reader, small))
      yield* look(store.peek(gone.recipientId))
      yield* look(store.write(queue.writer, message("secret-message-id", { body })))
      yield* look(store.createQueue({ recipientId: queue.recipientId }))
      yield* look(store.acknowledgeThrough(queue.recipientId, { sequence: 9n }))
      yield* look(store.write(queue.writer, { ...small, timestamp: -1 }))
      yield* look(store.write(queue.writer, { ...small, id: unchecked("secret message id that is none") }))
      yield* look(store.peek(unchecked("secret recipient id that is none")))
      yield* look(store.createQueue({ recipientId: queue.recipientId, senderId: unchecked(queue.recipientId) }))
      yield* queue.setStatus("suspended")
      yield* look(store.write(queue.writer, small))
      Expect.same("failures looked at", failures.length, 11)
      const secrets = [
        queue.recipientId,
        queue.senderId,
        gone.recipientId,
        gone.senderId,
        MessageId.named("secret-message-id"),
        "secret"
      ]
      for (const error of failures) {
        const serialised = Predicate.isTagged(error, "InvalidArgument") ? JSON.stringify(error) : ""
        for (const text of [error.message, String(error), serialised]) {
          Expect.holds("the text names no id and no body", !secrets.some((secret) => text.includes(secret)), text)
        }
      }
    }
  ),

  test("spans, metrics and log lines contain no id and no body", ["2.3"], function*({ store }) {
    const told: Array<unknown> = []
    const tracer = Tracer.make({
      span: (options) => {
        const span = new Tracer.NativeSpan(options)
        told.push(span)
        return span
      }
    })
    const logger = Logger.make((options) => {
      told.push(options.message, Cause.pretty(options.cause))
    })
    const queue = yield* freshQueue(store, { quota: 1 })
    const unknown = unknownQueue(store)
    const body = "secret-body-of-a-message"
    const calls = Effect.gen(function*() {
      yield* store.createQueue({ ...queue.reader, ...queue.writer })
      yield* store.write(queue.writer, message("secret-message", { body: bytes(body) }))
      yield* store.writeMany([
        queue.item("secret-message"),
        queue.item("secret-marker"),
        unknown.item("secret-message")
      ])
      yield* Effect.exit(unknown.write("secret-message"))
      yield* queue.state
      yield* queue.acknowledge("secret-message")
      yield* queue.acknowledgeThrough("secret-marker")
      yield* queue.deleteExpired(5_000)
      yield* queue.delete
      yield* Effect.exit(Effect.all(byRecipient(store, queue.recipientId), { mode: "result" }))
    })
    yield* calls.pipe(
      Effect.withSpan("calls"),
      Effect.withTracer(tracer),
      Effect.provide(Logger.layer([logger])),
      Effect.provideService(References.MinimumLogLevel, "All")
    )
    const metrics = yield* Metric.snapshot
    Expect.holds("at least the span around the calls was seen", told.length > 0)
    const secrets = [
      ...[queue, unknown].flatMap((named): Array<string> => [named.recipientId, named.senderId]),
      ...["secret-message", "secret-marker"].flatMap((name) => [name, String(id(name))]),
      body
    ]
    for (const [where, value] of [["spans and log lines", told], ["metrics", metrics]] as const) {
      for (const secret of secrets) {
        Expect.holds(`${where} are free of ids and bodies`, !mentions(value, secret), secret)
      }
    }
  }),

  test("drawn ids of a queue are never those of another", ["1", "2.2"], function*({ store }) {
    const records = yield* Effect.all(names(50).map(() => store.createQueue()), { concurrency: 8 })
    const ids = records.flatMap((record): Array<string> => [record.recipientId, record.senderId])
    Expect.same("different ids of 50 queues", new Set(ids).size, 100)
    Expect.same(
      "heads",
      yield* Effect.all(records.map((record) => store.peek(record.recipientId))),
      records.map(() => Option.none())
    )
  })
])

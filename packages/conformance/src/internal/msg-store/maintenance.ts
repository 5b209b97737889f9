/**
 * The operations over all queues of a store. What they count is about everything that is stored, so each case has a store
 * of its own.
 */
import { Deferred, Effect, Fiber, Result } from "effect"
import * as TestClock from "effect/testing/TestClock"
import type { Maintenance } from "restante"
import { RecipientId, SenderId } from "restante"
import type { Store } from "./case.ts"
import { group, test } from "./case.ts"
import * as Expect from "./expectation.ts"
import { accepted, acceptedFirst, freshQueue, message, names, onTestClock, queueUnderTest, times } from "./fixture.ts"
import { quotaExceeded, unchecked } from "./fixture.ts"

const ownStore = { emptyStorage: true } as const

/** A queue with messages of these timestamps, `M1` first. */
const aged = Effect.fnUntraced(function*(
  store: Store,
  timestamps: ReadonlyArray<number>,
  options: Parameters<typeof freshQueue>[1] = {}
) {
  const queue = yield* freshQueue(store, options)
  for (const [i, timestamp] of timestamps.entries()) yield* queue.write(`M${i + 1}`, { timestamp })
  return queue
})

/** Queues with one message of this time each. */
const manyAged = (store: Store, count: number, timestamp: number) =>
  Effect.forEach(names(count), () => aged(store, [timestamp]), { concurrency: 8 })

/** A run of `expireAll` and what it reported on the way. */
const expireReporting = Effect.fnUntraced(function*(store: Store, before: number, batchSize: number) {
  const reports: Array<Maintenance.ExpiryCounts> = []
  const counts = yield* store.expireAll({
    before,
    batchSize,
    onProgress: (report) => Effect.sync(() => reports.push(report))
  })
  return { counts, reports }
})

const counted = (visited: number, expired: number): Maintenance.ExpiryCounts => ({
  visited,
  expired,
  skipped: 0,
  failed: 0
})

const nothing: Maintenance.Stats = { queues: 0, suspended: 0, latched: 0, messages: 0, markers: 0, tombstones: 0 }

const sound = (checked: number): Maintenance.RecountReport => ({ checked, drifted: [], repaired: 0, violations: [] })

/** Ids in their order, which is not the order of their texts in base64url. */
const inOrder: ReadonlyArray<readonly [number, ...ReadonlyArray<number>]> = [
  [0],
  [0, 0],
  [0, 1],
  [65],
  [65, 0],
  [105],
  [200],
  [211],
  [248],
  [255],
  [255, 255, 255]
]

const expiry = group("F Expiry of all queues", [
  test(
    "expireAll visits each queue with something to expire once, and reports the counts so far after each batch",
    ["50", "4.11"],
    function*({ openEmpty }) {
      const store = yield* openEmpty({})
      const fresh = yield* manyAged(store, 3, 200)
      for (
        const [queues, reported] of [
          [0, []],
          [9, [9]],
          [10, [10]],
          [11, [10, 11]],
          [30, [10, 20, 30]]
        ] as const
      ) {
        const old = yield* Effect.forEach(names(queues), () => aged(store, [10, 20, 200]), { concurrency: 8 })
        const { counts, reports } = yield* expireReporting(store, 100, 10)
        Expect.same(`the counts of ${queues}`, counts, counted(queues, 2 * queues))
        Expect.same(`the reports of ${queues}`, reports, reported.map((visited) => counted(visited, 2 * visited)))
        for (const queue of old) Expect.same("left", yield* queue.labels, ["M3"])
      }
      for (const queue of fresh) Expect.same("left of a fresh queue", yield* queue.labels, ["M1"])
    },
    ownStore
  ),

  test(
    "expireAll works with one queue at a time, with batches larger than the store, and without being told a size",
    ["50", "4.11"],
    function*({ openEmpty }) {
      const store = yield* openEmpty({})
      for (const batchSize of [1, 10_000]) {
        yield* manyAged(store, 3, 10)
        const { counts, reports } = yield* expireReporting(store, 11, batchSize)
        Expect.same("the counts", counts, counted(3, 3))
        Expect.same("the number of reports", reports.length, batchSize === 1 ? 3 : 1)
      }
      yield* manyAged(store, 3, 10)
      Expect.same("at the cut-off", yield* store.expireAll({ before: 10 }), counted(0, 0))
      Expect.same("the default", yield* store.expireAll({ before: 11 }), counted(3, 3))
    },
    ownStore
  ),

  test(
    "expireAll covers queues of any status and age, latched or not, and a second run finds nothing",
    ["51", "48", "I7", "4.11"],
    function*({ openEmpty }) {
      const store = yield* openEmpty({})
      const active = yield* aged(store, [10, 20])
      const suspended = yield* aged(store, [10])
      yield* suspended.setStatus("suspended")
      const latched = yield* aged(store, [10, 20, 30], { quota: 2 })
      const used = yield* aged(store, [300, 10, 200])
      yield* used.remove("M1")
      const deleted = yield* aged(store, [10, 20])
      yield* deleted.delete
      // Nothing of these expires: no message is older, or a fresh one stands in front, or only the marker is left.
      const quiet = [
        yield* freshQueue(store),
        yield* aged(store, [200, 10]),
        yield* aged(store, [100]),
        yield* aged(store, [10], { quota: 0 })
      ]
      const before = yield* Effect.forEach(quiet, (queue) => queue.state)
      const untouched = yield* Effect.forEach([active, suspended, latched, used], (queue) => queue.record)
      Expect.same("the counts", yield* store.expireAll({ before: 100 }), counted(4, 6))
      Expect.same("of an active queue", yield* active.labels, [])
      Expect.same("of a suspended queue", yield* suspended.labels, [])
      Expect.same("of a latched queue", yield* latched.labels, ["Q(M3)"])
      Expect.same("a write to it", yield* latched.write("M4"), quotaExceeded)
      Expect.same("of a queue that was read", yield* used.labels, ["M3"])
      Expect.same(
        "the next write to an emptied queue",
        yield* active.write("M3", { timestamp: 200 }),
        acceptedFirst(3n)
      )
      Expect.same("the other queues", yield* Effect.forEach(quiet, (queue) => queue.state), before)
      for (const record of untouched) {
        const { updatedAt } = yield* store.getQueue({ recipientId: record.recipientId })
        Expect.same("the time of the last update", updatedAt, record.updatedAt)
      }
      Expect.same("again", yield* expireReporting(store, 100, 1), { counts: counted(0, 0), reports: [] })
    },
    ownStore
  ),

  test("expireAll goes by the bytes of recipient ids", ["2.1", "4.11"], function*({ openEmpty }) {
    const store = yield* openEmpty({})
    const queues = yield* Effect.forEach(inOrder, (bytes) =>
      Effect.map(
        store.createQueue({ recipientId: Result.getOrThrow(RecipientId.fromBytes(Uint8Array.from(bytes))) }),
        ({ recipientId, senderId }) => queueUnderTest(store, recipientId, senderId)
      ))
    for (const [i, queue] of queues.toReversed().entries()) yield* queue.write(`M${i}`, { timestamp: 10 })
    const order: Array<number> = []
    yield* store.expireAll({
      before: 100,
      batchSize: 1,
      // Which queue was just emptied.
      onProgress: () =>
        Effect.forEach(queues, (queue, i) =>
          Effect.map(Effect.orDie(queue.size), (size) => {
            if (size === 0 && !order.includes(i)) order.push(i)
          }), { discard: true })
    })
    Expect.same("the order", order, inOrder.map((_, i) => i))
  }, ownStore),

  test(
    "a run that is interrupted keeps the batches that it reported, and another one does the rest",
    ["4.11", "7.1"],
    function*({ openEmpty }) {
      const store = yield* openEmpty({})
      const queues = yield* manyAged(store, 10, 10)
      const atSecond = yield* Deferred.make<void>()
      const run = yield* Effect.forkChild(store.expireAll({
        before: 100,
        batchSize: 3,
        onProgress: ({ visited }) =>
          visited < 6 ? Effect.void : Effect.andThen(Deferred.succeed(atSecond, undefined), Effect.never)
      }))
      yield* Effect.raceFirst(Deferred.await(atSecond), Fiber.await(run))
      yield* Fiber.interrupt(run)
      const sizes = yield* Effect.forEach(queues, (queue) => queue.size)
      Expect.same("queues that are left", sizes.filter((size) => size > 0).length, 4)
      Expect.same("the next run", yield* store.expireAll({ before: 100 }), counted(4, 4))
    },
    ownStore
  ),

  test(
    "runs at the same time, beside writers and readers, expire each message once and leave nothing old",
    ["4.11", "6.4", "I7", "I8", "I10", "63"],
    function*({ openEmpty }) {
      const store = yield* openEmpty({ defaultQuota: 100_000 })
      const queues = yield* manyAged(store, 12, 10)
      let written = queues.length
      let acknowledged = 0
      let expired = 0
      const writing = Effect.forEach(
        names(10, "W"),
        (name, round) =>
          Effect.forEach(
            queues,
            (queue) =>
              Effect.map(queue.write(name, { timestamp: round % 2 === 0 ? 10 : 200 }), () => {
                written += 1
              })
          )
      )
      const writingTogether = Effect.forEach(names(10, "B"), (name) =>
        Effect.map(
          store.writeMany(queues.map((queue) => queue.item(name, { timestamp: 10 }))),
          (results) => {
            written += results.filter(Result.isSuccess).length
          }
        ))
      const reading = Effect.forEach(names(10), () =>
        Effect.forEach(queues, (queue) =>
          Effect.gen(function*() {
            const [head] = yield* store.peekBatch(queue.recipientId, { limit: 1 })
            if (head === undefined) return
            const removed = yield* store.acknowledge(queue.recipientId, head.id)
            if (removed._tag === "Some") acknowledged += 1
          })))
      const expiring = Effect.forEach(
        names(10),
        () =>
          Effect.map(store.expireAll({ before: 100, batchSize: 5 }), (counts) => {
            Expect.same("failed", counts.failed, 0)
            expired += counts.expired
          })
      )
      yield* Effect.all([writing, writingTogether, reading, expiring, expiring], { concurrency: "unbounded" })
      const last = yield* store.expireAll({ before: 100 })
      Expect.same("in somebody else's hands when nobody is there", last.skipped, 0)
      const left = yield* Effect.forEach(queues, (queue) => queue.entries)
      for (const [head] of left) {
        Expect.holds("no head is older than the cut-off", head === undefined || head.timestamp >= 100)
      }
      Expect.same(
        "acknowledged, expired and stored messages",
        acknowledged + expired + last.expired + left.reduce((sum, entries) => sum + entries.length, 0),
        written
      )
      Expect.same("the records", yield* store.recount({ repair: false }), sound(queues.length))
    },
    ownStore
  ),

  test("options out of bounds are refused before anything is done", ["4.11", "4.9", "4.14"], function*({ store }) {
    const queue = yield* aged(store, [200])
    for (const batchSize of [0, -1, 1.5, 10_001, Number.NaN, unchecked<number>("10")]) {
      const calls: Record<string, Effect.Effect<unknown, { readonly _tag: string }>> = {
        expireAll: store.expireAll({ before: 1_000, batchSize }),
        compactDeleted: store.compactDeleted({ before: 1_000, batchSize }),
        recount: store.recount({ batchSize })
      }
      for (const [name, call] of Object.entries(calls)) {
        const failure = yield* Expect.failsWithTag(`${name} with ${batchSize}`, call, "InvalidArgument")
        Expect.same("the field", Expect.fieldOf(failure), "batchSize")
      }
    }
    for (const before of [-1, 1.5, 2 ** 53, Number.NaN, unchecked<number>(undefined)]) {
      const calls: ReadonlyArray<Effect.Effect<unknown, { readonly _tag: string }>> = [
        store.expireAll({ before }),
        store.compactDeleted({ before })
      ]
      for (const call of calls) {
        const failure = yield* Expect.failsWithTag(`before ${before}`, call, "InvalidArgument")
        Expect.same("the field", Expect.fieldOf(failure), "before")
      }
    }
    yield* Expect.failsWithTag("no options", store.expireAll(unchecked(undefined)), "InvalidArgument")
    yield* Expect.failsWithTag("no options", store.compactDeleted(unchecked(undefined)), "InvalidArgument")
    yield* Expect.failsWithTag(
      "no function",
      store.expireAll({ before: 0, onProgress: unchecked(1) }),
      "InvalidArgument"
    )
    yield* Expect.failsWithTag("no boolean", store.recount({ repair: unchecked("no") }), "InvalidArgument")
    Expect.same("the queue", yield* queue.labels, ["M1"])
  })
])

const deletion = group("G Compaction", [
  test(
    "compactDeleted forgets what was deleted before a time, in batches, and leaves live queues alone",
    ["58", "4.9", "4.13"],
    function*({ openEmpty }) {
      const store = yield* openEmpty({})
      yield* onTestClock(function*() {
        const live = yield* freshQueue(store, { holding: names(2) })
        const empty = yield* freshQueue(store)
        const before = [yield* live.state, yield* empty.state]
        for (const at of [10, 20, 20, 20, 20, 20, 30]) {
          const queue = yield* freshQueue(store, { holding: ["M1"] })
          yield* TestClock.setTime(at)
          yield* queue.delete
        }
        const lasting = { ...nothing, queues: 2, messages: 2 }
        Expect.same("the statistics", yield* store.stats, { ...lasting, tombstones: 7 })
        Expect.same("deleted before 10", yield* store.compactDeleted({ before: 10 }), 0)
        Expect.same("deleted before 11", yield* store.compactDeleted({ before: 11 }), 1)
        Expect.same("deleted before 20", yield* store.compactDeleted({ before: 20 }), 0)
        Expect.same("deleted before 30", yield* store.compactDeleted({ before: 30, batchSize: 2 }), 5)
        Expect.same("again", yield* store.compactDeleted({ before: 30, batchSize: 2 }), 0)
        Expect.same("the statistics then", yield* store.stats, { ...lasting, tombstones: 1 })
        Expect.same("all", yield* store.compactDeleted({ before: Number.MAX_SAFE_INTEGER }), 1)
        Expect.same("the statistics at last", yield* store.stats, lasting)
        Expect.same("the live queues", [yield* live.state, yield* empty.state], before)
      })
    },
    ownStore
  ),

  test(
    "compaction frees both ids, for different queues too, and a new queue starts again at sequence 1",
    ["55", "4.9", "10.3"],
    function*({ openEmpty }) {
      const store = yield* openEmpty({})
      yield* onTestClock(function*() {
        const old = yield* freshQueue(store, { holding: names(3) })
        const pair = { recipientId: old.recipientId, senderId: old.senderId }
        yield* TestClock.setTime(50)
        yield* old.delete
        yield* Expect.failsWith("before compaction", store.createQueue(pair), {
          _tag: "QueueIdTaken",
          field: "recipientId"
        })
        Expect.same("compacted", yield* store.compactDeleted({ before: 51 }), 1)
        const gone = "the queue that was there"
        yield* Expect.failsWithTag(`${gone}, read`, old.peek, "QueueNotFound")
        yield* Expect.failsWithTag(`${gone}, written`, old.write("M9"), "QueueNotFound")
        yield* Expect.failsWithTag(`${gone}, deleted`, old.delete, "QueueNotFound")
        yield* store.createQueue(pair)
        Expect.same("the first write", yield* old.write("M1"), acceptedFirst(1n))
        Expect.same("the entries", yield* old.labels, ["M1"])

        yield* old.delete
        yield* store.compactDeleted({ before: 51 })
        const reader = queueUnderTest(store, old.recipientId, SenderId.randomUnsafe())
        const writer = queueUnderTest(store, RecipientId.randomUnsafe(), old.senderId)
        for (const { recipientId, senderId } of [reader, writer]) yield* store.createQueue({ recipientId, senderId })
        // The writer may remember where its sender id led before.
        Expect.same("a write by the old sender id", yield* writer.write("M1"), acceptedFirst(1n))
        Expect.same(
          "two at once",
          (yield* store.writeMany([writer.item("M2"), reader.item("M1")])).map(Result.getOrThrow),
          [
            accepted(2n),
            acceptedFirst(1n)
          ]
        )
        Expect.same("where they went", [yield* writer.labels, yield* reader.labels], [["M1", "M2"], ["M1"]])
      })
    },
    ownStore
  ),

  test(
    "deletion, compaction, expiry and creation of the same ids at the same time end in one of their orders",
    ["57", "4.7", "4.9", "6.4"],
    function*({ openEmpty }) {
      const store = yield* openEmpty({})
      const queues = yield* manyAged(store, 12, 10)
      const before = Number.MAX_SAFE_INTEGER
      const compacting = Effect.forEach(names(6), () => store.compactDeleted({ before, batchSize: 2 }))
      const expiring = Effect.forEach(names(6), () => store.expireAll({ before: 100, batchSize: 2 }))
      const deleting = Effect.forEach(queues, (queue) => queue.delete)
      const creating = Effect.forEach(
        queues,
        ({ recipientId, senderId }) => Effect.result(store.createQueue({ recipientId, senderId }))
      )
      const [expired, , , created, compacted, more] = yield* Effect.all(
        [expiring, expiring, deleting, creating, compacting, compacting],
        { concurrency: "unbounded" }
      )
      for (const counts of expired) Expect.same("failed", counts.failed, 0)
      for (const result of created) {
        if (Result.isFailure(result)) Expect.same("a refused creation", Expect.tagOf(result.failure), "QueueIdTaken")
      }
      const last = yield* store.compactDeleted({ before })
      Expect.same(
        "tombstones that were removed",
        [...compacted, ...more, last].reduce((sum, count) => sum + count, 0),
        queues.length
      )
      for (const { recipientId, senderId } of queues) yield* store.createQueue({ recipientId, senderId })
      const { queues: live, tombstones } = yield* store.stats
      Expect.same("live queues and tombstones", [live, tombstones], [queues.length, 0])
    },
    ownStore
  )
])

const counting = group("J Counting", [
  test("stats counts what there is, and tombstones apart", ["58", "4.13"], function*({ openEmpty }) {
    const store = yield* openEmpty({})
    Expect.same("of nothing", yield* store.stats, nothing)
    yield* freshQueue(store)
    yield* freshQueue(store, { holding: names(3) })
    yield* freshQueue(store, { status: "suspended" })
    const latched = yield* freshQueue(store, { quota: 2, holding: names(5) })
    yield* latched.setStatus("suspended")
    const marker = yield* freshQueue(store, { quota: 0, holding: ["M1"] })
    const deleted = yield* freshQueue(store, { quota: 1, holding: names(2) })
    yield* deleted.setStatus("suspended")
    yield* deleted.delete
    const all = { queues: 5, suspended: 2, latched: 2, messages: 5, markers: 2, tombstones: 1 }
    Expect.same("of all", yield* store.stats, all)
    yield* marker.remove("M1")
    yield* latched.acknowledgeThrough("M1")
    Expect.same("after removals", yield* store.stats, { ...all, latched: 1, messages: 4, markers: 1 })
    yield* latched.acknowledgeThrough("M3")
    Expect.same("after a drain", yield* store.stats, { ...all, latched: 0, messages: 3, markers: 0 })
  }, ownStore),

  test("a recount of a sound store finds nothing and changes nothing", ["80", "4.14"], function*({ openEmpty }) {
    const store = yield* openEmpty({})
    Expect.same("of nothing", yield* store.recount(), sound(0))
    const queues = [
      yield* freshQueue(store),
      yield* freshQueue(store, { holding: names(3) }),
      yield* freshQueue(store, { quota: 2, holding: names(3) }),
      yield* freshQueue(store, { quota: 0, holding: ["M1"] })
    ]
    yield* Effect.forEach(queues, (queue) => queue.setStatus("suspended"))
    const used = yield* freshQueue(store, { holding: names(4) })
    yield* used.remove("M1")
    yield* used.deleteExpired(0)
    const drained = yield* freshQueue(store, { quota: 1, holding: names(2) })
    yield* drained.acknowledgeThrough("M2")
    const deleted = yield* freshQueue(store, { holding: names(2) })
    yield* deleted.delete
    const live = [...queues, used, drained]
    const before = yield* Effect.forEach(live, (queue) => queue.state)
    Expect.same("with repair", yield* store.recount(), sound(6))
    Expect.same("without", yield* store.recount({ repair: false, batchSize: 1 }), sound(6))
    Expect.same("in batches", yield* store.recount({ batchSize: 4 }), sound(6))
    Expect.same("the queues", yield* Effect.forEach(live, (queue) => queue.state), before)
  }, ownStore),

  test(
    "a recount beside writers and readers finds nothing",
    ["80", "4.14", "6.4"],
    function*({ openEmpty }) {
      const store = yield* openEmpty({ defaultQuota: 3 })
      const queues = yield* Effect.forEach(times(6, () => 0), () => freshQueue(store))
      const using = Effect.forEach(names(20), (name) =>
        Effect.forEach(queues, (queue) =>
          Effect.gen(function*() {
            yield* store.writeMany([{ target: queue.writer, message: message(name) }, queue.item(`${name}-again`)])
            const [head] = yield* queue.entries
            if (head !== undefined) yield* store.acknowledgeAndPeek(queue.recipientId, head.id)
          })))
      const recounting = Effect.forEach(times(5, () => 0), () => store.recount({ batchSize: 2 }))
      const [, reports] = yield* Effect.all([using, recounting, using], { concurrency: "unbounded" })
      for (const report of reports) {
        Expect.same("the report", report, sound(6))
      }
    },
    ownStore
  )
])

export const maintenance = [...expiry, ...deletion, ...counting]

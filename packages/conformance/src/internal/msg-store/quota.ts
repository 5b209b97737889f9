import { Arbitrary, Effect, Option, Schema } from "effect"
import { group, test } from "./case.ts"
import * as Expect from "./expectation.ts"
import {
  accepted,
  acceptedFirst,
  alreadyStored,
  entry,
  freshQueue,
  marker,
  names,
  type QueueUnderTest,
  quotaExceeded,
  quotaReached
} from "./fixture.ts"

const sizeAndLatch = (queue: QueueUnderTest) =>
  Effect.map(queue.record, ({ latched, size }): [size: number, latched: boolean] => [size, latched])

export const quota = group("D Quota and latch", [
  test("the message over the quota is replaced by the marker, which has its id and timestamp and nothing else of it", [
    "29",
    "77",
    "2.9"
  ], function*({ store }) {
    const queue = yield* freshQueue(store, { quota: 3 })
    Expect.same("M1", yield* queue.write("M1"), acceptedFirst(1n))
    Expect.same("after M1", yield* sizeAndLatch(queue), [1, false])
    Expect.same("M2", yield* queue.write("M2"), accepted(2n))
    Expect.same("after M2", yield* sizeAndLatch(queue), [2, false])
    Expect.same("M3", yield* queue.write("M3"), accepted(3n))
    Expect.same("after M3", yield* sizeAndLatch(queue), [3, false])
    Expect.same("M4", yield* queue.write("M4", { timestamp: 4_321, notify: true }), quotaReached)
    Expect.same("after M4", yield* sizeAndLatch(queue), [4, true])
    Expect.same("size", yield* queue.size, 4)
    Expect.same("the entries", yield* queue.entries, [
      entry("M1", 1n),
      entry("M2", 2n),
      entry("M3", 3n),
      marker("M4", 4n, 4_321)
    ])
  }),

  test("a latched queue refuses new messages and stays as it is", ["30", "I2"], function*({ store }) {
    const queue = yield* freshQueue(store, { quota: 3, holding: names(4) })
    const before = yield* queue.state
    Expect.same("M5", yield* queue.write("M5"), quotaExceeded)
    Expect.same("M6", yield* queue.write("M6"), quotaExceeded)
    Expect.same("the queue", yield* queue.state, before)
    Expect.same("size", yield* queue.size, 4)
  }),

  test(
    "a latched queue refuses writes until it has been emptied, marker included",
    ["31", "77", "I4"],
    function*({ store }) {
      const queue = yield* freshQueue(store, { quota: 3, holding: names(4) })
      for (const [i, name] of names(3).entries()) {
        yield* queue.remove(name)
        Expect.same(`after acknowledging ${name}`, yield* sizeAndLatch(queue), [3 - i, true])
        Expect.same(`a write after acknowledging ${name}`, yield* queue.write(`N${i}`), quotaExceeded)
      }
      Expect.same("acknowledge the marker", yield* queue.remove("M4"), "Q(M4)")
      Expect.same("after the marker", yield* sizeAndLatch(queue), [0, false])
      Expect.same("a write now", yield* queue.write("M5"), acceptedFirst(5n))
    }
  ),

  test("a queue of one place works through overflow and drain", ["32"], function*({ store }) {
    const queue = yield* freshQueue(store, { quota: 1 })
    Expect.same("M1", yield* queue.write("M1"), acceptedFirst(1n))
    Expect.same("M2", yield* queue.write("M2"), quotaReached)
    Expect.same("acknowledge M1", yield* queue.removeAndPeek("M1"), { acknowledged: "M1", next: "Q(M2)" })
    Expect.same("M3", yield* queue.write("M3"), quotaExceeded)
    Expect.same("acknowledge the marker", yield* queue.removeAndPeek("M2"), { acknowledged: "Q(M2)", next: "none" })
    Expect.same("M3 again", yield* queue.write("M3"), acceptedFirst(3n))
  }),

  test("with quota 0 every first message overflows", ["33"], function*({ store }) {
    const queue = yield* freshQueue(store, { quota: 0 })
    for (let round = 1n; round <= 3n; round++) {
      Expect.same("the first write", yield* queue.write("M1"), quotaReached)
      Expect.same("size and latch", yield* sizeAndLatch(queue), [1, true])
      Expect.same("the next write", yield* queue.write("M2"), quotaExceeded)
      Expect.same("acknowledge", yield* queue.acknowledge("M1"), Option.some(marker("M1", round)))
      Expect.same("size and latch when drained", yield* sizeAndLatch(queue), [0, false])
    }
  }),

  test(
    "a quota lowered under the present size removes nothing and stops the next message",
    ["34"],
    function*({ store }) {
      const queue = yield* freshQueue(store, { quota: 3, holding: ["M1", "M2"] })
      const record = yield* queue.setQuota(1)
      Expect.same("the record", [record.size, record.latched, record.quota], [2, false, 1])
      Expect.same("the next write", yield* queue.write("M3"), quotaReached)
      Expect.same("size", yield* queue.size, 3)
      Expect.same("the entries", yield* queue.labels, ["M1", "M2", "Q(M3)"])
    }
  ),

  test(
    "a quota lowered to exactly the present size stops the next message, and raised by one lets it in",
    ["34"],
    function*({ store }) {
      const queue = yield* freshQueue(store, { quota: 9, holding: ["M1", "M2"] })
      yield* queue.setQuota(3)
      Expect.same("one place left", yield* queue.write("M3"), accepted(3n))
      yield* queue.setQuota(4)
      Expect.same("raised by one", yield* queue.write("M4"), accepted(4n))
      Expect.same("none left", yield* queue.write("M5"), quotaReached)
    }
  ),

  test("a raised quota does not open a latched queue", ["35", "I3"], function*({ store }) {
    const queue = yield* freshQueue(store, { quota: 2, holding: names(3) })
    const record = yield* queue.setQuota(100)
    Expect.same("latched", record.latched, true)
    Expect.same("a write", yield* queue.write("M4"), quotaExceeded)
    yield* queue.acknowledgeThrough("M2")
    Expect.same("a write before the marker is gone", yield* queue.write("M4"), quotaExceeded)
    yield* queue.setQuota(undefined)
    Expect.same("a write without override", yield* queue.write("M4"), quotaExceeded)
    yield* queue.remove("M3")
    Expect.same("a write to the empty queue", yield* queue.write("M4"), acceptedFirst(4n))
    Expect.same("latched at the end", (yield* queue.record).latched, false)
  }),

  test("changing the status does not open a latched queue", ["35", "I3"], function*({ store }) {
    const queue = yield* freshQueue(store, { quota: 1, holding: names(2) })
    yield* queue.setStatus("suspended")
    Expect.same("latched while suspended", yield* sizeAndLatch(queue), [2, true])
    yield* queue.setStatus("active")
    Expect.same("latched when active again", yield* sizeAndLatch(queue), [2, true])
    Expect.same("a write", yield* queue.write("M3"), quotaExceeded)
  }),

  test("a queue without a quota of its own has the default of 128", ["1", "29"], function*({ store }) {
    const queue = yield* freshQueue(store)
    const outcomes = yield* store.writeMany(names(130).map((name) => queue.item(name)))
    Expect.same(
      "the last three outcomes",
      outcomes.slice(127).map((result) => result._tag === "Success" ? result.success : result),
      [
        accepted(128n),
        quotaReached,
        quotaExceeded
      ]
    )
    Expect.same("size", yield* queue.size, 129)
  }),

  test(
    "a queue whose override is taken away follows the default of the layer that writes",
    ["34", "36", "2.6"],
    function*({ open }) {
      const store = yield* open({ defaultQuota: 1 })
      const queue = yield* freshQueue(store, { quota: 5, holding: ["M1"] })
      Expect.same("with the override", yield* queue.write("M2"), accepted(2n))
      yield* queue.setQuota(undefined)
      Expect.same("with the default", yield* queue.write("M3"), quotaReached)
      const other = yield* freshQueue(store, { holding: ["M1"] })
      Expect.same("a queue that never had one", yield* other.write("M2"), quotaReached)
    }
  ),

  test("emptying an unlatched queue step by step never latches it, and the latch is not a size test", [
    "31",
    "I3",
    "I4"
  ], function*({ store }) {
    const queue = yield* freshQueue(store, { quota: 2, holding: ["M1", "M2"] })
    Expect.same("full but not over", yield* sizeAndLatch(queue), [2, false])
    yield* queue.remove("M1")
    Expect.same("a write into the free place", yield* queue.write("M3"), accepted(3n))
    Expect.same("full again", yield* sizeAndLatch(queue), [2, false])
    Expect.same("a repeated write to the full queue", yield* queue.write("M3"), alreadyStored(3n))
    Expect.same("still not over", yield* sizeAndLatch(queue), [2, false])
  }),

  test("at a constant quota a queue never holds more than one entry above it, and at most one marker, at the tail", [
    "37",
    "I2",
    "I5"
  ], function*({ store }) {
    const Step = Schema.Literals(["write", "write", "write again", "acknowledge", "expire", "through"])
    let writes = 0
    const check = Arbitrary.checkEffect(
      Arbitrary.all([
        Arbitrary.schema(Schema.Literals([0, 1, 2, 3])),
        Arbitrary.array(Arbitrary.schema(Step), { maxLength: 24 })
      ]),
      Effect.fnUntraced(function*([quota, steps]) {
        const queue = yield* freshQueue(store, { quota })
        for (const [i, step] of steps.entries()) {
          const head = Option.getOrUndefined(yield* queue.peek)
          if (step === "write") yield* queue.write(`M${i}`, { timestamp: i % 3 === 0 ? 100 : 1_000 })
          else if (step === "write again") yield* queue.write("M0")
          else if (step === "expire") yield* queue.deleteExpired(500)
          else if (step === "acknowledge" && head !== undefined) yield* store.acknowledge(queue.recipientId, head.id)
          else if (head !== undefined) yield* store.acknowledgeThrough(queue.recipientId, { sequence: head.sequence })
          writes++
          const { entries, record } = yield* queue.state
          Expect.holds(`size at most ${quota + 1}`, record.size <= quota + 1, record)
          Expect.same("size", record.size, entries.length)
          const markers = entries.flatMap((entry, at) => entry.kind === "quota" ? [at] : [])
          Expect.same("places of markers", markers, record.latched ? [entries.length - 1] : [])
        }
        return true
      }),
      { runs: 25, size: 24, seed: 37 }
    )
    Expect.same("the histories", (yield* check)._tag, "Passed")
    Expect.holds("at least 100 steps were taken", writes >= 100, writes)
  })
])

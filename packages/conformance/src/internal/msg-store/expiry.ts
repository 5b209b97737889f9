import { Effect } from "effect"
import { group, test } from "./case.ts"
import type { Store } from "./case.ts"
import * as Expect from "./expectation.ts"
import { acceptedFirst, freshQueue, quotaExceeded, quotaReached } from "./fixture.ts"

/** A queue with messages of these timestamps, `M1` first. */
const aged = Effect.fnUntraced(function*(store: Store, timestamps: ReadonlyArray<number>, quota = 128) {
  const queue = yield* freshQueue(store, { quota })
  for (const [i, timestamp] of timestamps.entries()) yield* queue.write(`M${i + 1}`, { timestamp })
  return queue
})

export const expiry = group("F Expiry", [
  test("expiry removes old messages from the front and counts them", ["46"], function*({ store }) {
    const queue = yield* aged(store, [10, 20, 200])
    Expect.same("removed", yield* queue.deleteExpired(100), 2)
    Expect.same("left", yield* queue.labels, ["M3"])
    Expect.same(
      "the record",
      yield* Effect.map(queue.record, ({ firstSequence, nextSequence, size }) => [size, firstSequence, nextSequence]),
      [1, 3n, 4n]
    )
    Expect.same("size", yield* queue.size, 1)
  }),

  test("a message exactly at the cut-off is fresh", ["46", "4.10"], function*({ store }) {
    const queue = yield* aged(store, [99, 100])
    Expect.same("before 100", yield* queue.deleteExpired(100), 1)
    Expect.same("left", yield* queue.labels, ["M2"])
    Expect.same("before 101", yield* queue.deleteExpired(101), 1)
    Expect.same("size", yield* queue.size, 0)
  }),

  test("the cut-off is compared to the millisecond, from 0 to 2^53-1", ["46", "2.5"], function*({ store }) {
    const queue = yield* aged(store, [0, 1_999, 2_000, Number.MAX_SAFE_INTEGER])
    Expect.same("before 0", yield* queue.deleteExpired(0), 0)
    Expect.same("before 1", yield* queue.deleteExpired(1), 1)
    Expect.same("before 1,999", yield* queue.deleteExpired(1_999), 0)
    Expect.same("before 2,000", yield* queue.deleteExpired(2_000), 1)
    Expect.same("before 2^53-1", yield* queue.deleteExpired(Number.MAX_SAFE_INTEGER), 1)
    Expect.same("left", yield* queue.labels, ["M4"])
  }),

  test("expiry stops at the first fresh message", ["47"], function*({ store }) {
    const fresh = yield* aged(store, [200, 1, 200])
    const before = yield* fresh.state
    Expect.same("[200, 1, 200]", yield* fresh.deleteExpired(100), 0)
    Expect.same("the queue", yield* fresh.state, before)
    const old = yield* aged(store, [1, 200, 1])
    Expect.same("[1, 200, 1]", yield* old.deleteExpired(100), 1)
    Expect.same("left", yield* old.labels, ["M2", "M3"])
  }),

  test(
    "expiry never removes the marker, so the queue stays latched until it is acknowledged",
    ["48", "4.10"],
    function*({ store }) {
      const queue = yield* aged(store, [10, 20, 30], 2)
      Expect.same("removed", yield* queue.deleteExpired(100), 2)
      Expect.same("left", yield* queue.labels, ["Q(M3)"])
      Expect.same("latched", (yield* queue.record).latched, true)
      Expect.same("a write", yield* queue.write("M4"), quotaExceeded)
      for (const before of [0, 30, 31, Number.MAX_SAFE_INTEGER]) {
        Expect.same(`the marker alone, before ${before}`, yield* queue.deleteExpired(before), 0)
      }
      Expect.same("size", yield* queue.size, 1)
      Expect.same("acknowledge the marker", yield* queue.remove("M3"), "Q(M3)")
      Expect.same("a write now", yield* queue.write("M4"), acceptedFirst(4n))
    }
  ),

  test("expiry of a latched queue stops at a fresh message in front of the marker", ["48", "47"], function*({ store }) {
    const queue = yield* aged(store, [10, 200, 10], 2)
    Expect.same("removed", yield* queue.deleteExpired(100), 1)
    Expect.same("left", yield* queue.labels, ["M2", "Q(M3)"])
    Expect.same("a write", yield* queue.write("M4"), quotaExceeded)
    Expect.same("latched", (yield* queue.record).latched, true)
  }),

  test("a queue that expired completely is empty for its next writer", ["49"], function*({ store }) {
    const queue = yield* aged(store, [10, 20])
    Expect.same("removed", yield* queue.deleteExpired(100), 2)
    Expect.same("size", yield* queue.size, 0)
    Expect.same("again", yield* queue.deleteExpired(100), 0)
    Expect.same("the next write", yield* queue.write("M3"), acceptedFirst(3n))
  }),

  test("expiry of an empty queue removes nothing", ["49"], function*({ store }) {
    const queue = yield* freshQueue(store)
    const before = yield* queue.state
    Expect.same("removed", yield* queue.deleteExpired(Number.MAX_SAFE_INTEGER), 0)
    Expect.same("the queue", yield* queue.state, before)
  }),

  test("expired messages make room, and their ids are free again", ["49", "39", "I9"], function*({ store }) {
    const queue = yield* aged(store, [10, 20], 2)
    yield* queue.deleteExpired(15)
    Expect.same("a write into the free place", yield* queue.write("M1", { timestamp: 500 }), {
      _tag: "Accepted",
      wasEmpty: false,
      sequence: 3n
    })
    Expect.same("the next overflows", yield* queue.write("M9"), quotaReached)
    Expect.same("the entries", yield* queue.labels, ["M2", "M1", "Q(M9)"])
  })
])

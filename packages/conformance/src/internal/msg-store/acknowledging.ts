import { Option } from "effect"
import { group, test } from "./case.ts"
import * as Expect from "./expectation.ts"
import {
  acceptedFirst,
  entry,
  freshQueue,
  id,
  marker,
  names,
  quotaReached,
  unchecked,
  unknownQueue
} from "./fixture.ts"

export const acknowledging = group("C Acknowledging", [
  test("acknowledging the head gives it once", ["21", "I9"], function*({ store }) {
    const queue = yield* freshQueue(store, { holding: ["M1"] })
    Expect.same("the first time", yield* queue.acknowledge("M1"), Option.some(entry("M1", 1n)))
    Expect.same("again", yield* queue.acknowledge("M1"), Option.none())
    Expect.same("size", yield* queue.size, 0)
  }),

  test("a message that is not the head cannot be acknowledged by itself", ["22"], function*({ store }) {
    const queue = yield* freshQueue(store, { quota: 3, holding: names(4) })
    const before = yield* queue.state
    for (const name of ["M2", "M3", "M4", "unknown"]) {
      Expect.same(`acknowledge ${name}`, yield* queue.acknowledge(name), Option.none())
      Expect.same(`the queue after ${name}`, yield* queue.state, before)
    }
  }),

  test("acknowledgeAndPeek gives what was removed and the head afterwards", ["23"], function*({ store }) {
    const empty = yield* freshQueue(store)
    Expect.same("[] with M1", yield* empty.removeAndPeek("M1"), { acknowledged: "none", next: "none" })
    const one = yield* freshQueue(store, { holding: ["M1"] })
    Expect.same("[M1] with an unknown id", yield* one.removeAndPeek("M9"), { acknowledged: "none", next: "M1" })
    Expect.same("[M1] with M1", yield* one.removeAndPeek("M1"), { acknowledged: "M1", next: "none" })
    const two = yield* freshQueue(store, { holding: ["M1", "M2"] })
    Expect.same("[M1, M2] with M2", yield* two.removeAndPeek("M2"), { acknowledged: "none", next: "M1" })
    Expect.same("[M1, M2] with M1, in full", yield* store.acknowledgeAndPeek(two.recipientId, id("M1")), {
      acknowledged: Option.some(entry("M1", 1n)),
      next: Option.some(entry("M2", 2n))
    })
  }),

  test(
    "repeating acknowledgeAndPeek after a lost answer shows where the queue stands",
    ["24", "7.6"],
    function*({ store }) {
      const queue = yield* freshQueue(store, { holding: ["M1", "M2"] })
      Expect.same("the first time", yield* queue.removeAndPeek("M1"), { acknowledged: "M1", next: "M2" })
      Expect.same("again", yield* queue.removeAndPeek("M1"), { acknowledged: "none", next: "M2" })
      Expect.same("size", yield* queue.size, 1)
    }
  ),

  test("the marker is read and acknowledged like any entry", ["25"], function*({ store }) {
    const queue = yield* freshQueue(store, { quota: 1, holding: ["M1", "M2"] })
    Expect.same("acknowledge M1", yield* queue.removeAndPeek("M1"), { acknowledged: "M1", next: "Q(M2)" })
    Expect.same("acknowledge the marker", yield* store.acknowledgeAndPeek(queue.recipientId, id("M2")), {
      acknowledged: Option.some(marker("M2", 2n)),
      next: Option.none()
    })
    const other = yield* freshQueue(store, { quota: 0, holding: ["M1"] })
    Expect.same("by acknowledge", yield* other.acknowledge("M1"), Option.some(marker("M1", 1n)))
  }),

  test("acknowledging through a message removes it and all before it, once", ["26"], function*({ store }) {
    const queue = yield* freshQueue(store, { holding: names(5) })
    Expect.same("through M3", yield* queue.acknowledgeThrough("M3"), 3)
    const after = yield* queue.state
    Expect.same("the head", yield* queue.head, "M4")
    Expect.same("through M3 again", yield* queue.acknowledgeThrough("M3"), 0)
    Expect.same("through an id that never was", yield* queue.acknowledgeThrough("M9"), 0)
    Expect.same("the queue", yield* queue.state, after)
    Expect.same("the entries", yield* queue.labels, ["M4", "M5"])
  }),

  test("acknowledging through the marker counts it and opens the latch", ["27", "4.1"], function*({ store }) {
    const queue = yield* freshQueue(store, { quota: 2, holding: names(3) })
    Expect.same("through the marker", yield* queue.acknowledgeThrough("M3"), 3)
    Expect.same("size", yield* queue.size, 0)
    Expect.same("latched", (yield* queue.record).latched, false)
    Expect.same("the next write", yield* queue.write("M4"), acceptedFirst(4n))
  }),

  test(
    "acknowledging through a sequence removes what is left up to it; one not given out is refused",
    ["27", "4.2"],
    function*({ store }) {
      const queue = yield* freshQueue(store, { holding: names(5) })
      const notAssigned = { _tag: "SequenceNotAssigned", next: 6n }
      Expect.same("through 0", yield* queue.acknowledgeThrough({ sequence: 0n }), 0)
      Expect.same("through 2", yield* queue.acknowledgeThrough({ sequence: 2n }), 2)
      Expect.same("through 2 again", yield* queue.acknowledgeThrough({ sequence: 2n }), 0)
      Expect.same("through 1", yield* queue.acknowledgeThrough({ sequence: 1n }), 0)
      const before = yield* queue.state
      yield* Expect.failsWith("through 6", queue.acknowledgeThrough({ sequence: 6n }), notAssigned)
      yield* Expect.failsWith("through 2^63-1", queue.acknowledgeThrough({ sequence: 2n ** 63n - 1n }), notAssigned)
      Expect.same("the queue after the refused calls", yield* queue.state, before)
      Expect.same("through 5", yield* queue.acknowledgeThrough({ sequence: 5n }), 3)
      yield* Expect.failsWith("through 6 of the drained queue", queue.acknowledgeThrough({ sequence: 6n }), notAssigned)
      Expect.same("through 5 of the drained queue", yield* queue.acknowledgeThrough({ sequence: 5n }), 0)
      const empty = yield* freshQueue(store)
      yield* Expect.failsWith("through 1 of a new queue", empty.acknowledgeThrough({ sequence: 1n }), {
        _tag: "SequenceNotAssigned",
        next: 1n
      })
      Expect.same("through 0 of a new queue", yield* empty.acknowledgeThrough({ sequence: 0n }), 0)
    }
  ),

  test(
    "acknowledging through the sequence before the marker leaves the queue latched",
    ["27", "4.1"],
    function*({ store }) {
      const queue = yield* freshQueue(store, { quota: 2, holding: names(3) })
      Expect.same("through 2", yield* queue.acknowledgeThrough({ sequence: 2n }), 2)
      Expect.same("the entries", yield* queue.labels, ["Q(M3)"])
      Expect.same("latched", (yield* queue.record).latched, true)
      Expect.same("through the marker", yield* queue.acknowledgeThrough({ sequence: 3n }), 1)
      Expect.same("latched afterwards", (yield* queue.record).latched, false)
    }
  ),

  test("a sequence out of bounds is refused, for unknown queues too", ["27", "4.3"], function*({ store }) {
    for (const queue of [yield* freshQueue(store, { holding: ["M1"] }), unknownQueue(store)]) {
      for (
        const sequence of [-1n, 2n ** 63n, unchecked<bigint>(1), unchecked<bigint>("1"), unchecked<bigint>(undefined)]
      ) {
        yield* Expect.failsWithTag(`through ${sequence}`, queue.acknowledgeThrough({ sequence }), "InvalidArgument")
      }
    }
  }),

  test("acknowledging a message that has expired gives none, and the new head", ["28", "I9"], function*({ store }) {
    const queue = yield* freshQueue(store)
    yield* queue.write("M1", { timestamp: 10 })
    yield* queue.write("M2", { timestamp: 200 })
    Expect.same("expired", yield* queue.deleteExpired(100), 1)
    Expect.same("acknowledge M1", yield* queue.removeAndPeek("M1"), { acknowledged: "none", next: "M2" })
    Expect.same("acknowledge M1 by the short call", yield* queue.remove("M1"), "none")
    Expect.same("through M1", yield* queue.acknowledgeThrough("M1"), 0)
    Expect.same("the entries", yield* queue.labels, ["M2"])
  }),

  test(
    "an id that was acknowledged and written again is acknowledged as the new message",
    ["21", "39", "I9"],
    function*({ store }) {
      const queue = yield* freshQueue(store, { quota: 2, holding: ["M1", "M2"] })
      yield* queue.remove("M1")
      yield* queue.write("M1", { timestamp: 2_000 })
      Expect.same("M1 is not the head any more", yield* queue.remove("M1"), "none")
      Expect.same("M2 is", yield* queue.removeAndPeek("M2"), { acknowledged: "M2", next: "M1" })
      Expect.same("M1 is now", yield* queue.acknowledge("M1"), Option.some(entry("M1", 3n, { timestamp: 2_000 })))
      Expect.same("overflow by a message whose id was used before", (yield* queue.setQuota(0)).quota, 0)
      Expect.same("its write", yield* queue.write("M1"), quotaReached)
      Expect.same("its marker", yield* queue.entries, [marker("M1", 4n)])
    }
  )
])

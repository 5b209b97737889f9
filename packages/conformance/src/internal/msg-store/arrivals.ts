import { Cause, Duration, Effect, Exit, Fiber, Option, Schedule, Stream } from "effect"
import type { MsgStore } from "restante"
import { RecipientId } from "restante"
import type { Store } from "./case.ts"
import { group, test } from "./case.ts"
import * as Expect from "./expectation.ts"
import {
  acceptedFirst,
  bytes,
  deletedQueue,
  freshQueue,
  id,
  label,
  names,
  type QueueUnderTest,
  queueUnderTest,
  quotaReached,
  times,
  unchecked,
  unknownQueue
} from "./fixture.ts"

/** Longer than any poll interval that a store is tested with. A store that never wakes anybody fails, and does not hang. */
const patience = Duration.seconds(20)

/** What has to come by itself, and soon. */
const soon = <A, E, R>(what: string, effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.timeoutOrElse(effect, {
    duration: patience,
    orElse: () => Effect.sync(() => Expect.unmet(`${what}\n  expected: within ${Duration.format(patience)}`))
  })

/** Waits for the next element, once for each time it is run. */
const wakeUps = (store: Store, queue: QueueUnderTest) => Stream.toPull(store.arrivals(queue.recipientId))

/** What a reader that was put to wait is told, now that there is something. */
const woken = <A, E>(waiting: Fiber.Fiber<A, E>) => soon("a wake-up", Fiber.join(waiting))

/** Acknowledges until nothing is left, as a reader has to; answers what that was. */
const readAll = Effect.fnUntraced(function*(store: Store, { peek, recipientId }: QueueUnderTest) {
  const read: Array<string> = []
  let head = yield* peek
  while (Option.isSome(head)) {
    read.push(label(head.value))
    head = (yield* store.acknowledgeAndPeek(recipientId, head.value.id)).next
  }
  return read
})

/** Still waits after others have had many turns, and the store has answered as many calls. */
const stillWaits = Effect.fnUntraced(
  function*(what: string, fiber: Fiber.Fiber<unknown, unknown>, queue: QueueUnderTest) {
    for (let i = 0; i < 20; i++) {
      yield* queue.record
      yield* Effect.yieldNow
    }
    Expect.same(what, fiber.pollUnsafe()?._tag, undefined)
  }
)

const untilSize = (queue: QueueUnderTest, size: number) =>
  soon(
    `a size of ${size}`,
    Effect.repeat(queue.size, { until: (now) => now === size, schedule: Schedule.spaced("5 millis") })
  )

/** Hands each message to `use` in a scope of its own, and goes on whatever came of it. */
const consume = <A, E>(
  stream: Stream.Stream<MsgStore.Received, E>,
  use: (name: string) => Effect.Effect<A, unknown>
) => Stream.runForEach(stream, (received) => Effect.exit(Effect.scoped(Effect.flatMap(received, (e) => use(label(e))))))

export const arrivals = group("H Wake-ups", [
  test("arrivals says at once that a queue holds something", ["66", "4.15"], function*({ store }) {
    const queue = yield* freshQueue(store, { holding: ["M1", "M2"] })
    yield* soon("an element", Effect.flatten(wakeUps(store, queue)))
    Expect.same("what is read then", yield* queue.labels, ["M1", "M2"])
  }),

  test("arrivals of an empty queue says nothing before the first write", ["66", "4.15"], function*({ store }) {
    const queue = yield* freshQueue(store)
    const waiting = yield* Effect.forkScoped(Effect.flatten(wakeUps(store, queue)))
    yield* stillWaits("an element before the write", waiting, queue)
    Expect.same("the write", yield* queue.write("M1"), acceptedFirst(1n))
    yield* woken(waiting)
    Expect.same("what is read then", yield* queue.labels, ["M1"])
  }),

  test("arrivals and receive fail for a queue that is not there", ["66", "7", "4.2"], function*({ store }) {
    for (const queue of [unknownQueue(store), yield* deletedQueue(store)]) {
      const notFound = { _tag: "QueueNotFound", target: queue.reader }
      yield* Expect.failsWith("arrivals", soon("its end", Stream.runDrain(store.arrivals(queue.recipientId))), notFound)
      yield* Expect.failsWith("receive", soon("its end", Stream.runDrain(store.receive(queue.recipientId))), notFound)
    }
  }),

  test("arrivals and receive refuse what is no recipient id", ["66", "4.3"], function*({ store }) {
    const { recipientId } = queueUnderTest(store, unchecked<RecipientId>("not an id"), unchecked("nor this"))
    yield* Expect.failsWithTag("arrivals", Stream.runDrain(store.arrivals(recipientId)), "InvalidArgument")
    yield* Expect.failsWithTag("receive", Stream.runDrain(store.receive(recipientId)), "InvalidArgument")
  }),

  test("a marker in an empty queue wakes the reader", ["67", "4.15", "33"], function*({ store }) {
    const queue = yield* freshQueue(store, { quota: 0 })
    const next = yield* wakeUps(store, queue)
    for (const name of names(3)) {
      const waiting = yield* Effect.forkScoped(next)
      yield* stillWaits(`an element before ${name}`, waiting, queue)
      Expect.same(`the write of ${name}`, yield* queue.write(name), quotaReached)
      yield* woken(waiting)
      Expect.same("what is read then", yield* readAll(store, queue), [`Q(${name})`])
    }
  }),

  test("deleting a queue ends the streams of those who wait for it", ["67", "4.15"], function*({ store }) {
    const empty = yield* freshQueue(store)
    const read = yield* freshQueue(store, { holding: ["M1"] })
    const unread = yield* freshQueue(store, { holding: ["M1"] })
    const receiving = Stream.runDrain(store.receive(empty.recipientId))
    const streams = [
      { queue: empty, fiber: yield* Effect.forkScoped(Stream.runDrain(store.arrivals(empty.recipientId))) },
      { queue: empty, fiber: yield* Effect.forkScoped(receiving) },
      {
        queue: read,
        fiber: yield* Effect.forkScoped(Stream.runForEach(store.arrivals(read.recipientId), () => readAll(store, read)))
      },
      { queue: unread, fiber: yield* Effect.forkScoped(Stream.runDrain(store.arrivals(unread.recipientId))) }
    ]
    for (const { fiber, queue } of streams) yield* stillWaits("an end before the deletion", fiber, queue)
    for (const queue of [empty, read, unread]) yield* queue.delete
    for (const { fiber, queue } of streams) {
      yield* Expect.failsWith("the stream", soon("its end", Fiber.join(fiber)), {
        _tag: "QueueNotFound",
        target: queue.reader
      })
    }
  }),

  test("each time that a queue which was emptied holds something again is told", ["66", "4.15"], function*({ store }) {
    const queue = yield* freshQueue(store)
    const other = yield* freshQueue(store)
    const next = yield* wakeUps(store, queue)
    for (let round = 0; round < 10; round++) {
      const waiting = yield* Effect.forkScoped(next)
      yield* stillWaits("an element before the write", waiting, queue)
      if (round % 2 === 0) yield* queue.write(`M${round}`)
      else yield* store.writeMany([other.item(`M${round}`), queue.item(`M${round}`)])
      yield* woken(waiting)
      Expect.same("what is read then", yield* readAll(store, queue), [`M${round}`])
    }
  }),

  test(
    "a batch wakes the readers of all its queues, and all readers of a queue",
    ["4.15", "4.5"],
    function*({ store }) {
      const queues = yield* Effect.forEach(times(5, (i) => i), () => freshQueue(store))
      const readers = yield* Effect.forEach(
        [...queues, ...queues],
        (queue) => Effect.map(Effect.forkScoped(Effect.flatten(wakeUps(store, queue))), (fiber) => ({ queue, fiber }))
      )
      for (const { fiber, queue } of readers) yield* stillWaits("an element before the batch", fiber, queue)
      yield* store.writeMany(queues.flatMap((queue) => [queue.item("M1"), queue.item("M2")]))
      for (const { fiber } of readers) yield* woken(fiber)
    }
  ),

  test("an import wakes the readers of the queues that were empty", ["4.15", "8.5"], function*({ store }) {
    const queues = yield* Effect.forEach(times(3, (i) => i), () => freshQueue(store))
    const readers = yield* Effect.forEach(
      queues,
      (queue) => Effect.map(Effect.forkScoped(Effect.flatten(wakeUps(store, queue))), (fiber) => ({ queue, fiber }))
    )
    for (const { fiber, queue } of readers) yield* stillWaits("an element before the import", fiber, queue)
    const lines = queues.map(({ recipientId }) => `v3 ${recipientId} ${id("M1")} 1 flags=F TTE=\n`)
    yield* store.importLog(Stream.make(bytes(lines.join(""))), { format: "simplex-v3", mode: "strict" })
    for (const { fiber } of readers) yield* woken(fiber)
  }),

  test("a message that is acknowledged after its queue was created anew takes no message of the new one along", [
    "4.15",
    "4.9"
  ], function*({ openEmpty }) {
    const store = yield* openEmpty({})
    const queue = yield* freshQueue(store, { holding: names(2) })
    const pull = yield* Stream.toPull(store.receive(queue.recipientId))
    const next = Effect.flatMap(soon("a message", pull), ([received]) => received)
    yield* Effect.scoped(next)
    yield* Effect.scoped(Effect.andThen(
      next,
      Effect.gen(function*() {
        yield* queue.delete
        yield* store.compactDeleted({ before: Number.MAX_SAFE_INTEGER })
        yield* store.createQueue({ ...queue.reader, ...queue.writer })
        for (const name of names(4, "N")) yield* queue.write(name)
      })
    ))
    Expect.same("what is left", yield* queue.labels, names(4, "N"))
  }, { emptyStorage: true }),

  test("a queue that was deleted and created anew is not the one that its reader waits for", [
    "4.15",
    "4.9"
  ], function*({ openEmpty }) {
    const store = yield* openEmpty({})
    const queue = yield* freshQueue(store, { holding: names(3) })
    const next = yield* wakeUps(store, queue)
    yield* soon("an element", next)
    yield* readAll(store, queue)
    const waiting = yield* Effect.forkScoped(next)
    yield* stillWaits("an element of an empty queue", waiting, queue)
    yield* queue.delete
    yield* store.compactDeleted({ before: Number.MAX_SAFE_INTEGER })
    yield* store.createQueue({ ...queue.reader, ...queue.writer })
    yield* queue.write("M4")
    yield* Expect.failsWith("the stream", woken(waiting), { _tag: "QueueNotFound", target: queue.reader })
  }, { emptyStorage: true }),

  test(
    "a reader that reads until nothing is left misses no message of several writers",
    ["4.15", "61"],
    function*({ store }) {
      const queue = yield* freshQueue(store, { quota: 10_000 })
      const total = 8 * 25
      const read: Array<string> = []
      const reader = yield* Effect.forkScoped(
        store.arrivals(queue.recipientId).pipe(
          Stream.mapEffect(() => Effect.map(readAll(store, queue), (all) => read.push(...all))),
          Stream.takeUntil((count) => count >= total),
          Stream.runDrain
        )
      )
      yield* Effect.forEach(
        times(8, (w) => w),
        (w) => Effect.forEach(names(25, `w${w}-`), (name) => queue.write(name)),
        { concurrency: "unbounded" }
      )
      yield* soon("all messages", Fiber.join(reader))
      Expect.sameElements("what was read", read, times(8, (w) => names(25, `w${w}-`)).flat())
    }
  ),

  test(
    "receive hands over each message once and in order, and acknowledges it",
    ["4.15", "61", "I9"],
    function*({ store }) {
      const queue = yield* freshQueue(store, { quota: 1_000 })
      const all = names(1_000)
      const received: Array<string> = []
      const next = yield* Stream.toPull(store.receive(queue.recipientId))
      const reader = yield* Effect.forkScoped(
        Effect.forEach(
          all,
          () =>
            Effect.flatMap(
              soon("the next message", next),
              ([message]) => Effect.scoped(Effect.map(message, (entry) => received.push(label(entry))))
            )
        )
      )
      for (let i = 0; i < all.length; i += 50) {
        yield* store.writeMany(all.slice(i, i + 50).map((name) => queue.item(name)))
      }
      yield* Fiber.join(reader)
      Expect.same("what was received", received, all)
      Expect.same("size", yield* queue.size, 0)
    }
  ),

  test("receive waits for the first message, and hands over the marker", ["4.15", "67"], function*({ store }) {
    const queue = yield* freshQueue(store, { quota: 1 })
    const received: Array<string> = []
    const reader = yield* Effect.forkScoped(
      consume(Stream.take(store.receive(queue.recipientId), 3), (name) => Effect.sync(() => received.push(name)))
    )
    yield* stillWaits("an end before the first write", reader, queue)
    Expect.same("received before the first write", received, [])
    yield* store.writeMany([queue.item("M1"), queue.item("M2")])
    // The marker went with the rest, so the queue takes messages again.
    yield* untilSize(queue, 0)
    yield* queue.write("M3")
    yield* soon("the third", Fiber.join(reader))
    Expect.same("received", received, ["M1", "Q(M2)", "M3"])
  }),

  test("a message stays until its scope has closed successfully, and is the next one again otherwise", [
    "4.15",
    "I9"
  ], function*({ store }) {
    const queue = yield* freshQueue(store, { holding: ["M1", "M2"] })
    const ends: ReadonlyArray<Effect.Effect<void, string>> = [
      Effect.fail("no"),
      Effect.interrupt,
      Effect.die(new Error("no")),
      Effect.void,
      Effect.void
    ]
    const seen: Array<string> = []
    yield* soon(
      "all of them",
      consume(Stream.take(store.receive(queue.recipientId), ends.length), (name) => {
        const end = ends[seen.length] ?? Effect.void
        return Effect.flatMap(queue.size, (size) => {
          seen.push(`${name} of ${size}`)
          return end
        })
      })
    )
    Expect.same("received", seen, ["M1 of 2", "M1 of 2", "M1 of 2", "M1 of 2", "M2 of 1"])
    Expect.same("size", yield* queue.size, 0)
  }),

  test("an element that is run again is the same message, and is acknowledged by the run that succeeds", [
    "4.15"
  ], function*({ store }) {
    const queue = yield* freshQueue(store, { holding: names(3) })
    const seen: Array<string> = []
    yield* soon(
      "all of them",
      Stream.runForEach(Stream.take(store.receive(queue.recipientId), 3), (received) =>
        Effect.retry(
          Effect.scoped(
            Effect.flatMap(received, (entry) => seen.push(label(entry)) % 2 === 1 ? Effect.fail("no") : Effect.void)
          ),
          { times: 1 }
        ))
    )
    Expect.same("received", seen, ["M1", "M1", "M2", "M2", "M3", "M3"])
    Expect.same("size", yield* queue.size, 0)
  }),

  test(
    "buffers and concurrency downstream acknowledge nothing early, and see nothing twice",
    ["4.15"],
    function*({ store }) {
      const queue = yield* freshQueue(store, { holding: names(20) })
      const seen: Array<string> = []
      const early: Array<string> = []
      yield* soon(
        "all of them",
        store.receive(queue.recipientId).pipe(
          Stream.take(20),
          Stream.buffer({ capacity: 16 }),
          Stream.mapEffect(
            (received) =>
              Effect.scoped(Effect.gen(function*() {
                const name = label(yield* received)
                seen.push(name)
                for (let i = 0; i < 5; i++) yield* Effect.yieldNow
                if ((yield* queue.head) !== name) early.push(name)
              })),
            { concurrency: 4 }
          ),
          Stream.runDrain
        )
      )
      Expect.same("acknowledged before they were handled", early, [])
      Expect.same("handled", seen, names(20))
      Expect.same("size", yield* queue.size, 0)
    }
  ),

  test(
    "who stops receiving in the middle of a message has the others and this one left",
    ["4.15"],
    function*({ store }) {
      const queue = yield* freshQueue(store, { holding: names(3) })
      const reader = yield* Effect.forkScoped(
        Stream.runForEach(
          store.receive(queue.recipientId),
          (received) =>
            Effect.scoped(Effect.flatMap(received, (entry) => label(entry) === "M2" ? Effect.never : Effect.void))
        )
      )
      yield* untilSize(queue, 2)
      yield* Fiber.interrupt(reader)
      Expect.holds(
        "interrupted",
        Exit.match(yield* Fiber.await(reader), {
          onSuccess: () => false,
          onFailure: Cause.hasInterruptsOnly
        })
      )
      Expect.same("what is left", yield* queue.labels, ["M2", "M3"])
    }
  )
])

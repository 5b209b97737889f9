import { Deferred, Effect, Option, Result, Schema } from "effect"
import type { Message, Queue } from "restante"
import { MsgStore } from "restante"
import * as MsgStoreHistories from "../../MsgStoreHistories.ts"
import type { Store } from "./case.ts"
import { group, test } from "./case.ts"
import * as Expect from "./expectation.ts"
import {
  accepted,
  acceptedFirst,
  freshQueue,
  id,
  label,
  message,
  nameOf,
  names,
  type QueueUnderTest,
  times
} from "./fixture.ts"

/** Runs all at once, and keeps the order of the answers. */
const together = <A, E, R>(effects: Iterable<Effect.Effect<A, E, R>>) =>
  Effect.all(Array.from(effects), { concurrency: "unbounded" })

const count = (outcomes: ReadonlyArray<MsgStore.WriteOutcome>, tag: MsgStore.WriteOutcome["_tag"]) =>
  outcomes.filter((outcome) => outcome._tag === tag).length

const sequences = (outcomes: ReadonlyArray<MsgStore.WriteOutcome>) =>
  outcomes.flatMap((outcome) => outcome._tag === "Accepted" ? [outcome.sequence] : [])

const isOutcome = Schema.is(MsgStore.WriteOutcome)

/** Writes one after the other, as one writer does. */
const writer = (queue: QueueUnderTest, messages: ReadonlyArray<string>) =>
  Effect.forEach(messages, (name) => queue.write(name))

/** The names that one writer of several uses. */
const namesOf = (writer: number, count: number) => names(count, `w${writer}-`)

/**
 * Acknowledges whatever is the head until `stopped` is true and nothing is left; answers what it removed. It ends for any
 * store: the writers are bounded, and a head that it cannot remove ends it too.
 */
const drain = Effect.fnUntraced(function*(
  store: Store,
  queue: QueueUnderTest,
  stopped: Effect.Effect<boolean>
) {
  const removed: Array<Message.Entry> = []
  let head = yield* queue.peek
  for (;;) {
    if (Option.isNone(head)) {
      const last = yield* stopped
      head = yield* queue.peek
      if (Option.isNone(head)) {
        if (last) return removed
        yield* Effect.yieldNow
        continue
      }
    }
    const { acknowledged, next } = yield* store.acknowledgeAndPeek(queue.recipientId, head.value.id)
    if (Option.isNone(acknowledged)) return Expect.unmet(`the only reader could not acknowledge ${label(head.value)}`)
    removed.push(acknowledged.value)
    head = next
  }
})

export const concurrency = group("H Concurrency", [
  test(
    "writers at the same time get sequences without gaps, and each keeps its own order",
    ["59", "6.2", "2.10"],
    function*({ store }) {
      const queue = yield* freshQueue(store, { quota: 10_000 })
      const perWriter = yield* together(times(12, (w) => writer(queue, namesOf(w, 30))))
      const outcomes = perWriter.flat()
      Expect.same("accepted", count(outcomes, "Accepted"), 360)
      Expect.sameElements("sequences", sequences(outcomes), times(360, (i) => BigInt(i + 1)))
      const first = outcomes.filter((outcome) => outcome._tag === "Accepted" && outcome.wasEmpty)
      Expect.same("writes that found the queue empty", first, [acceptedFirst(1n)])
      for (const [w, own] of perWriter.entries()) {
        Expect.same(`order of writer ${w}`, sequences(own), sequences(own).toSorted((a, b) => a < b ? -1 : 1))
      }
      const entries = yield* queue.all
      for (const [w] of perWriter.entries()) {
        const own = entries.map(label).filter((name) => name.startsWith(`w${w}-`))
        Expect.same(`entries of writer ${w}`, own, namesOf(w, 30))
      }
      Expect.same("sequences as read", entries.map((entry) => entry.sequence), times(360, (i) => BigInt(i + 1)))
      Expect.same("size", yield* queue.size, 360)
    }
  ),

  test("when writers race for the last place, one gets it, one overflows, and the rest are refused", [
    "59",
    "6.2",
    "29"
  ], function*({ store }) {
    for (const quota of [0, 1, 5]) {
      const queue = yield* freshQueue(store, { quota })
      const outcomes = yield* together(names(16).map((name) => queue.write(name)))
      Expect.same(
        `accepted, overflowed and refused at quota ${quota}`,
        [count(outcomes, "Accepted"), count(outcomes, "QuotaReached"), count(outcomes, "QuotaExceeded")],
        [quota, 1, 15 - quota]
      )
      const entries = yield* queue.entries
      Expect.same(
        "kinds of entries",
        entries.map((entry) => entry.kind),
        [...times(quota, () => "message"), "quota"].slice(0, quota + 1)
      )
    }
  }),

  test(
    "of readers who acknowledge the same head one gets it, and the others see the new head",
    ["60", "I10"],
    function*({ store }) {
      const queue = yield* freshQueue(store, { holding: names(6) })
      for (const name of names(3)) {
        const answers = yield* together(times(12, () => queue.remove(name)))
        Expect.sameElements(`answers for ${name}`, answers, [name, ...times(11, () => "none")])
      }
      const answers = yield* together(times(12, () => queue.removeAndPeek("M4")))
      Expect.sameElements("answers of acknowledgeAndPeek", answers, [
        { acknowledged: "M4", next: "M5" },
        ...times(11, () => ({ acknowledged: "none", next: "M5" }))
      ])
      const counts = yield* together(times(12, () => queue.acknowledgeThrough("M6")))
      Expect.sameElements("answers of acknowledgeThrough", counts, [2, ...times(11, () => 0)])
      Expect.same("size", yield* queue.size, 0)
    }
  ),

  test("of concurrent expiries each message is counted by exactly one", ["60", "I10", "46"], function*({ store }) {
    const queue = yield* freshQueue(store, { holding: names(9) })
    const counts = yield* together(times(8, () => queue.deleteExpired(5_000)))
    Expect.same("removed together", counts.reduce((sum, n) => sum + n, 0), 9)
    Expect.same("size", yield* queue.size, 0)
  }),

  test(
    "one acknowledging reader gets every accepted message once and in order",
    ["61", "I8", "I9"],
    function*({ store }) {
      const queue = yield* freshQueue(store, { quota: 10_000 })
      const finished = yield* Deferred.make<void>()
      const writing = together(times(8, (w) => writer(queue, namesOf(w, 25))))
      const [outcomes, removed] = yield* together<
        ReadonlyArray<ReadonlyArray<MsgStore.WriteOutcome>> | Array<Message.Entry>,
        unknown,
        never
      >([
        Effect.ensuring(writing, Deferred.succeed(finished, undefined)),
        drain(store, queue, Deferred.isDone(finished))
      ])
      Expect.same("outcomes", outcomes?.flat().length, 200)
      const read = (removed ?? []).flatMap((entry) => "sequence" in entry ? [entry] : [])
      Expect.same(
        "sequences in the order of reading",
        read.map((entry) => entry.sequence),
        times(200, (i) => BigInt(i + 1))
      )
      Expect.sameElements("messages read", read.map(label), times(8, (w) => namesOf(w, 25)).flat())
      Expect.same("size", yield* queue.size, 0)
    }
  ),

  test("with a small quota, what was accepted is read once and in order, and each overflow shows as one marker", [
    "61",
    "6.2",
    "I8",
    "I11"
  ], function*({ store }) {
    const queue = yield* freshQueue(store, { quota: 3 })
    const finished = yield* Deferred.make<void>()
    const outcomes: Array<MsgStore.WriteOutcome> = []
    const writing = together(
      times(
        8,
        (w) =>
          Effect.forEach(namesOf(w, 25), (name) => Effect.map(queue.write(name), (outcome) => outcomes.push(outcome)))
      )
    )
    const removed: Array<Message.Entry> = []
    yield* together([
      Effect.ensuring(Effect.asVoid(writing), Deferred.succeed(finished, undefined)),
      Effect.map(drain(store, queue, Deferred.isDone(finished)), (entries) => {
        removed.push(...entries)
      })
    ])
    Expect.same("outcomes", outcomes.length, 200)
    const kinds = removed.map((entry) => entry.kind)
    Expect.same(
      "messages read and accepted",
      kinds.filter((kind) => kind === "message").length,
      count(outcomes, "Accepted")
    )
    Expect.same(
      "markers read and overflows",
      kinds.filter((kind) => kind === "quota").length,
      count(outcomes, "QuotaReached")
    )
    Expect.same(
      "sequences in the order of reading",
      removed.map((entry) => entry.sequence),
      times(removed.length, (i) => BigInt(i + 1))
    )
    Expect.same("size", yield* queue.size, 0)
  }),

  test("concurrent writes of one id store it once, and all learn its sequence", ["62", "4.4"], function*({ store }) {
    const queue = yield* freshQueue(store, { holding: ["M0"] })
    const outcomes = yield* together(times(16, () => queue.write("M1")))
    Expect.sameElements("outcomes", outcomes, [
      accepted(2n),
      ...times(15, () => ({ _tag: "AlreadyStored", sequence: 2n }))
    ])
    Expect.same("size", yield* queue.size, 2)
  }),

  test("every accepted message is acknowledged, expired or still stored, and only one of these", [
    "63",
    "I8",
    "I9",
    "I10"
  ], function*({ store }) {
    const queue = yield* freshQueue(store, { quota: 1_000 })
    const accepted: Array<string> = []
    const acknowledged: Array<string> = []
    let expired = 0
    const writing = times(
      6,
      (w) =>
        Effect.forEach(
          namesOf(w, 25),
          (name, i) =>
            Effect.map(queue.write(name, { timestamp: i % 2 === 0 ? 10 : 1_000 }), (outcome) => {
              if (outcome._tag === "Accepted") {
                accepted.push(name)
              }
            })
        )
    )
    const acknowledging = times(4, () =>
      Effect.gen(function*() {
        for (let i = 0; i < 20; i++) {
          const head = yield* queue.peek
          if (Option.isNone(head)) continue
          const removed = yield* store.acknowledge(queue.recipientId, head.value.id)
          if (Option.isSome(removed)) acknowledged.push(nameOf(removed.value.id))
        }
      }))
    const expiring = times(2, () =>
      Effect.gen(function*() {
        for (let i = 0; i < 15; i++) {
          // Trap: `expired += yield* ...` reads `expired` before it waits, and loses what the other fiber adds meanwhile.
          const removed = yield* queue.deleteExpired(500)
          expired += removed
        }
      }))
    yield* together<unknown, unknown, never>([...writing, ...acknowledging, ...expiring])
    const stored = (yield* queue.all).map(label)
    Expect.same("accepted", accepted.length, 150)
    Expect.same("acknowledged + expired + stored", acknowledged.length + expired + stored.length, accepted.length)
    Expect.same(
      "messages acknowledged or stored more than once",
      acknowledged.length + stored.length,
      new Set([...acknowledged, ...stored]).size
    )
    Expect.same("size", yield* queue.size, stored.length)
  }),

  // Once a call that found nothing to change answered the record as somebody else had changed it a moment later.
  test("each change of status or quota is answered with what it set, whatever others set meanwhile", [
    "64",
    "6.1"
  ], function*({ store }) {
    const queue = yield* freshQueue(store)
    const setting = (status: Queue.QueueStatus, quota: number) =>
      Effect.forEach(times(60, () => status), () =>
        Effect.gen(function*() {
          Expect.same("status", (yield* queue.setStatus(status)).status, status)
          Expect.same("quota", (yield* queue.setQuota(quota)).quota, quota)
        }))
    yield* together<unknown, unknown, never>([
      setting("active", 1),
      setting("suspended", 2),
      setting("active", 1),
      setting("suspended", 2)
    ])
  }),

  test("changes of status that race writes are all kept, and no write is lost", ["64", "6.5"], function*({ store }) {
    const queue = yield* freshQueue(store, { quota: 10_000 })
    const toggling = Effect.gen(function*() {
      for (let i = 0; i < 20; i++) {
        Expect.same("suspended", (yield* queue.setStatus("suspended")).status, "suspended")
        Expect.same("active", (yield* queue.setStatus("active")).status, "active")
      }
      yield* queue.setStatus("suspended")
    })
    const results: Array<readonly [name: string, stored: boolean]> = []
    const writing = times(
      8,
      (w) =>
        Effect.forEach(namesOf(w, 20), (name) =>
          Effect.map(Effect.result(queue.write(name)), (result) => {
            if (Result.isFailure(result)) Expect.same("why a write failed", result.failure, { _tag: "QueueSuspended" })
            results.push([name, Result.isSuccess(result)])
          }))
    )
    yield* together<unknown, unknown, never>([toggling, ...writing])
    Expect.same("answers", results.length, 160)
    Expect.sameElements("entries", yield* queue.labels, results.filter(([, stored]) => stored).map(([name]) => name))
    Expect.same("the last status", (yield* queue.record).status, "suspended")
    yield* Expect.failsWith("a write afterwards", queue.write("late"), { _tag: "QueueSuspended" })
  }),

  test(
    "changes of the quota that race writes are all kept, and a latched queue stays latched",
    ["64", "6.5", "35"],
    function*({ store }) {
      const queue = yield* freshQueue(store, { quota: 5 })
      const changing = Effect.forEach(
        times(21, (i) => i % 2 === 0 ? 50 : 5),
        (quota) =>
          Effect.map(queue.setQuota(quota), (record) => {
            Expect.same("the quota set", record.quota, quota)
          })
      )
      const [, ...outcomes] = yield* together<unknown, unknown, never>([
        changing,
        ...times(8, (w) => writer(queue, namesOf(w, 20)))
      ])
      const writes = outcomes.flat().flatMap((outcome) => isOutcome(outcome) ? [outcome] : [])
      Expect.same("answers", writes.length, 160)
      Expect.same("overflows", count(writes, "QuotaReached"), 1)
      const entries = yield* queue.entries
      Expect.same("entries and accepted writes", entries.length, count(writes, "Accepted") + 1)
      Expect.same("places of markers", entries.flatMap((entry, at) => entry.kind === "quota" ? [at] : []), [
        entries.length - 1
      ])
      const { latched, quota } = yield* queue.record
      Expect.same("the last quota, and the latch", { latched, quota }, { latched: true, quota: 50 })
    }
  ),

  test("callers that use two queues in opposite orders do not block each other", ["65", "6.4"], function*({ store }) {
    const a = yield* freshQueue(store, { quota: 10_000 })
    const b = yield* freshQueue(store, { quota: 10_000 })
    const callers = times(8, (caller) =>
      Effect.forEach(names(15, `c${caller}-`), (name) => {
        const [first, second] = caller % 2 === 0 ? [a, b] : [b, a]
        return store.writeMany([first.item(name), second.item(name), first.item(`${name}-2`)])
      }))
    const results = yield* together(callers)
    const failed = results.flat(2).filter(Result.isFailure)
    Expect.same("items that failed", failed, [])
    Expect.same("sizes together", (yield* a.size) + (yield* b.size), 8 * 15 * 3)
  }),

  test(
    "the items of a batch stand together in each queue, with nothing of other writers in between",
    ["59", "4.5"],
    function*({ store }) {
      const a = yield* freshQueue(store, { quota: 10_000 })
      const b = yield* freshQueue(store, { quota: 10_000 })
      const batches = times(
        8,
        (w) =>
          Effect.forEach(
            names(10, `w${w}-`),
            (name) =>
              store.writeMany(["x", "y", "z"].flatMap((part) => [a.item(`${name}${part}`), b.item(`${name}${part}`)]))
          )
      )
      const singles = times(4, (w) => writer(a, names(20, `s${w}-`)))
      yield* together<unknown, unknown, never>([...batches, ...singles])
      for (const [queue, size] of [[a, 320], [b, 240]] as const) {
        const labels = yield* queue.labels
        Expect.same("size", labels.length, size)
        for (const [i, name] of labels.entries()) {
          if (!name.endsWith("x")) continue
          const stem = name.slice(0, -1)
          Expect.same(`the batch ${stem}`, labels.slice(i, i + 3), [`${stem}x`, `${stem}y`, `${stem}z`])
        }
      }
    }
  ),

  test("what a batch stores becomes visible at once", ["59", "4.5", "6.1"], function*({ store }) {
    const queue = yield* freshQueue(store, { quota: 10_000 })
    const finished = yield* Deferred.make<void>()
    const writing = Effect.forEach(
      names(20),
      (name) => store.writeMany(["x", "y", "z"].map((part) => queue.item(`${name}${part}`)))
    )
    const sizes: Array<number> = []
    const watching = Effect.gen(function*() {
      for (let last = false; !last;) {
        last = yield* Deferred.isDone(finished)
        sizes.push((yield* queue.entries).length, (yield* queue.record).size)
        yield* Effect.yieldNow
      }
    })
    yield* together<unknown, unknown, never>([
      Effect.ensuring(writing, Deferred.succeed(finished, undefined)),
      watching
    ])
    Expect.same("the last size", sizes.at(-1), 60)
    Expect.same("sizes that show a part of a batch", sizes.filter((size) => size % 3 !== 0), [])
  }),

  test("queues worked on at the same time stay independent", ["10", "63", "I12"], function*({ store }) {
    const queues = yield* Effect.all(times(8, () => freshQueue(store, { quota: 4 })))
    yield* together(queues.map((queue) =>
      Effect.gen(function*() {
        for (let round = 0; round < 3; round++) {
          for (const name of names(6)) yield* queue.write(name)
          yield* queue.acknowledgeThrough("M5")
        }
        yield* queue.write("M9")
      })
    ))
    for (const queue of queues) {
      const { latched, nextSequence, size } = yield* queue.record
      Expect.same("each queue at the end", { size, latched, nextSequence }, {
        size: 1,
        latched: false,
        nextSequence: 17n
      })
    }
  }),

  test("reading while others write sees whole entries in order", ["59", "6.1", "6.3"], function*({ store }) {
    const queue = yield* freshQueue(store, { quota: 10_000 })
    const finished = yield* Deferred.make<void>()
    const writing = together(times(6, (w) => writer(queue, namesOf(w, 20))))
    const watching = Effect.gen(function*() {
      let seen = 0
      for (let last = false; !last;) {
        last = yield* Deferred.isDone(finished)
        const entries = yield* queue.entries
        Expect.same(
          "sequences of a batch read meanwhile",
          entries.map((entry) => entry.sequence),
          entries.map((_, i) => BigInt(i + 1))
        )
        Expect.holds("a later read shows no less", entries.length >= seen, [entries.length, seen])
        seen = entries.length
        yield* Effect.yieldNow
      }
      return seen
    })
    const [, seen] = yield* together<unknown, unknown, never>([
      Effect.ensuring(writing, Deferred.succeed(finished, undefined)),
      watching
    ])
    Expect.same("entries seen at the end", seen, 120)
    Expect.same("the same id written to it", yield* store.write(queue.writer, message("w0-1")), {
      _tag: "AlreadyStored",
      sequence: (yield* queue.entries).find((entry) => entry.id === id("w0-1"))?.sequence
    })
  }),

  test("calls that overlap are answered as in some order of them, each at one instant between its start and its end", [
    "6.1",
    "6.2",
    "4.5",
    "7.1",
    "59",
    "60",
    "61",
    "62",
    "63",
    "64",
    "I9",
    "I10",
    "I11",
    "I12"
  ], function*({ histories, store }) {
    const { replay, seed } = histories
    // The token of another random history.
    if (replay !== undefined && !MsgStoreHistories.isToken(replay)) return
    // Fewer than of the histories without concurrency: on a server each takes as long as many calls.
    const options = { histories: Math.ceil((histories.histories ?? 300) / 3), seed, replay }
    // The second kind is rich in batches to several queues. A token tells the kind by itself.
    for (const shape of replay === undefined ? [{ interruptions: true }, { queues: 3, workers: 8 }] : [{}]) {
      yield* Effect.catchTag(
        MsgStoreHistories.verify([store], { ...options, ...shape }),
        "HistoryRefused",
        (refused) => Effect.sync(() => Expect.unmet(refused.message))
      )
    }
  })
])

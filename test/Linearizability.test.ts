/**
 * Linearizability (rules 6.1, 6.2 and 4.5, cases 59 to 64): the checker itself, on histories of which the verdict is known;
 * and 10,000 and more recorded histories of the stores, by 2 to 16 fibers, on one and several queues, by several layers and
 * by two processes, with interruptions and with server processes that are killed. On PostgreSQL half of each sort are of calls
 * that travel together, and half of calls by themselves.
 */
import { PgClient } from "@effect/sql-pg"
import { assert, describe, it } from "@effect/vitest"
import { Linearizability, MsgStoreHistories } from "@restante/conformance"
import { PgMsgStore } from "@restante/postgres"
import { Array as Arr, Context, Effect, Layer, Metric, Option, Schedule } from "effect"
import { MsgStore } from "restante"
import * as PlayerProcess from "./fixtures/linearizability/process.ts"
import * as FaultProxy from "./fixtures/pg-session/faultProxy.ts"
import * as PostgresDatabase from "./PostgresDatabase.ts"
import * as AcknowledgesInTwoSteps from "./wrong-stores/AcknowledgesInTwoSteps.ts"
import * as BatchOneByOne from "./wrong-stores/BatchOneByOne.ts"
import * as BatchQueueByQueue from "./wrong-stores/BatchQueueByQueue.ts"
import * as CountsAfterStoring from "./wrong-stores/CountsAfterStoring.ts"
import * as DeletionInTwoSteps from "./wrong-stores/DeletionInTwoSteps.ts"
import * as WritesInTwoSteps from "./wrong-stores/WritesInTwoSteps.ts"

const url = await PostgresDatabase.open()

type Store = MsgStoreHistories.Store

// A register: the smallest thing that has histories.

type RegisterCall = { readonly write: number } | "read"
type RegisterInvocation = Linearizability.Invocation<RegisterCall, number>

const register: Linearizability.SequentialModel<number, RegisterCall, number> = {
  initial: 0,
  step: (state, call) => call === "read" ? [state, state] : [call.write, call.write],
  key: String,
  same: (expected, actual) => expected === actual
}
/** The same, and the checker is told what changes nothing. */
const observed = { ...register, observes: (call: RegisterCall) => call === "read" }

const answered = (start: number, end: number, call: RegisterCall, result: number): RegisterInvocation => ({
  call,
  start,
  end,
  outcome: { _tag: "Answered", result }
})
const wrote = (start: number, end: number, value: number) => answered(start, end, { write: value }, value)
const read = (start: number, end: number, value: number) => answered(start, end, "read", value)
const maybeWrote = (start: number, value: number, end?: number): RegisterInvocation => ({
  call: { write: value },
  start,
  end,
  outcome: { _tag: "Unknown" }
})

const verdict = (history: ReadonlyArray<RegisterInvocation>) => {
  const [plain, told] = [register, observed].map((model) => Linearizability.check(model, history)._tag)
  assert.strictEqual(told, plain)
  return plain
}

const yes = "Linearizable"
const no = "NotLinearizable"

describe("the checker", () => {
  const cases: ReadonlyArray<readonly [what: string, history: ReadonlyArray<RegisterInvocation>, expected: string]> = [
    ["takes a history without calls", [], yes],
    ["takes a read of what was written before", [wrote(1, 2, 7), read(3, 4, 7)], yes],
    ["refuses a read of what was overwritten before it started", [wrote(1, 2, 7), wrote(3, 4, 8), read(5, 6, 7)], no],
    ["refuses a read of a value that nobody wrote", [wrote(1, 2, 7), read(3, 4, 9)], no],
    ["takes either answer of a read that overlaps a write", [wrote(1, 4, 7), read(2, 3, 0)], yes],
    ["takes either answer of a read that overlaps a write, also the new one", [wrote(1, 4, 7), read(2, 3, 7)], yes],
    ["refuses a value that is seen and then not seen", [wrote(1, 8, 7), read(2, 3, 7), read(4, 5, 0)], no],
    [
      "lets overlapping calls take effect in the order of their ends",
      [wrote(1, 6, 7), wrote(2, 5, 8), read(7, 8, 7)],
      yes
    ],
    ["lets overlapping calls take effect against the order of their ends", [
      wrote(1, 6, 7),
      wrote(2, 5, 8),
      read(7, 8, 8)
    ], yes],
    ["counts calls that touch at one time as overlapping", [wrote(1, 2, 7), read(2, 3, 0)], yes],
    ["does not mind the order in which calls are listed", [read(3, 4, 7), wrote(1, 2, 7)], yes],
    ["lets a call of unknown outcome take effect", [maybeWrote(1, 7), read(2, 3, 7)], yes],
    ["lets a call of unknown outcome have no effect", [maybeWrote(1, 7), read(2, 3, 0), read(4, 5, 0)], yes],
    ["lets a call of unknown outcome take effect late", [maybeWrote(1, 7), read(2, 3, 0), read(4, 5, 7)], yes],
    ["lets a call of unknown outcome take effect once only", [
      maybeWrote(1, 7),
      read(2, 3, 7),
      wrote(4, 5, 8),
      read(6, 7, 7)
    ], no],
    ["refuses an effect of a call before its start", [read(1, 2, 7), maybeWrote(3, 7)], no],
    ["refuses an effect of an unknown outcome after the end that it has", [
      maybeWrote(1, 7, 4),
      read(5, 6, 0),
      read(7, 8, 7)
    ], no],
    ["takes an effect of an unknown outcome by the end that it has", [maybeWrote(1, 7, 4), read(5, 6, 7)], yes],
    ["lets a read that comes first not shut out an unknown outcome that has to", [
      maybeWrote(1, 7, 4),
      wrote(2, 9, 0),
      read(5, 6, 0),
      read(7, 8, 7)
    ], no],
    ["keeps an unknown outcome possible while calls that start later are placed", [
      wrote(1, 20, 0),
      maybeWrote(2, 7, 4),
      read(10, 11, 7),
      read(12, 13, 0)
    ], yes]
  ]
  for (const [what, history, expected] of cases) {
    // oxlint-disable-next-line vitest/valid-title -- the names are those of the cases
    it(what, () => {
      assert.strictEqual(verdict(history), expected)
    })
  }

  it("answers an order that explains the history", () => {
    const [first, second, third] = [wrote(1, 6, 7), wrote(2, 5, 8), read(7, 8, 7)] as const
    const found = Linearizability.check(register, [first, second, third])
    assert.deepStrictEqual(found, { _tag: "Linearizable", order: [second, first, third], visited: 3 })
  })

  it("answers how far one gets, and what the calls that were left would have had to answer", () => {
    const [first, second, third] = [wrote(1, 2, 7), wrote(3, 4, 8), read(5, 6, 7)] as const
    const found = Linearizability.check(register, [first, second, third, read(7, 8, 8)])
    assert.deepStrictEqual(found, {
      _tag: "NotLinearizable",
      longest: [first, second],
      unplaced: [{ invocation: third, expected: 8 }],
      visited: 2
    })
  })

  it("finds the shortest beginning that no order explains", () => {
    const [first, third] = [wrote(1, 2, 7), read(5, 6, 9)] as const
    const history = [first, wrote(3, 12, 8), third, read(7, 8, 8), wrote(9, 10, 1)]
    assert.deepStrictEqual(Linearizability.shortestRefused(register, history), [first, maybeWrote(3, 8), third])
  })

  it("says that it is undecided when its budget is used up, and never that it found nothing", () => {
    const many = Arr.makeBy(12, (i) => wrote(1, 100, i))
    const refused = [...many, read(101, 102, 99)]
    const found = Linearizability.check(register, refused, { budget: 1_000 })
    assert.deepStrictEqual(found, { _tag: "Undecided", visited: 1_000 })
    assert.strictEqual(Linearizability.check(register, refused)._tag, "NotLinearizable")
    assert.strictEqual(Linearizability.check(register, many, { budget: 11 })._tag, "Undecided")
    assert.strictEqual(Linearizability.check(register, many, { budget: 12 })._tag, "Linearizable")
    assert.strictEqual(Linearizability.check(register, [], { budget: 0 })._tag, "Linearizable")
  })

  it("refuses recordings that cannot be: ends before starts, and times that are none", () => {
    assert.throws(() => Linearizability.check(register, [wrote(2, 1, 7)]), RangeError)
    assert.throws(() => Linearizability.check(register, [wrote(Number.NaN, 1, 7)]), RangeError)
    assert.throws(() => Linearizability.check(register, [wrote(1, Number.NaN, 7)]), RangeError)
  })

  it("decides a long history of overlapping calls", () => {
    const history = Arr.makeBy(2_000, (i) => i % 2 === 0 ? wrote(i, i + 3, i) : read(i, i + 3, i - 1))
    assert.strictEqual(Linearizability.check(observed, history)._tag, "Linearizable")
  })

  it("agrees with trying out every order, on 20,000 small random histories", () => {
    const random = mulberry(2_026)
    const seen = { Linearizable: 0, NotLinearizable: 0 }
    for (let round = 0; round < 20_000; round++) {
      const history = Arr.makeBy(1 + random(6), (): RegisterInvocation => {
        const start = random(8)
        const end = start + random(5)
        const kind = random(5)
        if (kind === 0) return maybeWrote(start, 1 + random(2), random(2) === 0 ? undefined : end)
        return kind < 3 ? wrote(start, end, 1 + random(2)) : read(start, end, random(3))
      })
      const expected = someOrderExplains(history) ? "Linearizable" : "NotLinearizable"
      assert.strictEqual(verdict(history), expected, JSON.stringify(history))
      seen[expected]++
    }
    // Otherwise it would have compared the easy half only.
    assert.isAbove(seen.Linearizable, 4_000)
    assert.isAbove(seen.NotLinearizable, 4_000)
  })
})

/** Small random integers, the same in each run. */
const mulberry = (seed: number) => {
  let state = seed
  return (below: number): number => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) % below
  }
}

/** The definition, word by word: some order of all answered and some other calls respects time and the model. */
const someOrderExplains = (
  left: ReadonlyArray<RegisterInvocation>,
  state = register.initial,
  placed: ReadonlyArray<RegisterInvocation> = []
): boolean =>
  left.every((call) => call.outcome._tag === "Unknown") ||
  left.some((call) => {
    const [result, next] = register.step(state, call.call)
    if (call.outcome._tag === "Answered" && call.outcome.result !== result) return false
    if (placed.some((before) => call.end !== undefined && call.end < before.start)) return false
    return someOrderExplains(left.filter((other) => other !== call), next, [...placed, call])
  })

// Histories of a store by hand.

type Call = MsgStoreHistories.RecordedCall

const call = (
  worker: string,
  start: number,
  end: number,
  operation: MsgStoreHistories.Operation,
  result: string
): Call => ({ worker, start, end, call: operation, outcome: { _tag: "Answered", result } })

const messageOf = (id: string, queue = 0) => ({
  queue,
  by: "sender" as const,
  id,
  timestamp: 10,
  notify: false,
  body: id
})
const write = (id: string): MsgStoreHistories.Operation => ({ _tag: "write", ...messageOf(id) })
const peek: MsgStoreHistories.Operation = { _tag: "peek", queue: 0 }
const acknowledge = (id: string): MsgStoreHistories.Operation => ({ _tag: "acknowledge", queue: 0, id })
const size = (queue = 0): MsgStoreHistories.Operation => ({ _tag: "size", queue })
const entry = (id: string, sequence: number) => `${id} #${sequence} @10 "${id}"`
const first = "Accepted #1 into an empty queue"
const batch = (...queues: ReadonlyArray<number>): MsgStoreHistories.Operation => ({
  _tag: "writeMany",
  items: queues.map((queue, i) => messageOf(`m${i + 1}`, queue))
})

const ofQuotas = (quotas: ReadonlyArray<number>, calls: ReadonlyArray<Call>): MsgStoreHistories.History => ({
  queues: quotas.map((quota) => ({ quota, holding: 0 })),
  calls
})

const unknown = (start: number, operation: MsgStoreHistories.Operation, end?: number): Call => ({
  worker: "w9",
  start,
  call: operation,
  ...(end === undefined ? {} : { end }),
  outcome: { _tag: "Unknown", why: "OutcomeUnknown" }
})

describe("a history of a store", () => {
  const cases: ReadonlyArray<
    readonly [what: string, quotas: ReadonlyArray<number>, calls: ReadonlyArray<Call>, expected: string]
  > = [
    ["without calls is taken", [1], [], yes],
    ["with a stale read is refused", [5], [call("w1", 1, 2, write("m1"), first), call("w2", 3, 4, peek, "none")], no],
    ["with a read that overlaps the write is taken", [5], [
      call("w1", 1, 3, write("m1"), first),
      call("w2", 2, 4, peek, "none")
    ], yes],
    ["with a lost write is refused", [5], [
      call("w1", 1, 4, write("m1"), first),
      call("w2", 2, 3, write("m2"), "Accepted #2"),
      call("w1", 5, 6, size(), "1")
    ], no],
    ["with an entry that two acknowledge is refused", [5], [
      call("w1", 1, 2, write("m1"), first),
      call("w1", 3, 6, acknowledge("m1"), entry("m1", 1)),
      call("w2", 4, 5, acknowledge("m1"), entry("m1", 1))
    ], no],
    ["with an entry that one of two acknowledges is taken", [5], [
      call("w1", 1, 2, write("m1"), first),
      call("w1", 3, 6, acknowledge("m1"), "none"),
      call("w2", 4, 5, acknowledge("m1"), entry("m1", 1))
    ], yes],
    ["with writes in another order than the writer's is refused", [5], [
      call("w1", 1, 2, write("m1"), "Accepted #2"),
      call("w1", 3, 4, write("m2"), first)
    ], no],
    ["with an acknowledged entry that is read again is refused", [5], [
      call("w1", 1, 2, write("m1"), first),
      call("w2", 3, 4, acknowledge("m1"), entry("m1", 1)),
      call("w1", 5, 6, peek, entry("m1", 1))
    ], no],
    ["with two writes that found the queue empty is refused", [5], [
      call("w1", 1, 4, write("m1"), first),
      call("w2", 2, 3, write("m2"), "Accepted #2 into an empty queue")
    ], no],
    ["with a latch that opens before the queue is empty is refused", [1], [
      call("w1", 1, 2, write("m1"), first),
      call("w1", 3, 4, write("m2"), "QuotaReached"),
      call("w2", 5, 6, acknowledge("m1"), entry("m1", 1)),
      call("w1", 7, 8, write("m3"), "Accepted #3")
    ], no],
    ["with a latch that opens when the queue is empty is taken", [1], [
      call("w1", 1, 2, write("m1"), first),
      call("w1", 3, 4, write("m2"), "QuotaReached"),
      call("w2", 5, 10, { _tag: "acknowledgeThrough", queue: 0, id: "m2" }, "2"),
      call("w1", 7, 8, write("m3"), "Accepted #3 into an empty queue")
    ], yes],
    ["in which two get the last place is refused", [1], [
      call("w1", 1, 4, write("m1"), first),
      call("w2", 2, 3, write("m2"), "Accepted #2")
    ], no],
    ["with half a batch in one queue is refused", [5], [
      call("w1", 1, 6, batch(0, 0), `${first}; Accepted #2`),
      call("w2", 2, 3, size(), "1")
    ], no],
    ["with a batch that one queue shows and the other does not show afterwards is refused", [5, 5], [
      call("w1", 1, 6, batch(0, 1), `${first}; ${first}`),
      call("w2", 2, 3, size(0), "1"),
      call("w2", 4, 5, size(1), "0")
    ], no],
    ["with a batch that one queue does not show and the other shows afterwards is taken", [5, 5], [
      call("w1", 1, 6, batch(0, 1), `${first}; ${first}`),
      call("w2", 2, 3, size(0), "0"),
      call("w2", 4, 5, size(1), "1")
    ], yes],
    ["with an unknown write that was stored is taken", [5], [
      unknown(1, write("m1")),
      call("w1", 2, 3, size(), "0"),
      call("w1", 4, 5, peek, entry("m1", 1))
    ], yes],
    ["with an unknown write that was not stored is taken", [5], [
      unknown(1, write("m1")),
      call("w1", 2, 3, size(), "0"),
      call("w1", 4, 5, write("m2"), first)
    ], yes],
    ["with an unknown write that was stored twice is refused", [5], [
      unknown(1, write("m1")),
      call("w1", 2, 3, acknowledge("m1"), entry("m1", 1)),
      call("w1", 4, 5, peek, entry("m1", 2))
    ], no],
    ["with an interrupted write that is stored after its end is refused", [5], [
      unknown(1, write("m1"), 2),
      call("w1", 3, 4, size(), "0"),
      call("w1", 5, 6, size(), "1")
    ], no],
    ["with an unknown half of a batch is refused", [5, 5], [
      unknown(1, batch(0, 1)),
      call("w1", 2, 3, size(0), "1"),
      call("w1", 4, 5, size(1), "0")
    ], no],
    ["with a defect for an answer is refused", [5], [call("w1", 1, 2, size(), "failed with Error")], no]
  ]
  for (const [what, quotas, calls, expected] of cases) {
    // oxlint-disable-next-line vitest/valid-title -- the names are those of the cases
    it(what, () => {
      assert.strictEqual(MsgStoreHistories.judge(ofQuotas(quotas, calls))._tag, expected)
    })
  }

  it("with a write that was not applied, and yet is stored, is refused", () => {
    const notApplied: Call = {
      worker: "w1",
      start: 1,
      end: 2,
      call: write("m1"),
      outcome: { _tag: "NotApplied", why: "Unavailable" }
    }
    const judge = (answer: string) =>
      MsgStoreHistories.judge(ofQuotas([5], [notApplied, call("w1", 3, 4, size(), answer)]))._tag
    assert.deepStrictEqual([judge("0"), judge("1")], [yes, no])
  })

  it("is undecided, and not taken, when the budget is used up", () => {
    const calls = Arr.makeBy(8, (i) => call(`w${i}`, 1, 100, write(`m${i}`), i === 0 ? first : `Accepted #${i + 1}`))
    assert.strictEqual(MsgStoreHistories.judge(ofQuotas([9], calls), { budget: 3 })._tag, "Undecided")
  })

  it("that is refused is shown up to the first answer that no order explains", () => {
    const history = ofQuotas([5, 2], [
      call("w1", 10, 40, write("m1"), first),
      call("w2", 20, 70, write("m2"), "Accepted #2"),
      call("w1", 50, 60, peek, entry("m2", 2)),
      call("w1", 80, 90, size(), "2")
    ])
    const judgement = MsgStoreHistories.judge(history)
    assert.deepStrictEqual(judgement._tag === "NotLinearizable" ? judgement.queues : undefined, new Set([0]))
    assert.deepStrictEqual(MsgStoreHistories.explain(history, new Set([0])).split("\n"), [
      "no order explains these calls on q1 with quota 5; times are their order, calls that overlap may come in any:",
      "  1. w1     1 to 3      write q1 m1 @10 \"m1\" -> Accepted #1 into an empty queue",
      "  2. w2     2 to ...    write q1 m2 @10 \"m2\" -> under way (later Accepted #2)",
      "  3. w1     4 to 5      peek q1 -> m2 #2 @10 \"m2\"",
      "the longest order that does: 1; of the calls that could come next",
      "  3. would have to answer m1 #1 @10 \"m1\""
    ])
  })
})

// Real histories.

/** Everything that was verified in this file. */
const verified = { memory: Arr.empty<MsgStoreHistories.Report>(), postgres: Arr.empty<MsgStoreHistories.Report>() }

const sum = (reports: ReadonlyArray<MsgStoreHistories.Report>) =>
  Arr.reduce(reports, MsgStoreHistories.nothing, MsgStoreHistories.together)

const note = (kind: keyof typeof verified, what: string, report: MsgStoreHistories.Report): void => {
  verified[kind].push(report)
  console.info(`${what}: ${MsgStoreHistories.reportText(report)}`)
}

const storeOf = <E>(layer: Layer.Layer<MsgStore.MsgStore, E>) =>
  Effect.map(Layer.build(Layer.fresh(layer)), (context) => Context.get(context, MsgStore.MsgStore))

/** Histories that hardly overlap, or never meet, would prove nothing. */
const isConcurrent = (report: MsgStoreHistories.Report) => {
  assert.isAbove(report.conflicting, report.histories * 0.6, "histories with conflicts")
  assert.isAbove(report.reordered, report.histories * 0.3, "histories not in order of their starts")
}

const memory = storeOf(MsgStore.layerMemory())

describe("the store in memory", () => {
  const shapes: ReadonlyArray<readonly [what: string, options: MsgStoreHistories.VerifyOptions]> = [
    ["2 to 16 fibers on one to three queues", { histories: 4_400 }],
    ["16 fibers on one queue", { histories: 1_000, workers: 16, queues: 1 }],
    ["2 fibers on three queues", { histories: 800, workers: 2, queues: 3 }],
    ["fibers of which some are interrupted", { histories: 1_200, interruptions: true }]
  ]
  for (const [what, options] of shapes) {
    it.live(`is linearizable for ${what} (cases 59 to 64)`, () =>
      Effect.gen(function*() {
        const report = yield* MsgStoreHistories.verify([yield* memory], options)
        note("memory", `memory, ${what}`, report)
        assert.strictEqual(report.histories, options.histories)
        isConcurrent(report)
        if (options.interruptions === true) assert.isAbove(report.unknownApplied, 0)
      }).pipe(Effect.scoped), 300_000)
  }
})

/** A layer of its own for each caller, as each process has one. */
const layerOf = (poolSize: number, coalesce: boolean) => storeOf(PgMsgStore.layer({ url, poolSize, coalesce }))

/** How many batches of several calls have left from this process. */
const batches = Effect.map(
  Metric.snapshot,
  (metrics) =>
    metrics.reduce((sum, metric) =>
      metric.id === "restante_batch_calls" && metric.type === "Histogram"
        // The first bucket is that of single calls.
        ? sum + metric.state.count - (metric.state.buckets[0]?.[1] ?? 0)
        : sum, 0)
)

/** Calls have travelled together, or none has. */
const haveTravelled = <A, E, R>(histories: Effect.Effect<A, E, R>, coalesce: boolean) =>
  Effect.gen(function*() {
    const before = yield* batches
    const answer = yield* histories
    const left = (yield* batches) - before
    if (coalesce) assert.isAbove(left, 100, "batches of several calls")
    else assert.strictEqual(left, 0)
    return answer
  })

describe.each([["over lanes", true], ["each call by itself", false]] as const)(
  "the store on PostgreSQL, %s",
  (way, coalesce) => {
    it.live("is linearizable for 2 to 16 fibers over one layer (cases 59 to 64)", () =>
      Effect.gen(function*() {
        const verify = MsgStoreHistories.verify([yield* layerOf(10, coalesce)], { histories: 300, concurrency: 2 })
        const report = yield* haveTravelled(verify, coalesce)
        note("postgres", `PostgreSQL ${way}, one layer`, report)
        assert.strictEqual(report.histories, 300)
        isConcurrent(report)
      }).pipe(Effect.scoped), 300_000)

    it.live("is linearizable for 2 to 16 fibers over three layers (cases 59 to 64)", () =>
      Effect.gen(function*() {
        const layers = [yield* layerOf(6, coalesce), yield* layerOf(6, coalesce), yield* layerOf(1, coalesce)] as const
        const report = yield* MsgStoreHistories.verify(layers, { histories: 300, concurrency: 2 })
        note("postgres", `PostgreSQL ${way}, three layers`, report)
        assert.strictEqual(report.histories, 300)
        isConcurrent(report)
      }).pipe(Effect.scoped), 300_000)

    it.live("is linearizable for fibers of which some are interrupted (rule 7.1)", () =>
      Effect.gen(function*() {
        const layers = [yield* layerOf(6, coalesce), yield* layerOf(2, coalesce)] as const
        const report = yield* MsgStoreHistories.verify(layers, { histories: 200, concurrency: 2, interruptions: true })
        note("postgres", `PostgreSQL ${way}, interrupted`, report)
        assert.strictEqual(report.histories, 200)
        assert.isAbove(report.unknownApplied, 20)
        assert.isAbove(report.unknown - report.unknownApplied, 20)
        isConcurrent(report)
      }).pipe(Effect.scoped), 300_000)

    it.live("is linearizable for the fibers of two processes (cases 59 to 64)", () =>
      Effect.gen(function*() {
        const store = yield* layerOf(8, coalesce)
        const other = yield* PlayerProcess.start(url, coalesce)
        let across = 0
        const report = yield* MsgStoreHistories.verifyWith(
          (program) =>
            Effect.tap(
              MsgStoreHistories.record(store, [MsgStoreHistories.play(store, other.clock), other.play], program),
              (history) =>
                Effect.sync(() => {
                  across += Number(meetAcross(history))
                })
            ),
          { histories: 300, concurrency: 2 }
        )
        note("postgres", `PostgreSQL ${way}, two processes that met in ${across} histories`, report)
        assert.strictEqual(report.histories, 300)
        isConcurrent(report)
        assert.isAbove(across, 125, "histories in which calls of both processes met on one queue")
      }).pipe(Effect.scoped), 300_000)

    it.live("is linearizable while server processes are killed (rules 7.3 and 7.4)", () =>
      Effect.gen(function*() {
        const owner = yield* PgClient.PgClient
        // Only the sessions of these layers are killed; the queues are created by another.
        const players = [yield* layerOf(4, coalesce), yield* layerOf(4, coalesce)] as const
        const creator = yield* storeOf(
          Layer.provide(PgMsgStore.layerClient(), PgClient.layer({ url, applicationName: "creator" }))
        )
        const kill = owner`
        select pg_terminate_backend(pid) from pg_stat_activity
         where datname = current_database() and application_name = 'restante' and state = 'active'
         order by random() limit 1`
        yield* Effect.forkScoped(Effect.repeat(kill, Schedule.spaced("8 millis")))
        const report = yield* verifyFaulty(creator, players, 100)
        note("postgres", `PostgreSQL ${way}, killed`, report)
        // Changes whose answers were lost, and reads that were cut off.
        assert.isAbove(report.unknown, 20)
        assert.isAbove(report.notApplied, 10)
      }).pipe(Effect.provide(PostgresDatabase.ownerLayer(url)), Effect.scoped), 300_000)

    it.live(
      "is linearizable while connections are lost before the request and before the answer (rules 7.3 and 7.4)",
      () =>
        Effect.gen(function*() {
          const proxy = yield* FaultProxy.make(url)
          const through = storeOf(PgMsgStore.layer({ url: proxy.url, poolSize: 4, coalesce }))
          const players = [yield* through, yield* through] as const
          const cut = (fault: FaultProxy.Fault) =>
            Effect.flatMap(proxy.strike(/restante/, fault, 12), (struck) => struck.reached)
          yield* Effect.forkScoped(Effect.forever(Effect.andThen(cut("cutAfter"), cut("cutBefore"))))
          const report = yield* verifyFaulty(yield* layerOf(2, coalesce), players, 150)
          note("postgres", `PostgreSQL ${way}, cut off`, report)
          assert.isAbove(report.unknown, 25)
          // Both kinds: changes that had been made when their answer was lost, and changes that never came to be.
          assert.isAbove(report.unknownApplied, 10)
          assert.isAbove(report.unknown - report.unknownApplied, 10)
          assert.isAbove(report.notApplied, 20)
        }).pipe(Effect.scoped),
      300_000
    )
  }
)

/** Histories of players whose calls may fail, on queues that somebody else creates. */
const verifyFaulty = (creator: Store, stores: Arr.NonEmptyReadonlyArray<Store>, histories: number) =>
  Effect.tap(
    MsgStoreHistories.verifyWith((program) => {
      const clock = MsgStoreHistories.counter()
      const players = Arr.map(stores, (store) => MsgStoreHistories.play(store, clock))
      return MsgStoreHistories.record(creator, players, program)
    }, { histories, concurrency: 2 }),
    (report) => Effect.sync(() => assert.strictEqual(report.histories, histories))
  )

/** Whether calls of the first worker and the second, whom different players have, overlap on one queue. */
const meetAcross = ({ calls }: MsgStoreHistories.History): boolean =>
  calls.some((a) =>
    calls.some((b) =>
      playerOf(a) === 0 && playerOf(b) === 1 && a.start <= (b.end ?? Infinity) && b.start <= (a.end ?? Infinity) &&
      queuesOf(a).some((queue) => queuesOf(b).includes(queue))
    )
  )

/** Workers are dealt out to two players in turn; the calls before and after are nobody's. */
const playerOf = ({ worker }: Call) => /^w\d+$/.test(worker) ? Number(worker.slice(1)) % 2 : undefined

const queuesOf = ({ call }: Call) => call._tag === "writeMany" ? call.items.map(({ queue }) => queue) : [call.queue]

describe("a store that is wrong when calls meet", () => {
  const wrong = {
    AcknowledgesInTwoSteps,
    BatchOneByOne,
    BatchQueueByQueue,
    CountsAfterStoring,
    DeletionInTwoSteps,
    WritesInTwoSteps
  }
  for (const [name, { store }] of Object.entries(wrong)) {
    it.live(`is found: ${name} ${store.mistake}`, () =>
      Effect.gen(function*() {
        const layer = store.layer({})
        const options = { histories: 1_000, seed: "wrong stores", queues: 3, workers: 8 }
        const refused = yield* Effect.flip(MsgStoreHistories.verify([yield* storeOf(layer)], options))
        assert.match(refused.explanation, /^no order explains these calls on q/)
        // What a person needs to see it again: the same store, played the same way, is refused for the same calls.
        const again = yield* Effect.flip(
          MsgStoreHistories.verify([yield* storeOf(layer)], { replay: refused.replay })
        )
        assert.strictEqual(scriptIn(again.explanation), scriptIn(refused.explanation))
      }).pipe(Effect.scoped))
  }

  it.live("is found on PostgreSQL too: it looks at the head and removes it in two steps", () =>
    Effect.gen(function*() {
      const store = yield* layerOf(8, true)
      const inTwoSteps: Store = {
        ...store,
        acknowledge: (recipientId, messageId) =>
          Effect.gen(function*() {
            const head = yield* store.peek(recipientId)
            yield* store.acknowledge(recipientId, messageId)
            return Option.filter(head, (entry) => entry.id === messageId)
          })
      }
      const refused = yield* Effect.flip(MsgStoreHistories.verify([inTwoSteps], { histories: 1_000, maxShrinks: 20 }))
      assert.match(refused.explanation, /^no order explains these calls/)
    }).pipe(Effect.scoped))
})

/** The calls that an explanation shows. */
const scriptIn = (explanation: string): string => explanation.split("\n(found after")[0] ?? ""

// Answers that no store can give, put into recordings of a right one.

/** Replaces the answer of one call; undefined if it has none to replace. */
const altered = (
  history: MsgStoreHistories.History,
  alter: (call: Call, result: string) => string | undefined
): MsgStoreHistories.History | undefined => {
  let done = false
  const calls = history.calls.map((call): Call => {
    if (done || call.outcome._tag !== "Answered") return call
    const result = alter(call, call.outcome.result)
    if (result === undefined || result === call.outcome.result) return call
    done = true
    return { ...call, outcome: { _tag: "Answered", result } }
  })
  return done ? { ...history, calls } : undefined
}

const removedBy = ({ call, outcome }: Call): string | undefined =>
  call._tag === "acknowledge" && outcome._tag === "Answered" && outcome.result.includes("#")
    ? outcome.result
    : undefined

const mutations: Record<string, (history: MsgStoreHistories.History) => MsgStoreHistories.History | undefined> = {
  "a sequence that was never given out": (history) =>
    altered(
      history,
      (_, result) =>
        result.startsWith("Accepted #") && !result.includes(";") ? result.replace(/#\d+/, "#99") : undefined
    ),
  "a repeated write that names a sequence of nothing": (history) =>
    altered(
      history,
      ({ call }, result) =>
        call._tag === "write" ? result.replace(/^AlreadyStored #\d+/, "AlreadyStored #99") : undefined
    ),
  "an entry that nobody wrote": (history) =>
    altered(history, ({ call }, result) => call._tag === "peek" ? result.replace(/"[^"]*"$/, "\"nobody\"") : undefined),
  "another timestamp of an entry": (history) =>
    altered(history, ({ call }, result) => call._tag === "peek" ? result.replace(/@\d+/, "@77") : undefined),
  "a size that was never reached": (history) => altered(history, ({ call }) => call._tag === "size" ? "50" : undefined),
  "an expiry of more than there was": (history) =>
    altered(history, ({ call }) => call._tag === "deleteExpired" ? "50" : undefined),
  "an entry that two acknowledged": (history) => {
    const first = history.calls.find((call) => removedBy(call) !== undefined)
    return first === undefined ?
      undefined :
      altered(history, (call, result) =>
        call !== first && call.call._tag === "acknowledge" && result === "none" &&
          queueOf(call) === queueOf(first)
          ? removedBy(first)
          : undefined)
  },
  "an entry that is lost at the end": (history) =>
    altered(
      history,
      ({ call, worker }, result) =>
        worker === "after" && call._tag === "peekBatch" && result !== "[]"
          ? result.replace(/(, )?[^,]+\]$/, "]")
          : undefined
    ),
  "two writes of one writer against their order": (history) => {
    const writes = history.calls.filter(({ call, outcome, worker }) =>
      worker === "w1" && call._tag === "write" && outcome._tag === "Answered" &&
      outcome.result.startsWith("Accepted")
    )
    const [a] = writes
    const b = writes.find((other) => a !== undefined && other !== a && queueOf(other) === queueOf(a))
    if (a === undefined || b === undefined) return undefined
    const swapped = new Map([[a, b.outcome], [b, a.outcome]])
    return { ...history, calls: history.calls.map((call) => ({ ...call, outcome: swapped.get(call) ?? call.outcome })) }
  }
}

const queueOf = ({ call }: Call): number | undefined => call._tag === "writeMany" ? undefined : call.queue

describe("a recording of which one answer was changed", () => {
  it.live("is refused, wherever the answer is one that cannot be", () =>
    Effect.gen(function*() {
      const store = yield* memory
      const histories: Array<MsgStoreHistories.History> = []
      yield* MsgStoreHistories.verifyWith((program) =>
        Effect.tap(
          MsgStoreHistories.record(store, [MsgStoreHistories.play(store, MsgStoreHistories.counter())], program),
          (history) => Effect.sync(() => histories.push(history))
        ), { histories: 800 })
      for (const [what, mutate] of Object.entries(mutations)) {
        const changed = histories.flatMap((history) => mutate(history) ?? [])
        assert.isAbove(changed.length, 10, `recordings with ${what}`)
        for (const history of changed) {
          assert.strictEqual(MsgStoreHistories.judge(history)._tag, "NotLinearizable", what)
        }
      }
    }).pipe(Effect.scoped))
})

describe("all histories together", () => {
  it("are at least 10,000, of which at least 2,000 on PostgreSQL", () => {
    const postgres = sum(verified.postgres)
    const all = MsgStoreHistories.together(sum(verified.memory), postgres)
    console.info(`all: ${MsgStoreHistories.reportText(all)}`)
    assert.isAtLeast(all.histories, 10_000)
    assert.isAtLeast(postgres.histories, 2_000)
    assert.isAbove(all.spanning, 2_000)
    assert.strictEqual(all.workers, 16)
    assert.isAbove(2 * all.overlaps / all.calls, 1, "calls that overlap a call on its queue, on average")
  })
})

PostgresDatabase.itIsSound(url)

/**
 * Concurrent histories of a `MsgStore`: workers call it at the same time, every call is recorded with its start, its end and
 * its answer, and the exact checker of `Linearizability` decides whether the reference model explains them (rules 6.1, 6.2
 * and 4.5 of spec/msg-store.md).
 *
 * `verify` does all of it on stores in one program. Workers may also run in other processes: `play` is what each of them
 * does, `record` puts the parts together, and jobs and calls are plain data with codecs.
 */
import { Arbitrary, Array as Arr, Cause, Effect, Exit, Fiber, References, Schema } from "effect"
import { MsgStoreError, RecipientId, SenderId } from "restante"
import type { Store } from "./internal/msg-store/case.ts"
import type { Operation, Program, Shape } from "./internal/msg-store/program.ts"
import {
  holding,
  observes,
  Operation as OperationSchema,
  operationText,
  programs,
  programSize,
  QueueIds,
  queueName,
  queuesOf,
  Worker
} from "./internal/msg-store/program.ts"
import { failureText, meaningOf, sequential } from "./internal/msg-store/sequential.ts"
import * as Linearizability from "./Linearizability.ts"

export type { Operation, Program, Shape, Store }

/** Part of a program: some of its workers, and the ids of all its queues. */
export const Job = Schema.Struct({ queues: Schema.Array(QueueIds), workers: Schema.Array(Worker) })
export type Job = typeof Job.Type

/**
 * How a call ended: with an answer, which may be a failure of the contract; so that it may have taken effect (it was
 * interrupted, or `OutcomeUnknown`); or so that it did not (`Unavailable`, `Timeout`).
 */
export const Outcome = Schema.TaggedUnion({
  Answered: { result: Schema.String },
  Unknown: { why: Schema.String },
  NotApplied: { why: Schema.String }
})

/** A call as it was recorded. Without an end it may still take effect later. */
export const RecordedCall = Schema.Struct({
  worker: Schema.String,
  call: OperationSchema,
  start: Schema.Number,
  end: Schema.optionalKey(Schema.Number),
  outcome: Outcome
})
export type RecordedCall = typeof RecordedCall.Type

/** What was recorded of one program. */
export interface History {
  readonly queues: Program["queues"]
  readonly calls: ReadonlyArray<RecordedCall>
}

/** Where workers run. All players of one history take their times from one clock. */
export type Player<E = never, R = never> = (job: Job) => Effect.Effect<ReadonlyArray<RecordedCall>, E, R>

/** A clock for players in one program: it counts starts and ends, so it knows their order exactly. */
export const counter = (): () => number => {
  let count = 0
  return () => ++count
}

/** How the end of a call is recorded. */
const outcomeOf = (
  exit: Exit.Exit<{ readonly text: string }, unknown>,
  call: Operation,
  queues: ReadonlyArray<QueueIds>
): { readonly outcome: RecordedCall["outcome"]; readonly ended: boolean } => {
  if (Exit.isSuccess(exit)) return { outcome: { _tag: "Answered", result: exit.value.text }, ended: true }
  // What was sent completes before the interruption is seen (rule 7.1), so it takes effect by then or never.
  if (Cause.hasInterruptsOnly(exit.cause)) return { outcome: { _tag: "Unknown", why: "interrupted" }, ended: true }
  const failure = Cause.squash(exit.cause)
  if (failure instanceof MsgStoreError.MsgStoreError) {
    const why = failure.reason._tag
    if (why === "Unavailable" || why === "Timeout") return { outcome: { _tag: "NotApplied", why }, ended: true }
    // A read has no outcome that could be unknown (rule 7.4), so of a read this is an answer, and a wrong one.
    if (why === "OutcomeUnknown" && !observes(call)) return { outcome: { _tag: "Unknown", why }, ended: false }
    return { outcome: { _tag: "Answered", result: `MsgStoreError ${why}` }, ended: true }
  }
  return { outcome: { _tag: "Answered", result: failureText(failure, queues) }, ended: true }
}

/** Starts a call, lets others run that often, interrupts it, and answers how it ended. */
const cut = <A, E>(call: Effect.Effect<A, E>, after: number): Effect.Effect<Exit.Exit<A, E>> =>
  Effect.gen(function*() {
    const fiber = yield* Effect.forkChild(call)
    for (let i = 0; i < after; i++) yield* Effect.yieldNow
    yield* Fiber.interrupt(fiber)
    return yield* Fiber.await(fiber)
  })

/** Runs the workers of a job on one store, all at the same time, and records their calls. */
export const play = (store: Store, clock: () => number): Player => (job) => {
  const work = Effect.fnUntraced(function*({ name: worker, steps }: Worker) {
    const calls: Array<RecordedCall> = []
    let seen = "m1"
    for (const { interruptedAfter, operation, pauses } of steps) {
      for (let i = 0; i < pauses; i++) yield* Effect.yieldNow
      const call: Operation = "id" in operation && operation.id === "seen" ? { ...operation, id: seen } : operation
      const running = meaningOf(call, job.queues).onStore(store)
      const start = clock()
      const exit = yield* (interruptedAfter === undefined ? Effect.exit(running) : cut(running, interruptedAfter))
      const end = clock()
      if (Exit.isSuccess(exit)) seen = exit.value.head ?? seen
      const { ended, outcome } = outcomeOf(exit, call, job.queues)
      calls.push({ worker, call, start, ...(ended ? { end } : {}), outcome })
    }
    return calls
  })
  return Effect.map(
    Effect.forEach(
      job.workers,
      (worker) => Effect.provideService(work(worker), References.MaxOpsBeforeYield, worker.budget),
      { concurrency: "unbounded" }
    ),
    (calls) => calls.flat()
  )
}

/** One worker that is alone, and makes these calls one after another. */
const alone = (name: string, operations: ReadonlyArray<Operation>): Worker => ({
  name,
  budget: 2_048,
  steps: operations.map((operation) => ({ operation, pauses: 0 }))
})

/**
 * Creates the queues of a program, lets the first player fill them, deals the workers out to the players, who start
 * together, and lets the first player look at everything at the end. Fails only if the queues cannot be created.
 */
export const record = Effect.fnUntraced(function*<E, R>(
  store: Store,
  players: Arr.NonEmptyReadonlyArray<Player<E, R>>,
  program: Program
) {
  const queues = program.queues.map((): QueueIds => ({
    recipientId: RecipientId.randomUnsafe(),
    senderId: SenderId.randomUnsafe()
  }))
  for (const [i, { quota }] of program.queues.entries()) yield* store.createQueue({ ...queues[i], quota })
  const [first] = players
  const before = program.queues.flatMap(({ holding: count }, queue) => holding(queue, count))
  const after = program.queues.flatMap((_, queue): ReadonlyArray<Operation> => [
    { _tag: "getQueue", queue },
    { _tag: "peekBatch", queue, limit: 1_000 }
  ])
  const prepared = yield* first({ queues, workers: [alone("before", before)] })
  const played = yield* Effect.forEach(
    players,
    (play, i) => play({ queues, workers: program.workers.filter((_, w) => w % players.length === i) }),
    { concurrency: "unbounded" }
  )
  const looked = yield* first({ queues, workers: [alone("after", after)] })
  const history: History = { queues: program.queues, calls: [...prepared, ...played.flat(), ...looked] }
  return history
})

/** A call whose outcome counts: one that was not applied says nothing. */
type DecisiveCall = Linearizability.Invocation<Operation, string> & { readonly worker: string }

const decisive = (calls: ReadonlyArray<RecordedCall>): ReadonlyArray<DecisiveCall> =>
  calls.flatMap(({ outcome, ...call }) => outcome._tag === "NotApplied" ? [] : [{ ...call, outcome }])

/**
 * The queues in groups that can be judged one by one: a history is linearizable if its part on each of several independent
 * objects is (Herlihy and Wing, 1990). A batch to several queues makes one object of them, since it has one instant.
 */
const independent = (history: History): ReadonlyArray<ReadonlySet<number>> => {
  let groups: ReadonlyArray<ReadonlySet<number>> = history.queues.map((_, queue) => new Set([queue]))
  for (const { call } of history.calls) {
    const queues = queuesOf(call)
    if (queues.length < 2) continue
    const joined = groups.filter((group) => queues.some((queue) => group.has(queue)))
    groups = [...groups.filter((group) => !joined.includes(group)), new Set(joined.flatMap((group) => [...group]))]
  }
  return groups
}

/** What the checker found. `visited` is how many situations it looked at. */
export type Judgement =
  | { readonly _tag: "Linearizable"; readonly order: ReadonlyArray<DecisiveCall>; readonly visited: number }
  | { readonly _tag: "NotLinearizable"; readonly queues: ReadonlySet<number>; readonly visited: number }
  | { readonly _tag: "Undecided"; readonly visited: number }

/** The calls on some queues that count. */
const callsOn = (history: History, queues: ReadonlySet<number>): ReadonlyArray<DecisiveCall> =>
  decisive(history.calls.filter(({ call }) => queuesOf(call).some((queue) => queues.has(queue))))

/**
 * Decides whether the reference model explains a history. Of one that it does not explain, `queues` are those on which it
 * fails; `explain` says more.
 */
export const judge = (history: History, options: Linearizability.Options = {}): Judgement => {
  const model = sequential(history.queues)
  const order: Array<DecisiveCall> = []
  let visited = 0
  for (const queues of independent(history)) {
    const verdict = Linearizability.check(model, callsOn(history, queues), options)
    visited += verdict.visited
    if (verdict._tag === "Undecided") return { _tag: "Undecided", visited }
    if (verdict._tag === "NotLinearizable") return { _tag: "NotLinearizable", queues, visited }
    order.push(...verdict.order)
  }
  return { _tag: "Linearizable", order, visited }
}

/** The answer, or why there is none; and of a call that was still under way, what it answered later. */
const resultText = (call: DecisiveCall, history: History): string => {
  if (call.outcome._tag === "Answered") return call.outcome.result
  const whole = history.calls.find(({ start, worker }) => worker === call.worker && start === call.start)
  switch (whole?.outcome._tag) {
    case "Answered":
      return `under way (later ${whole.outcome.result})`
    case "Unknown":
      return `${whole.outcome.why}: may have taken effect${call.end === undefined ? " or still do so" : " by its end"}`
    default:
      return "under way"
  }
}

/**
 * Of a history that was refused on these queues, the shortest beginning that no order explains, for a person: call by call
 * in order of their starts, and how far one gets.
 */
export const explain = (
  history: History,
  queues: ReadonlySet<number>,
  options: Linearizability.Options = {}
): string => {
  const model = sequential(history.queues)
  const calls = Linearizability.shortestRefused(model, callsOn(history, queues), options)
  const verdict = Linearizability.check(model, calls, options)
  const times = [...new Set(calls.flatMap(({ end, start }) => end === undefined ? [start] : [start, end]))]
    .toSorted((a, b) => a - b)
  const ranks = new Map(times.map((time, i) => [time, i + 1]))
  const byStart = calls.toSorted((a, b) => a.start - b.start)
  const numbers = new Map(byStart.map((call, i) => [call, i + 1]))
  const described = history.queues.flatMap(({ quota }, queue) =>
    queues.has(queue) ? [`${queueName(queue)} with quota ${quota}`] : []
  )
  const lines = byStart.map((call) => {
    const { call: operation, end, start, worker } = call
    const time = `${ranks.get(start)} to ${end === undefined ? "..." : ranks.get(end)}`
    return `${`${numbers.get(call)}.`.padStart(4)} ${worker.padEnd(7)}${time.padEnd(12)}${
      operationText(operation)
    } -> ${resultText(call, history)}`
  })
  if (verdict._tag !== "NotLinearizable") return [described.join(", "), ...lines].join("\n")
  const placed = verdict.longest.map((call) => numbers.get(call)).join(", ")
  const unplaced = verdict.unplaced.map(({ expected, invocation }) =>
    `  ${numbers.get(invocation)}. would have to answer ${expected}`
  )
  return [
    `no order explains these calls on ${
      described.join(", ")
    }; times are their order, calls that overlap may come in any:`,
    ...lines,
    `the longest order that does: ${placed === "" ? "none" : placed}; of the calls that could come next`,
    ...unplaced
  ].join("\n")
}

/** How much is verified, and which programs. */
export interface VerifyOptions extends Shape {
  /** Number of histories. Default 200. */
  readonly histories?: number | undefined
  /** Makes the programs the same in each run. Absent: others in each run. */
  readonly seed?: string | number | undefined
  /**
   * The token that a failure printed: plays that program alone, as it was shrunk, whatever the other options are. A store on
   * which calls meet by chance may need many attempts, so it is played up to 100 times.
   */
  readonly replay?: string | undefined
  /** How many histories are recorded at a time. Default 1, which makes recordings of a store in memory repeatable. */
  readonly concurrency?: number | undefined
  /** How many smaller programs are tried once one has failed. Default 200. */
  readonly maxShrinks?: number | undefined
  /** How many situations the checker looks at before it gives a history up. Default 1,000,000. */
  readonly budget?: number | undefined
}

/** What was verified, so that a reader can tell whether it was worth something. */
export interface Report {
  readonly histories: number
  /** Histories in which at least two calls on one queue overlapped, one of which was not a read. */
  readonly conflicting: number
  /** Histories in which calls took effect in another order than that of their starts. */
  readonly reordered: number
  /** Histories with a batch to several queues, which were judged together. */
  readonly spanning: number
  readonly calls: number
  /** Pairs of calls on one queue that overlapped. Divided by `calls`, how many others a call meets on average. */
  readonly overlaps: number
  /** Pairs of them in which at least one is not a read. */
  readonly conflicts: number
  /** Calls of which nobody knows whether they took effect, and how many of them did in the order that was found. */
  readonly unknown: number
  readonly unknownApplied: number
  /** Calls that were not applied. */
  readonly notApplied: number
  /** The most workers that a history had. */
  readonly workers: number
  /** The most situations that the checker looked at for one history. */
  readonly visited: number
}

/** The report of no history. */
export const nothing: Report = {
  histories: 0,
  conflicting: 0,
  reordered: 0,
  spanning: 0,
  calls: 0,
  overlaps: 0,
  conflicts: 0,
  unknown: 0,
  unknownApplied: 0,
  notApplied: 0,
  workers: 0,
  visited: 0
}

/** Two reports as one. */
export const together = (a: Report, b: Report): Report => ({
  histories: a.histories + b.histories,
  conflicting: a.conflicting + b.conflicting,
  reordered: a.reordered + b.reordered,
  spanning: a.spanning + b.spanning,
  calls: a.calls + b.calls,
  overlaps: a.overlaps + b.overlaps,
  conflicts: a.conflicts + b.conflicts,
  unknown: a.unknown + b.unknown,
  unknownApplied: a.unknownApplied + b.unknownApplied,
  notApplied: a.notApplied + b.notApplied,
  workers: Math.max(a.workers, b.workers),
  visited: Math.max(a.visited, b.visited)
})

/** What one history adds to a report. */
const measure = (
  history: History,
  { order, visited }: Extract<Judgement, { readonly _tag: "Linearizable" }>
): Report => {
  const { calls } = history
  let overlaps = 0
  let conflicts = 0
  for (const [i, a] of calls.entries()) {
    for (const b of calls.slice(i + 1)) {
      if ((a.end ?? Infinity) < b.start || (b.end ?? Infinity) < a.start) continue
      if (!queuesOf(a.call).some((queue) => queuesOf(b.call).includes(queue))) continue
      overlaps++
      if (!observes(a.call) || !observes(b.call)) conflicts++
    }
  }
  // Each group of queues has an order of its own, so only calls on a common queue are compared.
  const reordered = order.some((a, i) =>
    order.slice(i + 1).some((b) =>
      b.start < a.start && (!observes(a.call) || !observes(b.call)) &&
      queuesOf(a.call).some((queue) => queuesOf(b.call).includes(queue))
    )
  )
  return {
    histories: 1,
    conflicting: Math.min(conflicts, 1),
    reordered: Number(reordered),
    spanning: Number(calls.some(({ call }) => queuesOf(call).length > 1)),
    calls: calls.length,
    overlaps,
    conflicts,
    unknown: calls.filter(({ outcome }) => outcome._tag === "Unknown").length,
    unknownApplied: order.filter(({ outcome }) => outcome._tag === "Unknown").length,
    notApplied: calls.filter(({ outcome }) => outcome._tag === "NotApplied").length,
    // Two more make the calls before and after.
    workers: new Set(calls.map(({ worker }) => worker).filter((worker) => /^w\d/.test(worker))).size,
    visited
  }
}

/** A history that the model does not explain, or that was not decided. */
export class HistoryRefused extends Schema.TaggedError<HistoryRefused>()("HistoryRefused", {
  explanation: Schema.String,
  /** Plays the program again, see `VerifyOptions`. */
  replay: Schema.optionalKey(Schema.String)
}) {
  override get message(): string {
    return this.explanation + (this.replay === undefined ? "" : `\nreplay: ${this.replay}`)
  }
}

/** Tokens of programs are told from those of other random histories. */
const tokenPrefix = "concurrent:"

/** A program is drawn again from the same shape. */
const Token = Schema.fromJsonString(Schema.Struct({
  workers: Schema.optionalKey(Schema.Int),
  queues: Schema.optionalKey(Schema.Int),
  interruptions: Schema.Boolean,
  drawn: Schema.String
}))
const encodeToken = Schema.encodeSync(Token)
const decodeToken = Schema.decodeUnknownEffect(Token)

/** Whether a replay token is for `verify`. */
export const isToken = (replay: string): boolean => replay.startsWith(tokenPrefix)

/**
 * Records many random programs and judges each history. Fails with the first one that is refused: the shortest program
 * that shrinking finds, the shortest beginning of its history, and a token that plays the program again. A history that the
 * budget leaves undecided fails too. That a program could not be recorded is a defect.
 */
export const verifyWith = Effect.fnUntraced(function*<E, R>(
  recorder: (program: Program) => Effect.Effect<History, E, R>,
  options: VerifyOptions = {}
) {
  const { budget, concurrency = 1, histories = 200, maxShrinks = 200, replay, seed } = options
  const played = replay === undefined ? undefined : yield* Effect.mapError(
    decodeToken(replay.startsWith(tokenPrefix) ? replay.slice(tokenPrefix.length) : replay),
    () => new HistoryRefused({ explanation: "the replay token is not one of a concurrent history" })
  )
  const shape = played ?? options
  let report = nothing

  const attempt = Effect.fnUntraced(function*(program: Program) {
    const history = yield* Effect.orDie(recorder(program))
    const judgement = judge(history, { budget })
    if (judgement._tag === "NotLinearizable") {
      return yield* new HistoryRefused({ explanation: explain(history, judgement.queues, { budget }) })
    }
    if (judgement._tag === "Undecided") {
      return yield* new HistoryRefused({
        explanation: `a history of ${history.calls.length} calls is undecided after ${judgement.visited} situations`
      })
    }
    report = together(report, measure(history, judgement))
    return true
  })

  const result = yield* Arbitrary.checkEffect(
    programs(shape),
    (program) => played === undefined ? attempt(program) : Effect.repeat(attempt(program), { times: 99 }),
    {
      runs: histories,
      size: programSize,
      concurrency,
      maxShrinks,
      seed,
      replay: played?.drawn
    }
  )
  switch (result._tag) {
    case "Passed":
      return report
    case "Falsified":
      return yield* new HistoryRefused({
        explanation: (result.failure._tag === "PropertyError" ? result.failure.error.explanation : "refused") +
          `\n(found after ${result.runs} histories, shrunk ${result.shrinks} times)`,
        replay: tokenPrefix + encodeToken({
          ...(shape.workers === undefined ? {} : { workers: shape.workers }),
          ...(shape.queues === undefined ? {} : { queues: shape.queues }),
          interruptions: shape.interruptions ?? false,
          drawn: result.replay
        })
      })
    case "ReplayMismatch":
      return yield* new HistoryRefused({
        explanation: `the token was played and nothing was refused: ${result.reason}`
      })
    case "Exhausted":
      return yield* new HistoryRefused({ explanation: "the programs could not be drawn" })
  }
})

/**
 * `verifyWith` on stores in this program: several layers over one storage, or one store. The workers of each program are
 * dealt out to them.
 */
export const verify = (
  stores: Arr.NonEmptyReadonlyArray<Store>,
  options: VerifyOptions = {}
): Effect.Effect<Report, HistoryRefused> =>
  verifyWith((program) => {
    const clock = counter()
    return record(stores[0], Arr.map(stores, (store) => play(store, clock)), program)
  }, options)

/** A report in one line. */
export const reportText = (report: Report): string => {
  const perCall = (count: number) => (count / Math.max(report.calls, 1)).toFixed(2)
  return `${report.histories} histories of ${report.calls} calls by up to ${report.workers} workers: ` +
    `${perCall(2 * report.overlaps)} overlapping calls per call, ${report.conflicting} with conflicts, ` +
    `${report.reordered} not in order of their starts, ${report.spanning} with batches to several queues, ` +
    `${report.unknown} unknown outcomes (${report.unknownApplied} applied), ${report.notApplied} not applied, ` +
    `at most ${report.visited} situations`
}

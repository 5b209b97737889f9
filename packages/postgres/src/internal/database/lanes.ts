/**
 * Lanes: calls that are made at the same time travel together. A call that finds its lane idle leaves at once; what
 * gathers while a lane's batch is under way is its next batch. There is no timer in it, so a single caller waits for nobody.
 *
 * The hash of its queue chooses the lane of a call. So two batches of one process never wait for each other's rows, and the
 * calls about a queue leave in the order in which they came. A batch is one statement, on whichever connection of the pool is
 * free, and answers each call for itself. If the server refuses it as a whole, which proves that nothing was applied, its
 * calls leave again one by one, and only those about the queue that was the reason have to wait.
 *
 * A call that is interrupted before its batch has left is withdrawn as if it had never been made. One that has left is
 * awaited to its end. Batches run in the context of the layer: what a caller has around its call, a transaction above all,
 * is not around the calls of others.
 */
import type { Scope } from "effect"
import { Array as Arr, Cause, Context, Duration, Effect, Exit, Metric, Option } from "effect"
import { ParentSpan } from "effect/Tracer"
import { MsgStoreError } from "restante"
import { RoutineFailure } from "./failure.ts"
import { Line, type Pending } from "./line.ts"
import * as Reason from "./reason.ts"
import type { Database } from "./routine.ts"

export interface Options {
  /** How many batches may be under way at once. */
  readonly lanes: number
  /** How long a call waits for its batch to leave before it fails with `Unavailable`. */
  readonly acquireTimeout: Duration.Duration
}

/** A sort of call that can travel with its like. */
export interface Sort<Call, Answer> {
  /** Names it in metrics and spans. */
  readonly operation: string
  readonly kind: Reason.Kind
  /** How many bytes of the caller's a call carries. */
  readonly weigh: (call: Call) => number
  /** One call by itself. */
  readonly one: (call: Call) => Effect.Effect<Answer, RoutineFailure>
  /** Many in one statement, answered in the same order. A call without an answer was not looked at, and leaves again. */
  readonly many: (calls: ReadonlyArray<Call>) => Effect.Effect<ReadonlyArray<Answer | undefined>, RoutineFailure>
}

/** Makes calls of one sort; `queue` is the id of the queue that a call is about. */
export type Coalesced<Call, Answer> = (queue: string, call: Call) => Effect.Effect<Answer, RoutineFailure>

export interface Lanes {
  readonly coalesced: <Call, Answer>(sort: Sort<Call, Answer>) => Coalesced<Call, Answer>
}

/** Calls that travel on lanes, or without lanes each by itself. */
export const coalesced = <Call, Answer>(lanes: Lanes | undefined, sort: Sort<Call, Answer>): Coalesced<Call, Answer> =>
  lanes === undefined ? (_, call) => sort.one(call) : lanes.coalesced(sort)

/** Bounds of a batch. */
const maxCalls = 256
const maxBytes = 4 * 1_024 * 1_024

/** What a lane does with the line of a sort. */
interface Desk {
  /** The number of the call that has waited longest. */
  readonly first: () => number | undefined
  /** Sends a batch. The answered function tells the callers, which is done when the connection is free for others. */
  readonly send: Effect.Effect<() => void>
  /** Notes for each queue the number of the first call about it that waits here, unless a lower one is noted. */
  readonly note: (firsts: Map<string, number>) => void
  /** Ends the calls for which this holds. */
  readonly fail: (
    predicate: (call: { readonly number: number; readonly since: number }) => boolean,
    failure: RoutineFailure
  ) => void
  /** Hands calls over to the lanes that their queues have to themselves now. */
  readonly handOver: (queues: ReadonlySet<string>) => void
}

interface Lane {
  readonly maxCalls: number
  readonly desks: Array<Desk>
  readonly onIdle: () => void
  isBusy: boolean
}

const batchCalls = Metric.histogram("restante_batch_calls", {
  description: "How many calls travelled in a batch, by operation",
  boundaries: Metric.exponentialBoundaries({ start: 1, factor: 2, count: 10 })
})
const laneWait = Metric.histogram("restante_lane_wait_milliseconds", {
  description: "How long the first call of a batch had waited when it left, by operation",
  boundaries: Metric.exponentialBoundaries({ start: 0.125, factor: 2, count: 18 })
})
const laneDepth = Metric.gauge("restante_lane_depth", {
  description: "How many calls were left waiting when the last batch left, by operation"
})

const makeLane = (maxCalls: number, onIdle: () => void): Lane => ({ maxCalls, desks: [], onIdle, isBusy: false })

/** FNV-1a over the text of an id. */
const hash = (text: string): number => {
  let hash = 0x811c_9dc5
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x0100_0193)
  return hash >>> 0
}

const unavailable = (problem: string) =>
  new RoutineFailure({ reason: new MsgStoreError.Unavailable(), cause: new Error(problem) })

const nothing = (): void => {}

/** Lanes of their own for calls that never wait for those of other lanes. Their scope closes when all calls are answered. */
export const make = Effect.fnUntraced(function*(
  database: Database,
  { acquireTimeout, lanes: count }: Options
): Effect.fn.Return<Lanes, never, Scope.Scope> {
  const run = Effect.runForkWith(database.outside(yield* Effect.context()))
  const patience = Duration.toMillis(acquireTimeout)

  let calls = 0
  let busy = 0
  let isClosed = false
  let drained = nothing

  const lanes = Arr.makeBy(count, () => makeLane(maxCalls, nothing))
  /** Lanes of single queues, from when a batch with calls about them was refused until none of those is left. */
  const apart = new Map<string, Lane>()

  const laneOf = (queue: string): Lane => apart.get(queue) ?? Arr.getUnsafe(lanes, hash(queue) % count)

  const setApart = (queue: string): void => {
    if (!apart.has(queue)) apart.set(queue, makeLane(1, () => apart.delete(queue)))
  }

  /** Where the call is that has waited longest. */
  const eldest = (lane: Lane): Desk | undefined => {
    let eldest: Desk | undefined
    let number = Infinity
    for (const desk of lane.desks) {
      const first = desk.first()
      if (first !== undefined && first < number) {
        eldest = desk
        number = first
      }
    }
    return eldest
  }

  /** Sends batch after batch until nobody waits. */
  const serve = (lane: Lane, onIdle: () => void): Effect.Effect<void> =>
    Effect.suspend(() => {
      const last = calls
      // Who travels is decided when there is a connection: until then calls can be withdrawn, and others can join.
      return database.connected(Effect.suspend(() => eldest(lane)?.send ?? Effect.succeed(nothing))).pipe(
        Effect.catchCause((cause) => {
          const failure = Option.getOrElse(Cause.findErrorOption(cause), () => unavailable("the pool was closed"))
          // Who came during the attempt gets one of its own.
          return Effect.succeed(() => {
            for (const desk of lane.desks) desk.fail(({ number }) => number <= last, failure)
          })
        }),
        Effect.flatMap((tell) => {
          tell()
          if (eldest(lane) !== undefined) return serve(lane, onIdle)
          // Trap: not as a next effect, before which this fiber may yield to a call that finds the lane busy for ever.
          onIdle()
          return Effect.void
        })
      )
    })

  const wake = (lane: Lane): void => {
    if (lane.isBusy) return
    lane.isBusy = true
    busy++
    // In real time, as `within` is.
    const timer = setInterval(() => {
      const tooLong = performance.now() - patience
      const failure = unavailable(`no place in a batch within ${Duration.format(acquireTimeout)}`)
      for (const desk of lane.desks) desk.fail(({ since }) => since <= tooLong, failure)
    }, patience / 10)
    // Not before whoever runs now has nothing more to do: answers wake many callers, and all of them call again.
    queueMicrotask(() =>
      run(serve(lane, () => {
        clearInterval(timer)
        lane.isBusy = false
        lane.onIdle()
        busy--
        if (busy === 0) drained()
      }))
    )
  }

  yield* Effect.addFinalizer(() =>
    Effect.callback<void>((resume) => {
      isClosed = true
      drained = () => resume(Effect.void)
      if (busy === 0) drained()
    })
  )

  const coalesced = <Call, Answer>(sort: Sort<Call, Answer>): Coalesced<Call, Answer> => {
    const attributes = { operation: sort.operation }
    const measured = {
      calls: Metric.withAttributes(batchCalls, attributes),
      wait: Metric.withAttributes(laneWait, attributes),
      depth: Metric.withAttributes(laneDepth, attributes)
    }
    type Waiting = Pending<Call, Answer>
    const lines = new WeakMap<Lane, Line<Call, Answer>>()

    const end = (call: Waiting, answer: Effect.Effect<Answer, RoutineFailure>): void => {
      call.state = "ended"
      call.resume(answer)
    }

    const statement = (
      batch: ReadonlyArray<Waiting>
    ): Effect.Effect<ReadonlyArray<Answer | undefined>, RoutineFailure> => {
      const [first] = batch
      // A call by itself costs as much as without a lane.
      const statement = batch.length === 1 && first !== undefined
        ? Effect.map(sort.one(first.call), (answer) => [answer])
        : sort.many(batch.map(({ call }) => call))
      const links = batch.flatMap(({ span }) => span === undefined ? [] : [{ span, attributes: {} }])
      return links.length === 0
        ? statement
        : Effect.withSpan(statement, "restante.batch", { attributes: { ...attributes, calls: batch.length }, links })
    }

    const measure = (batch: ReadonlyArray<Waiting>, left: number): Effect.Effect<void> => {
      const now = performance.now()
      return Effect.all([
        Metric.update(measured.calls, batch.length),
        Metric.update(measured.wait, now - (batch[0]?.since ?? now)),
        Metric.update(measured.depth, left)
      ], { discard: true })
    }

    const leaveAlone = (lane: Lane, batch: ReadonlyArray<Waiting>): void => {
      const queues = new Set(batch.map(({ queue }) => queue))
      for (const queue of queues) setApart(queue)
      for (const call of batch) {
        call.state = "waiting"
        join(call)
      }
      // Calls that came later must not overtake them.
      for (const desk of lane.desks) desk.handOver(queues)
    }

    const settle = (
      lane: Lane,
      line: Line<Call, Answer>,
      batch: ReadonlyArray<Waiting>,
      exit: Exit.Exit<ReadonlyArray<Answer | undefined>, RoutineFailure>
    ): void => {
      if (Exit.isSuccess(exit)) {
        // Before anybody is told, who may call again at once.
        const again = batch.filter((_, i) => exit.value[i] === undefined)
        if (again.length > 0) line.putBack(again)
        batch.forEach((call, i) => {
          const answer = exit.value[i]
          if (answer !== undefined) end(call, Effect.succeed(answer))
        })
        return
      }
      const failure = Option.getOrUndefined(Cause.findErrorOption(exit.cause))
      if (batch.length > 1 && failure !== undefined && Reason.isRefusal(failure)) return leaveAlone(lane, batch)
      // A pool that is closed under a statement interrupts it. That is not what happened to the callers.
      const answer = Cause.hasInterruptsOnly(exit.cause)
        ? Effect.fail(new RoutineFailure({ reason: Reason.lost(sort.kind), cause: new Error("the pool was closed") }))
        : Effect.failCause(exit.cause)
      for (const call of batch) end(call, answer)
    }

    const open = (lane: Lane): Line<Call, Answer> => {
      const line = new Line<Call, Answer>()
      lines.set(lane, line)
      const desk: Desk = {
        first: () => line.first?.number,
        note: (firsts) => line.note(firsts),
        send: Effect.suspend(() => {
          // An acknowledgement must not pass a write to its queue, nor a write an acknowledgement, though they travel apart.
          const others = new Map<string, number>()
          for (const other of lane.desks) if (other !== desk) other.note(others)
          const mayLeave = ({ number, queue }: Waiting) => number < (others.get(queue) ?? Infinity)
          const batch = line.take(lane.maxCalls, maxBytes, sort.weigh, mayLeave)
          return Effect.flatMap(
            measure(batch, line.size),
            () =>
              Effect.map(
                Effect.exit(Effect.suspend(() => statement(batch))),
                (exit) => () => settle(lane, line, batch, exit)
              )
          )
        }),
        fail: (predicate, failure) => {
          for (const call of line.remove(predicate)) end(call, Effect.fail(failure))
        },
        handOver: (queues) => {
          for (const call of line.remove(({ queue }) => queues.has(queue))) join(call)
        }
      }
      lane.desks.push(desk)
      return line
    }

    const join = (call: Waiting): void => {
      const lane = laneOf(call.queue)
      const line = lines.get(lane) ?? open(lane)
      line.push(call)
      wake(lane)
    }

    return (queue, call) =>
      Effect.withFiber((fiber) =>
        database.isInTransaction(fiber.context)
          ? sort.one(call)
          : Effect.callback((resume) => {
            if (isClosed) return resume(Effect.fail(unavailable("the layer of the store was closed")))
            const pending: Waiting = {
              queue,
              call,
              span: Option.getOrUndefined(Context.getOption(fiber.context, ParentSpan)),
              number: ++calls,
              since: performance.now(),
              state: "waiting",
              resume
            }
            join(pending)
            // Trap: looked at in the registration, not before it, where a fiber may yield and miss the answer.
            return Effect.callback<void>((resume) => {
              switch (pending.state) {
                case "waiting":
                  lines.get(laneOf(queue))?.withdraw(pending)
                  return resume(Effect.void)
                case "sent":
                  pending.resume = () => resume(Effect.void)
                  return
                case "ended":
                  return resume(Effect.void)
              }
            })
          })
      )
  }
  return { coalesced }
})

/**
 * An exact checker for recorded concurrent histories: is there an order of the calls, each at one instant between its start
 * and its end, in which a sequential model gives the answers that were recorded?
 *
 * It tries orders one call after another and goes back when no call fits, as Wing and Gong do, and remembers which sets of
 * calls have led to which state, as Lowe does, so that no situation is looked at twice. The answer is exact in both
 * directions; only a budget that is used up leaves a history undecided, and then the verdict says so. It knows nothing of
 * any store: `MsgStoreHistories` uses it for `MsgStore`.
 *
 * Source: J. Wing, C. Gong, "Testing and verifying concurrent objects" (1993); G. Lowe, "Testing for linearizability" (2017)
 */

/** What the calls mean when they come one after another. Values are never changed in place. */
export interface SequentialModel<State, Call, Result> {
  readonly initial: State
  /** What a call answers in a state, and the state after it. */
  readonly step: (state: State, call: Call) => readonly [result: Result, next: State]
  /** Two states with the same key answer all further calls alike. */
  readonly key: (state: State) => string
  /** Is this the answer that the model gives? */
  readonly same: (expected: Result, actual: Result) => boolean
  /** True for calls that change nothing in any state. It saves work and changes no verdict. Absent: no call is known to. */
  readonly observes?: ((call: Call) => boolean) | undefined
}

/**
 * How a call ended: with an answer, or so that nobody knows whether it took effect. In that case it did so once, at some
 * time between its start and its end, or never.
 */
export type Outcome<Result> =
  | { readonly _tag: "Answered"; readonly result: Result }
  | { readonly _tag: "Unknown" }

/**
 * A call as it was recorded. Times may have any unit, as long as one clock gave all of them: a counter that is read at
 * each start and end, or a clock that never goes back. A call precedes another only if its end is less than the other's
 * start; calls that touch at the same time overlap.
 */
export interface Invocation<Call, Result> {
  readonly call: Call
  readonly start: number
  /** The last time at which it can have taken effect. Absent: it may still do so at any later time. */
  readonly end?: number | undefined
  readonly outcome: Outcome<Result>
}

/** There is such an order. */
export interface Linearizable<I> {
  readonly _tag: "Linearizable"
  /** One of them: every answered call, and of the others those that took effect in it. */
  readonly order: ReadonlyArray<I>
  /** How many situations were looked at. */
  readonly visited: number
}

/** There is none. */
export interface NotLinearizable<I, Result> {
  readonly _tag: "NotLinearizable"
  /** The longest order that could be explained. */
  readonly longest: ReadonlyArray<I>
  /** The calls of which one had to come next, and what each would have answered there; never what it did answer. */
  readonly unplaced: ReadonlyArray<{ readonly invocation: I; readonly expected: Result }>
  readonly visited: number
}

/** The budget was used up before an answer was found. It says nothing about the history. */
export interface Undecided {
  readonly _tag: "Undecided"
  readonly visited: number
}

export type Verdict<I, Result> = Linearizable<I> | NotLinearizable<I, Result> | Undecided

export interface Options {
  /** How many situations may be looked at before the history is given up as undecided. Default 1,000,000. */
  readonly budget?: number | undefined
}

/** A situation on the way: what was placed, the state it led to, and which calls can come next. */
interface Situation<State> {
  readonly state: State
  /** The latest start of a placed call: what ended before it can no longer be placed. */
  readonly latestStart: number
  readonly candidates: ReadonlyArray<number>
  tried: number
  /** The call that led here; -1 at the beginning. */
  readonly placed: number
}

const endOf = (invocation: Invocation<unknown, unknown>): number => invocation.end ?? Infinity

/**
 * Decides one history. The calls may come in any order.
 *
 * Throws a `RangeError` if a time is not a number or a call ends before it starts: that is a mistake of whoever recorded it.
 */
export const check = <State, Call, Result, I extends Invocation<Call, Result>>(
  model: SequentialModel<State, Call, Result>,
  history: ReadonlyArray<I>,
  options: Options = {}
): Verdict<I, Result> => {
  const budget = options.budget ?? 1_000_000
  for (const invocation of history) {
    if (!(invocation.start <= endOf(invocation))) {
      throw new RangeError(`a call starts at ${invocation.start} and ends at ${invocation.end}`)
    }
  }
  const calls = history.toSorted((a, b) => a.start - b.start)
  const toPlace = calls.filter((call) => call.outcome._tag === "Answered").length
  /** One bit per call, in words of 32: which calls are placed. */
  const placed = new Uint32Array(Math.ceil(calls.length / 32))
  const isPlaced = (i: number) => ((placed[i >>> 5] ?? 0) & (1 << (i & 31))) !== 0
  const flip = (i: number) => {
    placed[i >>> 5] = (placed[i >>> 5] ?? 0) ^ (1 << (i & 31))
  }
  const seen = new Set<string>()
  let visited = 0

  /** The calls that can come next: no call that is still to be placed has ended before they start. */
  const candidatesAfter = (latestStart: number): Array<number> => {
    const candidates: Array<number> = []
    let earliestEnd = Infinity
    for (const [i, call] of calls.entries()) {
      // Those that follow start later still, and so end later.
      if (call.start > earliestEnd) break
      if (isPlaced(i) || endOf(call) < latestStart) continue
      candidates.push(i)
      if (call.outcome._tag === "Answered") earliestEnd = Math.min(earliestEnd, endOf(call))
    }
    return candidates.toSorted((a, b) => Number(rank(a) > rank(b)) - Number(rank(a) < rank(b)))
  }
  /** Answered calls first, in order of their ends, which is most often the order in which they took effect. */
  const rank = (i: number): number => {
    const call = calls[i]
    return call?.outcome._tag === "Answered" ? Math.min(endOf(call), Number.MAX_VALUE) : Infinity
  }

  /** Is there a call without an answer that could be placed before this one, and no longer after it? */
  const shutsOut = (invocation: I, latestStart: number): boolean =>
    calls.some((call, i) =>
      call.outcome._tag === "Unknown" && !isPlaced(i) && endOf(call) >= latestStart && endOf(call) < invocation.start
    )

  const situationAfter = (state: State, latestStart: number, placed: number): Situation<State> => {
    const candidates = candidatesAfter(latestStart)
    // A call that changes nothing and is answered rightly here may as well come first: whatever order explains the rest
    // without it explains the rest after it.
    const observing = model.observes === undefined ? undefined : candidates.find((i) => {
      const call = calls[i]
      return call?.outcome._tag === "Answered" && model.observes?.(call.call) === true &&
        model.same(model.step(state, call.call)[0], call.outcome.result) && !shutsOut(call, latestStart)
    })
    return { state, latestStart, placed, tried: 0, candidates: observing === undefined ? candidates : [observing] }
  }

  const path: Array<Situation<State>> = [situationAfter(model.initial, -Infinity, -1)]
  let answered = 0
  let longest: ReadonlyArray<number> = []
  let longestAnswered = 0
  let longestEnd: Situation<State> | undefined = path[0]
  const order = (indices: ReadonlyArray<number>) =>
    indices.flatMap((i) => {
      const call = calls[i]
      return call === undefined ? [] : [call]
    })
  const pathIndices = () => path.slice(1).map((situation) => situation.placed)

  for (let here = path.at(-1); here !== undefined; here = path.at(-1)) {
    if (answered === toPlace) return { _tag: "Linearizable", order: order(pathIndices()), visited }
    const candidate = here.candidates[here.tried++]
    if (candidate === undefined) {
      path.pop()
      if (here.placed === -1) break
      flip(here.placed)
      if (calls[here.placed]?.outcome._tag === "Answered") answered--
      continue
    }
    const call = calls[candidate]
    if (call === undefined) continue
    const [result, next] = model.step(here.state, call.call)
    // One without an answer that changes nothing here is better left out: it may still take effect later.
    const { outcome } = call
    const fits = outcome._tag === "Answered"
      ? model.same(result, outcome.result)
      : model.key(next) !== model.key(here.state)
    if (!fits) continue
    flip(candidate)
    const situation = `${placed.join()}|${model.key(next)}`
    if (seen.has(situation)) {
      flip(candidate)
      continue
    }
    if (visited === budget) return { _tag: "Undecided", visited }
    visited++
    seen.add(situation)
    path.push(situationAfter(next, Math.max(here.latestStart, call.start), candidate))
    if (outcome._tag === "Answered") answered++
    if (answered > longestAnswered) {
      longestAnswered = answered
      longest = pathIndices()
      longestEnd = path.at(-1)
    }
  }

  const end = longestEnd
  return {
    _tag: "NotLinearizable",
    longest: order(longest),
    unplaced: end === undefined ?
      [] :
      order(end.candidates).flatMap((invocation) =>
        invocation.outcome._tag === "Answered"
          ? [{ invocation, expected: model.step(end.state, invocation.call)[0] }]
          : []
      ),
    visited
  }
}

/**
 * The part of a history up to a time: what had not ended by then has no answer yet, and what had not started is not there.
 * Whatever part of a linearizable history one looks at is linearizable.
 */
export const until = <I extends Invocation<unknown, unknown>>(history: ReadonlyArray<I>, time: number): Array<I> =>
  history.flatMap((invocation) => {
    if (invocation.start > time) return []
    return endOf(invocation) <= time ? [invocation] : [{ ...invocation, end: undefined, outcome: { _tag: "Unknown" } }]
  })

/**
 * Of a history that is not linearizable, the shortest beginning that is not, which is what a person should look at: the
 * last answer in it is the first one that no order explains. The whole history if the budget does not allow to find it.
 */
export const shortestRefused = <State, Call, Result, I extends Invocation<Call, Result>>(
  model: SequentialModel<State, Call, Result>,
  history: ReadonlyArray<I>,
  options: Options = {}
): ReadonlyArray<I> => {
  const ends = history.flatMap((call) => call.outcome._tag === "Answered" ? [endOf(call)] : []).toSorted((a, b) =>
    a - b
  )
  const refused = (time: number) => check(model, until(history, time), options)._tag === "NotLinearizable"
  // A beginning that is refused makes every longer one refused, so it is enough to halve.
  let low = 0
  let high = ends.length - 1
  while (low < high) {
    const middle = Math.floor((low + high) / 2)
    if (refused(ends[middle] ?? Infinity)) high = middle
    else low = middle + 1
  }
  const time = ends[low] ?? Infinity
  return refused(time) ? until(history, time) : history
}

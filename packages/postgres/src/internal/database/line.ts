/**
 * Calls that wait for a lane: first come, first served, and free to leave the line at any time.
 */
import type { Effect, Tracer } from "effect"
import type { RoutineFailure } from "./failure.ts"

/** A call until it is answered. */
export interface Pending<Call, Answer> {
  /** The id of the queue that it is about. */
  readonly queue: string
  readonly call: Call
  readonly span: Tracer.AnySpan | undefined
  /** Calls are numbered as they come. */
  readonly number: number
  /** When it came, in monotonic milliseconds. */
  readonly since: number
  state: "waiting" | "sent" | "ended"
  resume: (answer: Effect.Effect<Answer, RoutineFailure>) => void
}

export class Line<Call, Answer> {
  /** Those that were withdrawn stay until they are passed: taking one out of the middle would move all the others. */
  #calls: Array<Pending<Call, Answer>> = []
  #size = 0

  /** How many wait. */
  get size(): number {
    return this.#size
  }

  /** The first that waits. */
  get first(): Pending<Call, Answer> | undefined {
    while (this.#calls[0]?.state === "ended") this.#calls.shift()
    return this.#calls[0]
  }

  push(call: Pending<Call, Answer>): void {
    this.#calls.push(call)
    this.#size++
  }

  /** Lets a call that waits go. */
  withdraw(call: Pending<Call, Answer>): void {
    call.state = "ended"
    this.#size--
  }

  /** Notes for each queue the number of the first call about it that waits, unless a lower one is noted. */
  note(firsts: Map<string, number>): void {
    for (const { number, queue, state } of this.#calls) {
      if (state === "waiting" && number < (firsts.get(queue) ?? Infinity)) firsts.set(queue, number)
    }
  }

  /** Takes the first that wait and may leave, which are sent then: as many as fit, but at least one. */
  take(
    maxCalls: number,
    maxBytes: number,
    weigh: (call: Call) => number,
    mayLeave: (call: Pending<Call, Answer>) => boolean
  ): ReadonlyArray<Pending<Call, Answer>> {
    const taken: Array<Pending<Call, Answer>> = []
    const kept: Array<Pending<Call, Answer>> = []
    let bytes = 0
    let passed = 0
    for (const call of this.#calls) {
      if (taken.length === maxCalls) break
      if (call.state === "waiting") {
        if (mayLeave(call)) {
          bytes += weigh(call.call)
          if (taken.length > 0 && bytes > maxBytes) break
          call.state = "sent"
          taken.push(call)
        } else kept.push(call)
      }
      passed++
    }
    this.#calls = [...kept, ...this.#calls.slice(passed)]
    this.#size -= taken.length
    return taken
  }

  /** Calls that were taken wait again, in their old places. */
  putBack(calls: ReadonlyArray<Pending<Call, Answer>>): void {
    for (const call of calls) call.state = "waiting"
    this.#calls = [...calls, ...this.#calls].toSorted((a, b) => a.number - b.number)
    this.#size += calls.length
  }

  /** Takes out those for which this holds. They still wait. */
  remove(predicate: (call: Pending<Call, Answer>) => boolean): ReadonlyArray<Pending<Call, Answer>> {
    const removed: Array<Pending<Call, Answer>> = []
    this.#calls = this.#calls.filter((call) => {
      if (call.state !== "waiting" || !predicate(call)) return true
      removed.push(call)
      return false
    })
    this.#size -= removed.length
    return removed
  }
}

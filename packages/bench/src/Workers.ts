/**
 * The workers of a run, as fibers.
 */
import { Effect } from "effect"
import type { Run } from "./Subject.ts"

/** The queues that one worker has to itself, which it visits in turn. */
export class Own {
  readonly #queues: Array<number>
  #at = 0

  /** Of so many queues, those of one among so many workers. */
  constructor(queues: number, worker: number, workers: number) {
    this.#queues = []
    for (let queue = worker; queue < queues; queue += workers) this.#queues.push(queue)
  }

  /** None if it has none, or none any more. */
  queue(): number | undefined {
    return this.#queues[this.#at]
  }

  /** Goes on to the next. */
  move(): void {
    this.#at = this.#at + 1 < this.#queues.length ? this.#at + 1 : 0
  }

  /** Does not visit this one again in the run, because it has been emptied. */
  leave(): void {
    this.#queues.splice(this.#at, 1)
    if (this.#at >= this.#queues.length) this.#at = 0
  }
}

/** One operation of a worker: how many messages it completed. A worker ends when that is none. */
export type Operation = (own: Own) => Effect.Effect<number, unknown>

/** Ends when all workers have ended. Fails with the first failure. */
export const run = (
  { concurrency, done, due, isOver }: Run,
  queues: number,
  operation: Operation
): Effect.Effect<void, unknown> =>
  Effect.forEach(
    Array.from({ length: concurrency }, (_, worker) => new Own(queues, worker, concurrency)),
    Effect.fnUntraced(function*(own) {
      while (!isOver()) {
        const began = due === undefined ? performance.now() : yield* Effect.promise(due)
        if (began === undefined) return
        const messages = yield* operation(own)
        if (messages === 0) return
        done(messages, began)
      }
    }),
    { concurrency: "unbounded", discard: true }
  )

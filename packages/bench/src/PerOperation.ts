/**
 * Nanoseconds per operation in memory, by one fiber, one operation after another. It is processor time, all threads of the
 * process together: on a quiet machine that is what passes, garbage collection included, and a busy one does not add to it.
 */
import { Effect } from "effect"
import type { Sample } from "./Subject.ts"

/** Operations in a row between two looks at the clock. */
const burst = 500

const processorTime = (): number => {
  const { system, user } = process.cpuUsage()
  return (system + user) * 1_000
}

/** The first third of the time warms up. */
export const measure = (
  seconds: number,
  operation: (turn: number) => Effect.Effect<unknown, unknown>
): Promise<ReadonlyArray<Sample>> =>
  Effect.runPromise(Effect.gen(function*() {
    let turn = 0
    const runFor = Effect.fnUntraced(function*(seconds: number) {
      const end = processorTime() + seconds * 1e9
      const from = turn
      const began = processorTime()
      do {
        for (let i = 0; i < burst; i++) yield* operation(turn++)
      } while (processorTime() < end)
      return (processorTime() - began) / (turn - from)
    })
    yield* runFor(seconds / 3)
    return [{ measure: "time", unit: "ns", value: yield* runFor((seconds * 2) / 3) }]
  }))

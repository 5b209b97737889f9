/** When to repeat what failed. */
import { Cause, Duration, Effect, Metric, Random, Schedule } from "effect"
import * as Metrics from "../metrics.ts"
import type { Pace, Retry } from "./retry.ts"

export interface Options {
  /** Before the first repetition. Default: 50 milliseconds. */
  readonly base?: Duration.Input | undefined
  /** The longest delay, before jitter. Default: 5 seconds. */
  readonly max?: Duration.Input | undefined
  /** How often the work is tried in all, the first time included. Default: 8. */
  readonly attempts?: number | undefined
  /** No repetition begins later than this after the first failure. Default: 60 seconds. */
  readonly budget?: Duration.Input | undefined
  /** Whether the work may be repeated although it may have been applied. Default: no. */
  readonly idempotent?: boolean | undefined
}

interface Failure {
  readonly retry: Retry
  readonly pace: Pace
  readonly outcome: "notApplied" | "unknown"
}

const retries = { transaction: Metrics.transactionRetries, session: Metrics.sessionRetries }

export const make = (describe: (error: unknown) => Failure, options: Options): Schedule.Schedule<number> => {
  const base = Duration.toMillis(options.base ?? "50 millis")
  const max = Duration.toMillis(options.max ?? "5 seconds")
  const attempts = options.attempts ?? 8
  const budget = Duration.toMillis(options.budget ?? "60 seconds")
  return Schedule.fromStepWithMetadata(Effect.sync(() => {
    let hadItsOneRepetition = false
    return ({ attempt, elapsed, input }: Schedule.InputMetadata<unknown>) => {
      const { outcome, pace, retry } = describe(input)
      const allowed = retry !== "no" && (outcome === "notApplied" || options.idempotent === true) &&
        attempt < attempts && !(pace === "once" && hadItsOneRepetition)
      if (!allowed) return Cause.done(attempt)
      hadItsOneRepetition ||= pace === "once"
      const delay = Math.min(base * (pace === "slow" ? 10 : 1) * 2 ** (attempt - 1), max)
      return Effect.flatMap(Random.next, (random) => {
        const jittered = delay * (0.8 + 0.4 * random)
        if (elapsed + jittered > budget) return Cause.done(attempt)
        return Effect.as(
          Metric.update(retries[retry], 1),
          [attempt, Duration.millis(jittered)] satisfies [number, Duration.Duration]
        )
      })
    }
  }))
}

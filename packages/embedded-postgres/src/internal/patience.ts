/**
 * Waiting for processes and files. On purpose not with `Effect.sleep`: a process does not read the caller's clock, and
 * under a `TestClock` a server would never become ready.
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"

const pause = (milliseconds: number): Effect.Effect<void> =>
  Effect.callback<void>((resume) => {
    const timer = setTimeout(() => resume(Effect.void), milliseconds)
    return Effect.sync(() => clearTimeout(timer))
  })

/**
 * Looks again and again until `look` finds something; `None` if it found nothing in time. Looks at least once.
 *
 * - units: `every` and `within` in milliseconds
 */
export const until = Effect.fnUntraced(function*<A, E>(
  look: Effect.Effect<Option.Option<A>, E>,
  { every, within }: { readonly every: number; readonly within: number }
) {
  const deadline = performance.now() + within
  while (true) {
    const found = yield* look
    if (Option.isSome(found) || performance.now() >= deadline) return found
    yield* pause(every)
  }
})

/** Waits until `holds` is true; the answer says whether that happened in time. */
export const untilTrue = (
  holds: () => boolean,
  times: { readonly every: number; readonly within: number }
): Effect.Effect<boolean> =>
  Effect.map(until(Effect.sync(() => holds() ? Option.some(true) : Option.none()), times), Option.isSome)

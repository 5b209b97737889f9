import { Data } from "effect"
import type { MsgStoreError } from "restante"

/**
 * Takes out of a server's error what it quotes of rows and parameters: the ids and bodies in a cause would end in somebody's
 * log (rules 2.3 and 7.7). "Failing row contains (...)" is a detail; where it happened may end with the parameters of the
 * statement, if the server has `log_parameter_max_length_on_error`.
 */
const withoutData = (cause: unknown): unknown => {
  const seen = new Set<object>()
  const clean = (at: unknown): void => {
    if (typeof at !== "object" || at === null || seen.has(at)) return
    seen.add(at)
    Reflect.deleteProperty(at, "detail")
    if ("where" in at && typeof at.where === "string") {
      Reflect.set(at, "where", at.where.replace(/(?:unnamed )?portal [^]*$/, ""))
    }
    if ("reason" in at) clean(at.reason)
    if ("cause" in at) clean(at.cause)
  }
  clean(cause)
  return cause
}

/** A call of a routine failed. The store that made it wraps the reason in its own error. */
export class RoutineFailure extends Data.TaggedError("RoutineFailure")<{
  readonly reason: MsgStoreError.MsgStoreErrorReason
  readonly cause: unknown
}> {
  constructor({ cause, reason }: { readonly reason: MsgStoreError.MsgStoreErrorReason; readonly cause: unknown }) {
    super({ reason, cause: withoutData(cause) })
  }
}

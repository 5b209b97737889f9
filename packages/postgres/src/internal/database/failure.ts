import { Data } from "effect"
import type { MsgStoreError } from "restante"

/** A call of a routine failed. The store that made it wraps the reason in its own error. */
export class RoutineFailure extends Data.TaggedError("RoutineFailure")<{
  readonly reason: MsgStoreError.MsgStoreErrorReason
  readonly cause: unknown
}> {}

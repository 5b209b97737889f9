/**
 * What a call of a stored function comes to when it gave no answer of the contract.
 */
import { Array as Arr, Effect } from "effect"
import { MsgStoreError } from "restante"
import { RoutineFailure } from "../database/routine.ts"

/** Names the operation in what a routine failed with. */
export const failureOf = (operation: string) => ({ cause, reason }: RoutineFailure) =>
  Effect.fail(MsgStoreError.fromCause(operation, reason, cause))

export const corrupt = (problem: string) =>
  new RoutineFailure({ reason: new MsgStoreError.Corrupt(), cause: new Error(problem) })

/** The one row that most functions answer. */
export const single = <Row>(
  rows: Effect.Effect<ReadonlyArray<Row>, RoutineFailure>
): Effect.Effect<Row, RoutineFailure> =>
  Effect.flatMap(
    rows,
    (rows) =>
      Arr.isReadonlyArrayNonEmpty(rows) ? Effect.succeed(rows[0]) : Effect.fail(corrupt("a function answered no row"))
  )

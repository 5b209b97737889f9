/**
 * What became of a transaction, from how its body ended and how the driver's wrapper ended.
 */
import { Cause, Exit } from "effect"
import { CommitOutcomeUnknown, Misuse, type PgTransactionError } from "../../PgTransactionError.ts"
import { isSqlError, type SqlError, texts } from "../driver.ts"
import * as Loss from "./loss.ts"
import type { Open, Outcome, Place } from "./open.ts"

export interface Verdict<A, E> {
  readonly outcome: Outcome
  readonly exit: Exit.Exit<A, E | PgTransactionError>
}

/** `exit` is of the driver's wrapper, `body` of what it ran; undefined if it never came to that. */
export const of = <A, E>(
  open: Open,
  body: Exit.Exit<A, E> | undefined,
  exit: Exit.Exit<A, E | SqlError>
): Verdict<A, E | SqlError> => {
  if (open.committed || Exit.isSuccess(exit)) return { outcome: "committed", exit }
  if (body === undefined) return { outcome: "rolledBack", exit: neverBegun(open, exit) }
  if (Exit.isFailure(body)) {
    return { outcome: "rolledBack", exit: Exit.failCause(failure(open, body.cause, exit, "body")) }
  }
  for (const reason of exit.cause.reasons) {
    if (!Cause.isFailReason(reason) || !isSqlError(reason.error)) continue
    return answered(open, reason.error)
  }
  // Interrupted between the body and COMMIT; a COMMIT that failed would be here as a failure, beside any interruption.
  return { outcome: "rolledBack", exit: Exit.failCause(Loss.typed(exit.cause, "body")) }
}

/**
 * Trap: it is not the driver's, in which a ROLLBACK that failed has turned the body's typed errors into defects. That failure is
 * of use all the same: on a plain client nothing else tells that the session is gone.
 */
const failure = <E>(
  open: Open | undefined,
  body: Cause.Cause<E>,
  exit: Exit.Failure<unknown, unknown>,
  phase: "body" | "ended"
): Cause.Cause<E | PgTransactionError> => {
  const gone = open?.session?.lost !== undefined ||
    exit.cause.reasons.some((reason) => Cause.isDieReason(reason) && Loss.isLoss(reason.defect))
  return gone ? Loss.typed(body, phase) : body
}

const neverBegun = <A, E>(
  open: Open,
  exit: Exit.Failure<A, E | SqlError>
): Exit.Exit<A, E | SqlError | PgTransactionError> => {
  // Nothing came of it, so beside an interruption neither BEGIN nor the ROLLBACK after it has anything to tell.
  const interruptions = exit.cause.reasons.filter(Cause.isInterruptReason)
  if (interruptions.length > 0) return Exit.failCause(Cause.fromReasons(interruptions))
  const gone = open.session === undefined || open.session.lost !== undefined
  return gone ? Exit.failCause(Loss.typed(exit.cause, "begin")) : exit
}

/** COMMIT failed. */
const answered = (open: Open, error: SqlError): Verdict<never, SqlError> => {
  // sql-pg's own word for a COMMIT that the server answered with ROLLBACK.
  if (error.reason.operation === "commit") {
    return { outcome: "rolledBack", exit: Exit.fail(Loss.fail(failed(open.firstError?.code), error)) }
  }
  const fields = Loss.serverFields(error)
  if (fields !== undefined && !Loss.isFatal(fields) && !indefinite.has(fields.code ?? "")) {
    return { outcome: "rolledBack", exit: Exit.fail(error) }
  }
  // It waited behind a statement of another fiber, on which the session ended.
  if (open.nothingSent) return { outcome: "rolledBack", exit: Exit.fail(Loss.sessionLost("body", error)) }
  const reason = new CommitOutcomeUnknown({ ...(open.xid !== undefined && { xid: open.xid }), cause: error })
  return { outcome: "unknown", exit: Exit.fail(Loss.fail(reason)) }
}

/** statement_completion_unknown, transaction_resolution_unknown. */
const indefinite: ReadonlySet<string> = new Set(["40003", "08007"])

/** `exit` is of the driver's wrapper around a savepoint, `body` of what ran inside. */
export const nested = <A, E>(
  whole: Place["whole"],
  body: Exit.Exit<A, E> | undefined,
  exit: Exit.Exit<A, E | SqlError>
): Exit.Exit<A, E | SqlError | PgTransactionError> => {
  if (Exit.isSuccess(exit)) return exit
  const defect = Loss.controlDefect(exit.cause)
  if (defect?.reason.message === texts.transactionEnded) whole.ended = true
  const phase = whole.outcome === undefined ? "body" : "ended"
  if (body !== undefined && Exit.isFailure(body)) return Exit.failCause(failure(whole.open, body.cause, exit, phase))
  // The transaction was ended around this level, and what it did so far may have been committed with it.
  if (body !== undefined && phase === "ended" && whole.outcome !== "rolledBack") {
    return Exit.fail(Loss.fail(overtaken(), defect))
  }
  if (defect === undefined || Loss.isLoss(defect)) return Exit.failCause(Loss.typed(exit.cause, phase))
  // RELEASE was refused.
  const reason = refusals[Loss.sqlstate(defect) ?? ""]
  return Exit.fail(reason === undefined ? defect : Loss.fail(reason(), defect))
}

export const failed = (sqlstate: string | undefined): Misuse =>
  new Misuse({
    kind: "TransactionFailed",
    problem: "a statement of the transaction had failed, so it cannot be committed and was rolled back",
    ...(sqlstate !== undefined && { sqlstate })
  })

export const notActive = (): Misuse =>
  new Misuse({
    kind: "TransactionNotActive",
    problem: "the transaction was ended by a statement in its body; leave COMMIT and ROLLBACK to PgTransaction"
  })

export const stillOpen = (): Misuse =>
  new Misuse({
    kind: "Unsettled",
    problem:
      "a nested transaction or a handle was still open when the transaction around it ended, which was rolled back"
  })

export const overtaken = (): Misuse =>
  new Misuse({
    kind: "TransactionNotActive",
    problem: "the client's transaction around it ended first, and what became of that became of this"
  })

const refusals: Readonly<Record<string, () => Misuse>> = {
  "25P02": () => failed(undefined),
  "25P01": notActive,
  "3B001": notActive
}

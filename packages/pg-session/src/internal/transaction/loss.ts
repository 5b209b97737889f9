/**
 * What an error of the driver says about the session it happened on.
 */
import { Cause, Predicate } from "effect"
import { CommitOutcomeUnknown, type Misuse, PgTransactionError, SessionLost } from "../../PgTransactionError.ts"
import { isSqlError, type SqlError, texts } from "../driver.ts"
import * as Chain from "../errors/chain.ts"
import type { ServerFields } from "../serverFields.ts"

export const serverFields = (error: unknown): ServerFields | undefined => {
  for (const node of Chain.of(error)) {
    const fields = Chain.serverFields(node)
    if (fields !== undefined) return fields
  }
  return undefined
}

export const sqlstate = (error: unknown): string | undefined => serverFields(error)?.code

/** With the error it comes from, which is kept out of the serialised form because it may quote what the server said. */
export const fail = (reason: Misuse | SessionLost | CommitOutcomeUnknown, cause?: unknown): PgTransactionError => {
  const error = new PgTransactionError({ reason })
  return cause === undefined ? error : Object.defineProperty(error, "cause", { value: cause, enumerable: false })
}

export const sessionLost = (phase: SessionLost["phase"], cause: unknown): PgTransactionError => {
  const code = sqlstate(cause)
  return fail(new SessionLost({ phase, ...(code !== undefined && { sqlstate: code }) }), cause)
}

/**
 * Whether an error can be that a session ended under a statement, or before it. Which session it was the error does not say.
 * Trap: a class 08 of severity ERROR is no loss; foreign tables and dblink raise such about connections of their own.
 */
export const isLoss = (error: unknown): error is SqlError => {
  if (!isSqlError(error)) return false
  const { message, operation } = error.reason
  if (operation !== "query" || message === texts.notEncoded) return false
  const fields = serverFields(error)
  // Without an answer of the server: sql-pg has destroyed the session, for instance over a row that it could not decode.
  return fields === undefined || isFatal(fields)
}

export const isFatal = (fields: ServerFields): boolean =>
  (fields.severityUnlocalized ?? fields.severity ?? "ERROR") !== "ERROR"

export const isInCause = (cause: Cause.Cause<unknown>): boolean =>
  cause.reasons.some((reason) =>
    (Cause.isFailReason(reason) && isLoss(reason.error)) || (Cause.isDieReason(reason) && isLoss(reason.defect))
  )

/** What sql-pg dies of: a transaction statement other than COMMIT that failed. */
export const controlDefect = (cause: Cause.Cause<unknown>): SqlError | undefined => {
  for (const reason of cause.reasons) {
    if (Cause.isDieReason(reason) && isSqlError(reason.defect)) return reason.defect
  }
  return undefined
}

/**
 * Puts typed errors in the place of a loss: where it was a failure, and where it was a defect, which is the ROLLBACK that found
 * the session gone, unless something else tells how the body ended.
 *
 * Trap: the defect of the ROLLBACK turns the typed errors beside it into defects too. Those are what `reclaim` decides on.
 */
const replace = <E>(
  cause: Cause.Cause<E>,
  phase: SessionLost["phase"],
  reclaim: (defect: unknown) => Cause.Reason<E> | undefined
): Cause.Cause<E | PgTransactionError> => {
  const loss = cause.reasons.filter(Cause.isDieReason).find(({ defect }) => isLoss(defect))
  const kept: Array<Cause.Reason<E | PgTransactionError>> = []
  for (const reason of cause.reasons) {
    if (Cause.isFailReason(reason) && isLoss(reason.error)) {
      kept.push(Cause.makeFailReason(sessionLost(phase, reason.error)))
    } else if (!Cause.isDieReason(reason) || (!isLoss(reason.defect) && (loss === undefined || isBug(reason.defect)))) {
      kept.push(reason)
    } else if (!isLoss(reason.defect)) {
      const reclaimed = reclaim(reason.defect)
      if (reclaimed !== undefined) kept.push(reclaimed)
    }
  }
  return kept.length > 0 || loss === undefined ? Cause.fromReasons(kept) : Cause.fail(sessionLost(phase, loss.defect))
}

/** Nobody fails with such an error on purpose. */
const isBug = (defect: unknown): boolean => defect instanceof Error && !Predicate.hasProperty(defect, "_tag")

/** For what may have come through other transactions of the client: their typed errors have passed their handlers by. */
export const typed = <E>(
  cause: Cause.Cause<E>,
  phase: SessionLost["phase"]
): Cause.Cause<E | PgTransactionError> => replace(cause, phase, () => undefined)

/** For what came from one transaction of the client. */
export const restored = <E>(cause: Cause.Cause<E>): Cause.Cause<E | PgTransactionError> =>
  // It was of E before the driver made it a defect, and nothing else remembers that.
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion
  replace(cause, "body", (defect) => Cause.makeFailReason(defect as E))

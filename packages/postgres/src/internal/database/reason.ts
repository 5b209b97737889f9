/**
 * What a failed statement means to a caller: did anything happen, and does repeating help (spec 7.3 and 7.4)?
 */
import type { PgCopy, PgTransaction } from "@restante/pg-session"
import { Predicate } from "effect"
import { isSqlError, type SqlError } from "effect/sql/SqlError"
import { MsgStoreError } from "restante"
import type { RoutineFailure } from "./failure.ts"

/** What a routine does to the data decides what a lost answer means. */
export type Kind = "read" | "change"

/** The SQLSTATE of an error, if the server sent one. Trap: errors of a socket have a code as well, such as `EPIPE`. */
export const sqlState = (error: SqlError): string | undefined => {
  const cause: unknown = error.reason.cause
  return Predicate.hasProperty(cause, "severity") && Predicate.hasProperty(cause, "code") &&
      Predicate.isString(cause.code)
    ? cause.code
    : undefined
}

const unavailable = new MsgStoreError.Unavailable()
const timeout = new MsgStoreError.Timeout()
const corrupt = new MsgStoreError.Corrupt()
const outcomeUnknown = new MsgStoreError.OutcomeUnknown()

/** The answer to a statement that was sent never came. */
export const lost = (kind: Kind): MsgStoreError.MsgStoreErrorReason => kind === "change" ? outcomeUnknown : unavailable

/** A conflict between transactions that the server resolved by ending this one; nothing was applied. */
export const isConflict = (error: SqlError): boolean => {
  const code = sqlState(error)
  return code === "40001" || code === "40P01"
}

/** The server said no to a statement for a reason of its own, so that nothing was applied and others may fare better. */
export const isRefusal = ({ cause, reason }: RoutineFailure): boolean =>
  reason._tag !== "Unavailable" && reason._tag !== "OutcomeUnknown" && isSqlError(cause) &&
  sqlState(cause) !== undefined

export const ofSqlError = (error: SqlError, kind: Kind): MsgStoreError.MsgStoreErrorReason => {
  // Whatever went wrong while connecting, no statement has been sent.
  if (error.reason.operation === "connect") return unavailable
  const code = sqlState(error)
  if (code === undefined) {
    if (error.reason._tag === "ConnectionError") return lost(kind)
    // The driver could not read what the server sent.
    return corrupt
  }
  return ofSqlState(code, kind)
}

const ofSqlState = (code: string, kind: Kind): MsgStoreError.MsgStoreErrorReason => {
  switch (code) {
    case "57P03":
    case "25006":
    case "40001":
    case "40P01":
      return unavailable
    case "57P01":
    case "57P02":
    case "40003":
      return lost(kind)
    case "55P03":
    case "57014":
      return timeout
    case "XX001":
    case "XX002":
      return corrupt
  }
  switch (code.slice(0, 2)) {
    case "08":
      return lost(kind)
    case "53":
    case "58":
      return unavailable
    case "23":
      return corrupt
  }
  return new MsgStoreError.SchemaMismatch({ problem: schemaProblem(code) })
}

/** Of BEGIN, COMMIT or ROLLBACK, or of the transaction as a whole. */
export const ofTransactionError = (
  error: SqlError | PgTransaction.PgTransactionError
): MsgStoreError.MsgStoreErrorReason =>
  error._tag === "SqlError"
    // The server's own word about a transaction is that it is not applied; without its word it is a PgTransactionError.
    ? ofSqlError(error, "read")
    : error.reason.outcome === "unknown"
    ? outcomeUnknown
    : unavailable

/** Of a COPY in a transaction, which goes with its session. */
export const ofCopyError = ({ reason }: PgCopy.PgCopyError): MsgStoreError.MsgStoreErrorReason => {
  switch (reason._tag) {
    case "CopyError":
      return ofSqlState(reason.sqlstate, "read")
    case "SessionLost":
    case "NoSession":
      return unavailable
    case "BadRow":
    case "Misuse":
      return corrupt
  }
}

const schemaProblem = (code: string): string => {
  switch (code) {
    case "3F000":
    case "42P01":
    case "42883":
      return "the schema is absent or of another version; run PgMigrations.migrate as its owner"
    case "42501":
      return "this role may not use the schema; run PgMigrations.migrate with applicationRole, as the schema's owner"
  }
  return `the server refused the call with SQLSTATE ${code}; the cause has its own words`
}

/**
 * What can go wrong with a transaction as a whole. What the server says about a statement, or about COMMIT, stays a `SqlError`.
 */
import { Schema } from "effect"
import { retryOf } from "./internal/errors/retry.ts"

/**
 * A transaction was used in a way that cannot work.
 *
 * - `InvalidOptions`: nothing was sent
 * - `GuardUnavailable`: `guard: "transport"` with a client that is on no `PgTransport`
 * - `OptionsInNested`: a transaction within another one is a savepoint and cannot have options of its own
 * - `InTransaction`: what must begin a transaction of its own was called within one
 * - `NoTransaction`: what belongs into a transaction was called outside
 * - `TransactionFailed`: the body succeeded although a statement in it had failed, after which the server accepts nothing.
 *   Rolled back; `sqlstate` is that statement's, where it is known: not on a plain client
 * - `TransactionNotActive`: the body ended the transaction itself. What it committed stays; what came after may stay too. Also:
 *   a transaction of the client's own ended around a nested one or a handle, which shares its fate
 * - `AlreadySettled`: the transaction is over; nothing was sent
 * - `Unsettled`: a handle came to the end of its scope without commit or rollback, or a transaction to its end while a nested
 *   one, or a handle begun in it, was still open. Rolled back
 * - `StepOpen`: a savepoint command for a level in which a nested transaction or a handle is open; nothing was sent
 * - `UnsafeSavepointName`, `NoSuchSavepoint`: nothing was sent
 * - `OutcomeNotTracked`: an error that has no transaction id to look up
 */
export class Misuse extends Schema.TaggedError<Misuse>()("Misuse", {
  kind: Schema.Literals([
    "InvalidOptions",
    "GuardUnavailable",
    "OptionsInNested",
    "InTransaction",
    "NoTransaction",
    "TransactionFailed",
    "TransactionNotActive",
    "AlreadySettled",
    "Unsettled",
    "StepOpen",
    "UnsafeSavepointName",
    "NoSuchSavepoint",
    "OutcomeNotTracked"
  ]),
  problem: Schema.String,
  sqlstate: Schema.optionalKey(Schema.String)
}) {
  override get message(): string {
    return this.problem
  }
  /** Only of what was rolled back because of a statement that may succeed next time. */
  get isRetryable(): boolean {
    return this.kind === "TransactionFailed" && this.sqlstate !== undefined && retryOf(this.sqlstate) !== "no"
  }
  get outcome(): "notApplied" | "unknown" {
    return this.kind === "TransactionNotActive" ? "unknown" : "notApplied"
  }
}

/**
 * The session ended, and with it the transaction: nothing of it is applied. Another session may be tried.
 *
 * - `begin`: before BEGIN was answered
 * - `body`: before COMMIT was sent; on a transport also if it never got that far because it waited for another statement
 * - `commit`: at COMMIT, and the transaction has been looked up and was aborted
 * - `ended`: not the session but the transaction was over; nothing was sent
 */
export class SessionLost extends Schema.TaggedError<SessionLost>()("SessionLost", {
  phase: Schema.Literals(["begin", "body", "commit", "ended"]),
  sqlstate: Schema.optionalKey(Schema.String)
}) {
  override get message(): string {
    const code = this.sqlstate === undefined ? "" : ` (${this.sqlstate})`
    return this.phase === "ended"
      ? "the transaction is over"
      : `the session was lost${code} ${places[this.phase]}; nothing of the transaction is applied`
  }
  get isRetryable(): boolean {
    return this.phase !== "ended"
  }
  get outcome(): "notApplied" {
    return "notApplied"
  }
}

const places = { begin: "at BEGIN", body: "in the transaction", commit: "at COMMIT" }

/**
 * COMMIT was sent, or on a plain client may have been, and no definite answer came: the transaction is applied or it is not.
 * Never repeat it blindly. `xid` is there with `trackOutcome`; `PgTransaction.resolveOutcome` looks it up.
 */
export class CommitOutcomeUnknown extends Schema.TaggedError<CommitOutcomeUnknown>()("CommitOutcomeUnknown", {
  xid: Schema.optionalKey(Schema.String),
  cause: Schema.Defect()
}) {
  override get message(): string {
    return `no answer to COMMIT: the transaction${this.xid === undefined ? "" : ` ${this.xid}`} may be applied or not`
  }
  get isRetryable(): boolean {
    return false
  }
  get outcome(): "unknown" {
    return "unknown"
  }
}

export const PgTransactionErrorReason = Schema.Union([Misuse, SessionLost, CommitOutcomeUnknown])
export type PgTransactionErrorReason = typeof PgTransactionErrorReason.Type

export class PgTransactionError extends Schema.TaggedError<PgTransactionError>()("PgTransactionError", {
  reason: PgTransactionErrorReason
}) {
  override get message(): string {
    return `PgTransaction: ${this.reason.message}`
  }
  get isRetryable(): boolean {
    return this.reason.isRetryable
  }
}

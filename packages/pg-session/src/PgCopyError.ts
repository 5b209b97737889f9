/**
 * What a COPY can fail with. Texts hold no row and no SQL; what the server itself said is in `problem` of a `CopyError`.
 */
import { Schema } from "effect"

/**
 * The server refused the COPY, or a part of the data. Nothing of this COPY is stored. `line` and `column` say where, if the
 * server's context says so: the line of the input from 1, and the column's name.
 */
export class CopyError extends Schema.TaggedError<CopyError>()("CopyError", {
  sqlstate: Schema.String,
  problem: Schema.String,
  line: Schema.optionalKey(Schema.Int),
  column: Schema.optionalKey(Schema.String)
}) {
  override get message(): string {
    const line = this.line === undefined ? "" : `, line ${this.line}`
    const column = this.column === undefined ? "" : `, column ${this.column}`
    return `the server refused the COPY (${this.sqlstate}${line}${column}): ${this.problem}`
  }
}

/**
 * The call cannot mean what it says.
 *
 * - `WrongDirection`: a COPY TO was used for input, or a COPY FROM for output; nothing was copied
 * - `NotCopy`: the statement is no COPY from or to the client; what it does is done
 * - `NoTransport`: the client's connections do not go through a `PgTransport`; nothing was sent
 * - `Finished`: the writer was finished or cancelled before; nothing was sent
 * - `BadOptions`: the options contradict each other or name nothing; nothing was sent
 */
export class Misuse extends Schema.TaggedError<Misuse>()("Misuse", {
  kind: Schema.Literals(["WrongDirection", "NotCopy", "NoTransport", "Finished", "BadOptions"]),
  problem: Schema.String
}) {
  override get message(): string {
    return this.problem
  }
}

/** A row cannot be encoded, or what came is none. `row` and `column` count from 1. Nothing of this COPY is stored. */
export class BadRow extends Schema.TaggedError<BadRow>()("BadRow", {
  row: Schema.Int,
  column: Schema.optionalKey(Schema.Int),
  problem: Schema.String
}) {
  override get message(): string {
    return `row ${this.row}${this.column === undefined ? "" : `, column ${this.column}`}: ${this.problem}`
  }
}

/**
 * The session ended under way. `unknown`: outside a transaction, after the last row was sent or before the server said that it
 * is a COPY, so it may have taken effect. Otherwise nothing has.
 */
export class SessionLost extends Schema.TaggedError<SessionLost>()("SessionLost", {
  outcome: Schema.Literals(["notApplied", "unknown"])
}) {
  override get message(): string {
    return this.outcome === "notApplied"
      ? "the session was lost, and nothing was stored"
      : "the session was lost when the statement could not be taken back, so it may or may not have taken effect"
  }
}

/** There was no session to be had. Nothing was sent. */
export class NoSession extends Schema.TaggedError<NoSession>()("NoSession", {}) {
  override get message(): string {
    return "no session could be opened, so nothing was sent; the cause says why"
  }
}

export const PgCopyErrorReason = Schema.Union([CopyError, Misuse, BadRow, SessionLost, NoSession])
export type PgCopyErrorReason = typeof PgCopyErrorReason.Type

/** A COPY failed. The connection is usable unless the reason is `SessionLost`. The driver's error is in `cause`. */
export class PgCopyError extends Schema.TaggedError<PgCopyError>()("PgCopyError", { reason: PgCopyErrorReason }) {
  override get message(): string {
    return `PgCopy: ${this.reason.message}`
  }
}

/** An error with what caused it: kept out of the serialised form, because a driver's error quotes SQL and data. */
export const fromCause = (reason: PgCopyErrorReason, cause: unknown): PgCopyError =>
  Object.defineProperty(new PgCopyError({ reason }), "cause", { value: cause, enumerable: false })

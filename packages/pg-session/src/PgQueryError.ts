/**
 * What `PgQuery` can fail with besides the errors of the statement itself, which stay `SqlError`. No text holds a parameter; of
 * the statement of a script its beginning is shown, without its strings.
 *
 * `sqlstate` and `outcome` are what `PgErrors.from` finds.
 */
import { Schema } from "effect"
import * as Conditions from "./internal/errors/conditions.ts"

/** A statement that must give one row gave none. What it did stands. */
export class NoRows extends Schema.TaggedError<NoRows>()("NoRows", {}) {
  get sqlstate(): string {
    return "02000"
  }
  get outcome(): "unknown" {
    return "unknown"
  }
  override get message(): string {
    return "the statement gave no row where one was expected; use queryOption if there may be none"
  }
}

/** A statement that must give at most one row gave more. What it did stands. */
export class TooManyRows extends Schema.TaggedError<TooManyRows>()("TooManyRows", { rows: Schema.Int }) {
  get sqlstate(): string {
    return "21000"
  }
  get outcome(): "unknown" {
    return "unknown"
  }
  override get message(): string {
    return `the statement gave ${this.rows} rows where one was expected; use query, or narrow it down`
  }
}

/**
 * The call cannot work, and nothing was sent.
 *
 * - `Multiplexed`: an interruption would not cancel the statement, and it may commit; run it in a transaction
 * - `Copy`: the statement is a COPY from or to the client, which would end a session without a `PgTransport`; use `PgCopy`
 * - `IllFormedText`: the text or a parameter has half of a surrogate pair, which UTF-8 cannot express
 * - `TransactionOpen`: a script with its own BEGIN or COMMIT was run inside a transaction, which it would end
 */
export class Misuse extends Schema.TaggedError<Misuse>()("Misuse", {
  kind: Schema.Literals(["Multiplexed", "Copy", "IllFormedText", "TransactionOpen"]),
  problem: Schema.String
}) {
  /** What the server would have said: 0A000, 22021. */
  get sqlstate(): string | undefined {
    return this.kind === "Copy" ? "0A000" : this.kind === "IllFormedText" ? "22021" : undefined
  }
  get outcome(): "notApplied" {
    return "notApplied"
  }
  override get message(): string {
    return this.problem
  }
}

/** The server did not answer in time. */
export class NoAnswer extends Schema.TaggedError<NoAnswer>()("NoAnswer", { millis: Schema.Number }) {
  override get message(): string {
    return `the server did not answer within ${this.millis} ms`
  }
}

/** The script cannot be run as it is, and nothing of it was. Line and column count from 1. */
export class ScriptRefused extends Schema.TaggedError<ScriptRefused>()("ScriptRefused", {
  line: Schema.Int,
  column: Schema.Int,
  problem: Schema.String
}) {
  get outcome(): "notApplied" {
    return "notApplied"
  }
  override get message(): string {
    return `line ${this.line}, column ${this.column}: ${this.problem}`
  }
}

/**
 * A statement of the script failed; those after it were not run. `index` counts statements from 0. Line and column count from 1
 * and are where the server saw the error, if it said so, else where the statement begins. `statement` is its beginning, without
 * what its strings say. `outcome` is of the whole script: of one that is not a single transaction, statements before it stand.
 * What the server said may quote data and is therefore not in the message: `PgErrors.from(error).message` has it.
 */
export class ScriptFailed extends Schema.TaggedError<ScriptFailed>()("ScriptFailed", {
  index: Schema.Int,
  line: Schema.Int,
  column: Schema.Int,
  statement: Schema.String,
  sqlstate: Schema.optionalKey(Schema.String),
  outcome: Schema.Literals(["notApplied", "unknown"])
}) {
  override get message(): string {
    const name = this.sqlstate === undefined ? undefined : Conditions.nameOf(this.sqlstate)
    return `line ${this.line}, column ${this.column}, statement ${this.index} \`${this.statement}\` failed` +
      (this.sqlstate === undefined ? "" : ` with ${this.sqlstate}`) + (name === undefined ? "" : ` (${name})`)
  }
}

export const PgQueryErrorReason = Schema.Union([NoRows, TooManyRows, Misuse, NoAnswer, ScriptRefused, ScriptFailed])
export type PgQueryErrorReason = typeof PgQueryErrorReason.Type

/** `PgQuery` could not do what was asked. The driver's error, if there is one, is in `cause`. */
export class PgQueryError extends Schema.TaggedError<PgQueryError>()("PgQueryError", { reason: PgQueryErrorReason }) {
  override get message(): string {
    return `PgQuery: ${this.reason.message}`
  }
}

/** An error with what caused it: kept out of the serialised form, because a driver's error quotes data. */
export const fromCause = (reason: PgQueryErrorReason, cause: unknown): PgQueryError =>
  Object.defineProperty(new PgQueryError({ reason }), "cause", { value: cause, enumerable: false })

/**
 * Errors of PostgreSQL as the server meant them: the SQLSTATE and its fields, what kind of trouble it is, whether repeating may
 * help, and whether it is safe.
 *
 * `sql-pg` keeps what the server said but classifies only some of it, and this package wraps it again. Everything here takes any
 * of those errors, or none: `SqlError`, `PgTransportError`, `PgCopyError`, `PgTransactionError`, `PgQueryError`, a foreign
 * value. Nothing here fails or throws.
 */
import { Function } from "effect"
import type { Schedule } from "effect"
import { texts } from "./internal/driver.ts"
import * as Chain from "./internal/errors/chain.ts"
import * as Conditions from "./internal/errors/conditions.ts"
import * as Policy from "./internal/errors/policy.ts"
import * as Table from "./internal/errors/retry.ts"
import type { ServerFields } from "./internal/serverFields.ts"

/**
 * Where repeating may help (spec 11). `transaction`: the whole body, in a new transaction. `session`: the same on a new session.
 * It does not say that repeating is safe: that is `outcome`.
 */
export type Retry = Table.Retry

/**
 * How to repeat. `slow`: something is scarce, so with longer delays. `once`: a second failure of the kind is not worth a third
 * try.
 */
export type Pace = Table.Pace

/**
 * `notApplied`: the server answered with an error, or nothing was sent, or the session was lost before COMMIT was. `unknown`:
 * it may have been applied.
 */
export type Outcome = "notApplied" | "unknown"

/**
 * Who has to do something. The first that fits:
 *
 * - `transient`: nobody; `retry` is not `no`, or the outcome of something is unknown
 * - `security`: who grants rights: classes 28, 0L, 0P, code 42501, TLS and authentication
 * - `permanent`: who operates the server: disk full, limits, 08004, 08P01, a dropped database, classes 58, F0 and XX
 * - `upstream`: who runs what the server called: foreign data (HV) and external routines (38, 39)
 * - `client`: the author of the statement, its data or this program: everything else
 */
export type Category = Table.Category

/** What a 57014 was: a time limit, or somebody's cancel. `self`: this process asked for it. */
export type Cancellation =
  | { readonly _tag: "StatementTimeout" }
  | { readonly _tag: "Cancelled"; readonly by: "self" | "other" | "unknown" }

export type ConstraintKind = "not null" | "foreign key" | "unique" | "check" | "exclusion" | "restrict"

/** An error described. A field that is not known is undefined; without an answer of the server most are. */
export interface View {
  readonly sqlstate: string | undefined
  /** The first two characters of `sqlstate`. */
  readonly class: string | undefined
  /** PostgreSQL's name for `sqlstate`, such as `unique_violation`; undefined for a code of one's own. */
  readonly condition: string | undefined
  /** ERROR, FATAL or PANIC, in English whatever the server's language. */
  readonly severity: string | undefined
  /** What the server said, or else the error's own text. The server may quote data in it and in `detail`. */
  readonly message: string
  readonly detail: string | undefined
  readonly hint: string | undefined
  /** Where in the statement, in characters from 1. */
  readonly position: number | undefined
  readonly context: string | undefined
  readonly schema: string | undefined
  readonly table: string | undefined
  readonly column: string | undefined
  readonly constraint: string | undefined
  readonly dataType: string | undefined
  readonly category: Category
  readonly retry: Retry
  readonly pace: Pace
  readonly outcome: Outcome
  /** Set for 57014. */
  readonly cancellation: Cancellation | undefined
  /**
   * If there is no session (any more): how far it came. `connect`: it never began. `begin`, `body`, `commit`, `rollback`: of a
   * transaction. `ended`: the statement was started after its transaction had ended, and was not sent.
   */
  readonly phase: string | undefined
}

/**
 * Describes an error.
 *
 * - source: spec 11
 */
export const from = (error: unknown): View => {
  const chain = Chain.of(error)
  const sqlstate = first(chain, (node) => Chain.serverFields(node)?.code ?? Chain.statedSqlstate(node))
  const fields = first(chain, (node) => {
    const fields = Chain.serverFields(node)
    return fields?.code === sqlstate ? fields : undefined
  }) ?? {}
  const cancellation = sqlstate === "57014" ? cancellationOf(fields) : undefined
  const phase = phaseOf(chain)
  const retry = retryOf(chain, sqlstate, fields, cancellation, phase)
  const severity = fields.severityUnlocalized ?? fields.severity
  return {
    sqlstate,
    class: sqlstate?.slice(0, 2),
    condition: sqlstate === undefined ? undefined : Conditions.nameOf(sqlstate),
    severity,
    message: fields.message ?? first(chain, (node) => Chain.text(node, "message")) ?? String(error),
    detail: fields.detail,
    hint: fields.hint,
    position: fields.position === undefined ? undefined : Number(fields.position),
    context: fields.where,
    schema: fields.schema,
    table: fields.table,
    column: fields.column,
    constraint: fields.constraint,
    dataType: fields.dataType,
    category: categoryOf(chain, sqlstate, retry),
    retry,
    pace: sqlstate === undefined ? "normal" : Table.paceOf(sqlstate),
    outcome: outcomeOf(chain, sqlstate, severity, phase),
    cancellation,
    phase
  }
}

/**
 * Whether an error has this SQLSTATE (five characters) or is of this class (two), for instance
 * `Effect.catchIf(PgErrors.is("23505"), ...)`.
 */
export const is: {
  (codeOrClass: string): (error: unknown) => boolean
  (error: unknown, codeOrClass: string): boolean
} = Function.dual(2, (error: unknown, codeOrClass: string): boolean => {
  const view = from(error)
  return codeOrClass === (codeOrClass.length === 2 ? view.class : view.sqlstate)
})

/** Which kind of constraint was violated; undefined for any other error. Its name is `from(error).constraint`. */
export const constraintKind = (error: unknown): ConstraintKind | undefined =>
  constraintKinds.get(from(error).sqlstate ?? "")

/** Where repeating may help. Whether it is safe: `from(error).outcome`. */
export const retry = (error: unknown): Retry => from(error).retry

/** Whether a statement ran into `statement_timeout`. */
export const isStatementTimeout = (error: unknown): boolean => from(error).cancellation?._tag === "StatementTimeout"

/** Whether a statement was cancelled, by whomever. */
export const isCancelled = (error: unknown): boolean => from(error).cancellation?._tag === "Cancelled"

export type PolicyOptions = Policy.Options

/**
 * A schedule for `Effect.retry`: goes on while `retry` is not `no` and the outcome is `notApplied`, or the work was declared
 * `idempotent`. The delay doubles from `base` to `max`, is ten times as long where something is scarce (53000, 53200, 53300,
 * 55006, 55P03), and is jittered by 20 %. After a stale prepared statement (0A000, 26000) it allows one repetition. Its output
 * is how often the work has failed.
 *
 * What is repeated must be a whole unit of work: a transaction, or a statement outside one. A statement inside a transaction
 * cannot be repeated alone.
 *
 * - source: spec 10
 */
export const policy = (options: PolicyOptions = {}): Schedule.Schedule<number> => Policy.make(from, options)

const constraintKinds: ReadonlyMap<string, ConstraintKind> = new Map([
  ["23502", "not null"],
  ["23503", "foreign key"],
  ["23505", "unique"],
  ["23514", "check"],
  ["23P01", "exclusion"],
  ["23001", "restrict"]
])

const first = <A>(chain: ReadonlyArray<object>, f: (node: object) => A | undefined): A | undefined => {
  for (const node of chain) {
    const found = f(node)
    if (found !== undefined) return found
  }
  return undefined
}

const hasTag = (chain: ReadonlyArray<object>, ...tags: ReadonlyArray<string>): boolean =>
  chain.some((node) => tags.includes(Chain.text(node, "_tag") ?? ""))

const says = (chain: ReadonlyArray<object>, message: string): boolean =>
  chain.some((node) => Chain.text(node, "message") === message)

/** First match wins (spec 11). */
const cancellationOf = (fields: ServerFields): Cancellation => {
  const message = fields.message ?? ""
  // Only the client that copies can make its own COPY fail.
  if (fields.z === "self" || message.startsWith("COPY from stdin failed")) return { _tag: "Cancelled", by: "self" }
  if (message === "canceling statement due to statement timeout") return { _tag: "StatementTimeout" }
  if (message === "canceling statement due to user request") return { _tag: "Cancelled", by: "other" }
  if (fields.z === "timeout") return { _tag: "StatementTimeout" }
  return { _tag: "Cancelled", by: "unknown" }
}

const phaseOf = (chain: ReadonlyArray<object>): string | undefined =>
  first(chain, (node) => Chain.text(node, "_tag") === "SessionLost" ? Chain.text(node, "phase") : undefined) ??
    (says(chain, texts.transactionEnded) ? "ended" : undefined) ??
    (chain.some((node) => Chain.text(node, "operation") === "connect") ? "connect" : undefined)

const retryOf = (
  chain: ReadonlyArray<object>,
  sqlstate: string | undefined,
  fields: ServerFields,
  cancellation: Cancellation | undefined,
  phase: string | undefined
): Retry => {
  if (hasTag(chain, "CommitOutcomeUnknown")) return "no"
  // Not the session is lost but the transaction; whoever repeats the statement still has that transaction in his context.
  if (phase === "ended") return "no"
  if (cancellation !== undefined) return cancellation._tag === "StatementTimeout" ? "transaction" : "no"
  if (sqlstate === "0A000") return isStalePlan(fields) ? "transaction" : "no"
  if (sqlstate !== undefined) return Table.retryOf(sqlstate)
  if (hasTag(chain, "ConfigError", "TlsError", "AuthError", "ProtocolViolation", "Misuse")) return "no"
  return hasTag(chain, "SessionLost", "NoSession", "NoAnswer", "Unreachable", "ConnectionError") ? "session" : "no"
}

/** The routine is the same in every language. */
const isStalePlan = (fields: ServerFields): boolean =>
  fields.routine === "RevalidateCachedQuery" || fields.message === "cached plan must not change result type"

const categoryOf = (chain: ReadonlyArray<object>, sqlstate: string | undefined, retry: Retry): Category => {
  if (hasTag(chain, "CommitOutcomeUnknown")) return "transient"
  if (sqlstate !== undefined) return Table.categoryOf(sqlstate, retry)
  if (retry !== "no") return "transient"
  if (hasTag(chain, "TlsError", "AuthError", "AuthenticationError")) return "security"
  return hasTag(chain, "ProtocolViolation") ? "permanent" : "client"
}

const outcomeOf = (
  chain: ReadonlyArray<object>,
  sqlstate: string | undefined,
  severity: string | undefined,
  phase: string | undefined
): Outcome => {
  // An error of this package that knows says so itself.
  const stated = first(chain, (node) => Chain.text(node, "outcome"))
  if (stated === "notApplied" || stated === "unknown") return stated
  if (hasTag(chain, "CommitOutcomeUnknown")) return "unknown"
  if (phase !== undefined) return phase === "commit" ? "unknown" : "notApplied"
  if (sqlstate === "40003" || sqlstate === "08007") return "unknown"
  // Refused before there was a session, or given up before the server had everything.
  if (hasTag(chain, "ConfigError", "Unreachable", "TlsError", "AuthError", "Refused", "NoSession", "BadRow")) {
    return "notApplied"
  }
  if (sqlstate !== undefined) {
    // A code alone, without the server's fields: those that end a session are FATAL.
    const fatal = severity === undefined ? Table.retryOf(sqlstate) === "session" : severity !== "ERROR"
    return fatal ? "unknown" : "notApplied"
  }
  // The server rolled back in place of the COMMIT that the driver sent.
  if (chain.some((node) => Chain.text(node, "operation") === "commit")) return "notApplied"
  if (says(chain, texts.notEncoded)) return "notApplied"
  if (
    hasTag(chain, "Misuse") && !misusesThatRan.some((kind) => chain.some((node) => Chain.text(node, "kind") === kind))
  ) {
    return "notApplied"
  }
  return "unknown"
}

/** Of copying what is no COPY, and of a body that ended its transaction itself, the effects stand. */
const misusesThatRan = ["NotCopy", "TransactionNotActive"]

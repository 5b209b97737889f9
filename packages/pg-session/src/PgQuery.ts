/**
 * Single statements for ad-hoc work, and SQL files run statement by statement (spec 9).
 *
 * Each takes a statement of `sql` and runs it on the `PgClient` of the context, in the current transaction if there is one. On a
 * client with a `PgTransport` command tags are complete. A statement of another client is compiled by that one and runs here.
 */
import { Duration, Effect, Exit, Fiber, Option, Result } from "effect"
import {
  isMultiplexed,
  PgClient,
  type PgConnection,
  PgTypes,
  result,
  SqlClient,
  type SqlError,
  type Statement
} from "./internal/driver.ts"
import { finder, indexOfCharacter } from "./internal/script/position.ts"
import * as Splitter from "./internal/script/splitter.ts"
import * as Internals from "./internal/transport/internals.ts"
import * as PgErrors from "./PgErrors.ts"
import {
  fromCause,
  Misuse,
  NoAnswer,
  NoRows,
  type PgQueryError,
  ScriptFailed,
  ScriptRefused,
  TooManyRows
} from "./PgQueryError.ts"
import * as PgRow from "./PgRow.ts"
import * as PgTransaction from "./PgTransaction.ts"

export * from "./PgQueryError.ts"

export interface Options {
  /**
   * The statement may be repeated although it may have been applied: after a lost session, and otherwise as `PgErrors.policy`
   * says. Inside a transaction nothing is repeated. Default: no, and nothing is repeated.
   */
  readonly idempotent?: boolean | undefined
}

export interface Executed {
  /**
   * What the server said it did, such as `UPDATE 3` or `INSERT 0 2`. Of a statement without a count and without a `PgTransport`
   * only the first word, such as `CREATE`.
   */
  readonly tag: string
  /** The first word of the tag. */
  readonly verb: string
  /** How many rows were read or written; 0 for a statement that counts none. */
  readonly rows: number
}

export interface ScriptOptions {
  /**
   * - `single` (default): the whole script is one transaction, or a savepoint of the current one: all of it or nothing
   * - `each`: each statement is a transaction of its own. They need not share a session, so a SET does not last
   * - `none`: as the script says, on one session; for what cannot run in a transaction block, and for scripts with their own
   *   BEGIN and COMMIT. Inside a transaction the statements are a part of it
   */
  readonly transaction?: "single" | "none" | "each" | undefined
}

export interface ScriptStep {
  /** From 0. */
  readonly index: number
  /** Where the statement begins, from 1. */
  readonly line: number
  /** As in `Executed`. */
  readonly tag: string
}

/** What everything here comes to, but for a script. */
type Answer<A> = Effect.Effect<A, SqlError | PgQueryError, PgClient.PgClient>

/**
 * The rows of a statement. On a multiplexed client, outside a transaction, use it for reading only: what is interrupted there is
 * not cancelled.
 *
 * - errors: `SqlError`; `Misuse` of kind `Copy` or `IllFormedText`, with nothing sent
 */
export const query = (
  statement: Statement.Statement<unknown>,
  options: Options = {}
): Answer<ReadonlyArray<PgRow.PgRow>> =>
  prepare(statement, options, (call) => Effect.map(rawOf(call), PgRow.fromResult))

/**
 * The one row of a statement.
 *
 * - errors: as `query`; `NoRows` (02000), `TooManyRows` (21000). What the statement did stands all the same
 */
export const queryOne = (statement: Statement.Statement<unknown>, options: Options = {}): Answer<PgRow.PgRow> =>
  Effect.flatMap(
    queryOption(statement, options),
    (row) => Effect.fromResult(Result.fromOption(row, () => fromCause(new NoRows(), undefined)))
  )

/**
 * The row of a statement, if there is one.
 *
 * - errors: as `query`; `TooManyRows` (21000). What the statement did stands all the same
 */
export const queryOption = (
  statement: Statement.Statement<unknown>,
  options: Options = {}
): Answer<Option.Option<PgRow.PgRow>> =>
  Effect.flatMap(query(statement, options), (rows) =>
    rows.length > 1
      ? Effect.fail(fromCause(new TooManyRows({ rows: rows.length }), undefined))
      : Effect.succeed(Option.fromUndefinedOr(rows[0])))

/**
 * Runs a statement for what it does.
 *
 * - errors: as `query`; `Misuse` of kind `Multiplexed` on a multiplexed client outside a transaction
 */
export const execute = (statement: Statement.Statement<unknown>, options: Options = {}): Answer<Executed> =>
  prepare(statement, options, (call) =>
    isMultiplexed(call.client) && !call.inTransaction
      ? misuse("Multiplexed", "an interruption would not cancel this statement and it may commit; use a transaction")
      : counting.has(Splitter.firstWord(call.text))
      ? Effect.map(rawOf(call), executedOf)
      : tagged(call))

/**
 * How long a trivial query takes to be answered, the time to get a connection left out of the result but not of `timeout`
 * (default: 5 seconds).
 *
 * - errors: `SqlError`; `NoAnswer` at once when the time is over. The connection is given up in the background
 */
export const ping = (timeout: Duration.Input = "5 seconds"): Answer<Duration.Duration> =>
  Effect.uninterruptibleMask(Effect.fnUntraced(function*(restore) {
    const client = yield* PgClient.PgClient
    const open = yield* Effect.serviceOption(client.transactionService)
    const connection = Option.isSome(open) ? Effect.succeed(open.value[0]) : client.reserve
    const ping = Effect.scoped(
      Effect.flatMap(connection, (connection) => Effect.timed(connection.executeValues("select 1", [])))
    )
    // Trap: a timeout awaits what it interrupts, and the driver tries for 5 seconds to cancel what a silent server does.
    const fiber = yield* Effect.forkDetach(Effect.interruptible(ping), { startImmediately: true })
    const answer = Effect.timeoutOrElse(Fiber.join(fiber), {
      duration: timeout,
      orElse: () =>
        Effect.suspend(() => {
          fiber.interruptUnsafe()
          return Effect.fail(
            fromCause(new NoAnswer({ millis: Duration.toMillis(timeout) }), undefined)
          )
        })
    })
    // Trap: around the timeout, which would else wait for its fibers without being interruptible itself.
    const [duration] = yield* Effect.onInterrupt(restore(answer), () => Fiber.interrupt(fiber))
    return duration
  }))

/**
 * Runs the text of a SQL file, one statement after the other, each sent by itself and unprepared (prepared without a
 * `PgTransport`, which alone can tell the tag of an unprepared one). What the rows would be is not given back.
 *
 * The text is checked before anything runs. Refused: commands of psql, COPY from or to the client, an unterminated quote or
 * comment, a script of several transactions for `single` and `each`, and one that leaves a transaction open.
 *
 * Strings are read as with `standard_conforming_strings` on, PostgreSQL's default: on a session where it is off, as by an ALTER
 * ROLE, a backslash before a quote would end a statement elsewhere. A SET of it to anything else is refused.
 *
 * A SET lasts as long as the pooled session on which it ran, also after the script: SET LOCAL does not.
 *
 * - errors: `ScriptRefused`; `Misuse` of kind `TransactionOpen`; `ScriptFailed` with the place; of BEGIN and COMMIT those of
 *   `PgTransaction.withTransaction`
 */
export const script = (
  text: string,
  options: ScriptOptions = {}
): Effect.Effect<
  ReadonlyArray<ScriptStep>,
  SqlError | PgQueryError | PgTransaction.PgTransactionError,
  PgClient.PgClient
> =>
  Effect.gen(function*() {
    const mode = options.transaction ?? "single"
    const client = yield* PgClient.PgClient
    const transaction = yield* Effect.serviceOption(client.transactionService)
    const statements = yield* Effect.fromResult(Result.mapError(
      Result.flatMap(Splitter.split(text), (statements) => checkTransactions(statements, mode)),
      (refusal) => fromCause(new ScriptRefused(refusal), undefined)
    ))
    const transport = Internals.ofClient(client)
    const find = finder(text)
    const step = (statement: Splitter.Statement) =>
      Effect.mapBoth(tagged({ client, transport, text: statement.text, params: [], inTransaction: true }), {
        onFailure: (error) => scriptFailed(statement, mode, find, error),
        onSuccess: ({ tag }): ScriptStep => ({ index: statement.index, line: statement.line, tag })
      })
    const all = Effect.forEach(statements, step)
    if (mode !== "none") {
      const run = mode === "single"
        ? PgTransaction.withTransaction({}, all)
        : Effect.forEach(statements, (statement) => PgTransaction.withTransaction({}, step(statement)))
      return yield* Effect.provideService(run, SqlClient.SqlClient, client)
    }
    const ownTransactions = statements.some(({ words }) => Splitter.transactionControl(words) !== undefined)
    if (Option.isSome(transaction)) {
      if (ownTransactions) {
        return yield* misuse("TransactionOpen", "the script would end the transaction in which it runs")
      }
      return yield* all
    }
    return yield* Effect.scoped(Effect.flatMap(client.reserve, (connection) => {
      const run = Effect.provideService(all, client.transactionService, [connection, 0])
      // The session goes back to the pool, and what the script began must not go with it.
      const rollback = Effect.ignore(
        Effect.timeout(connection.executeUnprepared("ROLLBACK", [], undefined), "30 seconds")
      )
      return ownTransactions
        ? Effect.onExit(run, (exit) => Exit.isSuccess(exit) ? Effect.void : rollback)
        : run
    }))
  })

/** A statement on its way, and where it runs. */
interface Call {
  readonly client: PgClient.PgClient
  /** The client's own; undefined for a plain client. */
  readonly transport: Internals.Internals | undefined
  readonly text: string
  readonly params: ReadonlyArray<unknown>
  readonly inTransaction: boolean
}

const misuse = (kind: Misuse["kind"], problem: string) =>
  Effect.fail(fromCause(new Misuse({ kind, problem }), undefined))

const prepare = <A>(
  statement: Statement.Statement<unknown>,
  options: Options,
  run: (call: Call) => Effect.Effect<A, SqlError | PgQueryError>
): Answer<A> =>
  Effect.gen(function*() {
    const client = yield* PgClient.PgClient
    const transport = Internals.ofClient(client)
    const inTransaction = Option.isSome(yield* Effect.serviceOption(client.transactionService))
    const [text, params] = statement.compile()
    if (!text.isWellFormed() || params.some(isIllFormed)) {
      return yield* misuse("IllFormedText", "a text has half of a surrogate pair, which UTF-8 cannot express")
    }
    // With a transport the server is asked: it says 0A000 and the session stays.
    if (transport === undefined && mayCopy.test(text) && Splitter.copiesHere(text)) {
      return yield* misuse("Copy", "COPY from or to the client needs a PgTransport; use PgCopy on its client")
    }
    const effect = run({ client, transport, text, params, inTransaction })
    return yield* options.idempotent === true && !inTransaction
      ? Effect.retry(effect, PgErrors.policy({ idempotent: true }))
      : effect
  })

const mayCopy = /copy/i

/** The driver would send something else in its place, without a word. */
const isIllFormed = (value: unknown): boolean =>
  typeof value === "string"
    ? !value.isWellFormed()
    : PgTypes.isParameter(value)
    ? isIllFormed(value.value)
    : Array.isArray(value) && value.some(isIllFormed)

const rawOf = ({ client, params, text }: Call) => result(client.unsafe(text, params))

/** The first words of statements whose tag is a word and a count, which the driver tells. */
const counting = new Set(["SELECT", "VALUES", "TABLE", "WITH", "INSERT", "UPDATE", "DELETE", "MERGE", "FETCH", "MOVE"])

/** The tag as the server wrote it, put together again from what the driver leaves of it. */
const executedOf = ({ command, oid, rowCount }: PgConnection.Result): Executed => ({
  tag: command === "INSERT"
    ? `INSERT ${oid ?? 0} ${rowCount}`
    : hasCount.has(command)
    ? `${command} ${rowCount}`
    : command,
  verb: command,
  rows: rowCount
})

const hasCount = new Set(["SELECT", "UPDATE", "DELETE", "MERGE", "FETCH", "MOVE", "COPY"])

const tagged = (call: Call) =>
  call.transport === undefined
    ? Effect.map(rawOf(call), executedOf)
    : marked(call, call.transport)

const marked = ({ client, params, text }: Call, transport: Internals.Internals): Effect.Effect<Executed, SqlError> =>
  Effect.suspend(() => {
    let said: string | undefined
    const mark = transport.mark({
      onSession: () => {},
      // Told before the driver gets the answer.
      onReady: ({ tag }) => {
        said = tag
      },
      onLost: () => {}
    })
    return client.unsafe(mark.comment + text, params).valuesUnprepared.pipe(
      Effect.map(() => {
        // A transformer of statements may have put something before the mark.
        const tag = said ?? Splitter.firstWord(text)
        const count = /^(?:INSERT \d+|[A-Z]+) (\d+)$/.exec(tag)?.[1]
        return { tag, verb: tag.split(" ", 1)[0] ?? "", rows: Number(count ?? 0) }
      }),
      Effect.ensuring(Effect.sync(mark.withdraw))
    )
  })

const checkTransactions = (
  statements: ReadonlyArray<Splitter.Statement>,
  mode: "single" | "none" | "each"
): Result.Result<ReadonlyArray<Splitter.Statement>, Splitter.Refusal> => {
  let begun: Splitter.Statement | undefined
  for (const statement of statements) {
    const control = Splitter.transactionControl(statement.words)
    if (control === undefined) continue
    if (mode !== "none") {
      const { column, line, words } = statement
      return Result.fail({ line, column, problem: `${words[0]} would end or split the transaction; use \`none\`` })
    }
    begun = control === "end" ? undefined : begun ?? statement
  }
  return begun === undefined
    ? Result.succeed(statements)
    : Result.fail({ line: begun.line, column: begun.column, problem: "the transaction begun here is not ended" })
}

const scriptFailed = (
  statement: Splitter.Statement,
  mode: "single" | "none" | "each",
  find: ReturnType<typeof finder>,
  error: SqlError
): PgQueryError => {
  const { outcome, position, sqlstate } = PgErrors.from(error)
  const at = position === undefined ? 0 : indexOfCharacter(statement.text, position)
  return fromCause(
    new ScriptFailed({
      ...find(statement.offset + at),
      index: statement.index,
      statement: Splitter.beginning(statement.text),
      ...(sqlstate !== undefined && { sqlstate }),
      // Without its COMMIT nothing of a transaction is applied, however the session ended.
      outcome: mode === "single" ? "notApplied" : statement.index === 0 ? outcome : "unknown"
    }),
    error
  )
}

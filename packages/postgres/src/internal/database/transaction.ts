/**
 * Transactions of several statements, and COPY in them: for what does not fit into one call of a routine, an import or an
 * export of a whole store. Routines that run in a transaction are part of it.
 */
import type { PgTypes } from "@effect/sql-pg"
import { PgClient } from "@effect/sql-pg"
import { PgCopy, PgTransaction } from "@restante/pg-session"
import type { Scope, Semaphore } from "effect"
import { Context, Data, Duration, Effect, Option, Stream } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import type { SqlError } from "effect/sql/SqlError"
import { MsgStoreError } from "restante"
import { RoutineFailure } from "./failure.ts"
import * as Reason from "./reason.ts"
import type { SchemaName } from "./schemaName.ts"
import { within } from "./within.ts"

/** An open transaction. It has a connection to itself, and one place among the calls that may be under way. */
export interface Transaction {
  /** It is nested in one of the caller's. */
  readonly isNested: boolean
  /** Runs in the transaction. `otherwise` says what to do if its session is lost. */
  readonly run: <A, E, R, E2>(
    effect: Effect.Effect<A, E, R>,
    otherwise: (failure: RoutineFailure) => Effect.Effect<never, E2>
  ) => Effect.Effect<A, E | E2, R>
  /** Fails with `OutcomeUnknown` if the answer is lost; in every other case of failure nothing is applied. */
  readonly commit: Effect.Effect<void, RoutineFailure>
}

/** The client's connections go through no `PgTransport`, so there is no COPY. Nothing was sent. */
class NoCopy extends Data.TaggedError("NoCopy")<{}> {}

/** A table of the installation, or one that lives as long as the transaction. */
export interface Table {
  readonly name: string
  readonly isTemporary: boolean
}

export interface Transactions {
  /**
   * Begins a transaction, in one of the caller's if there is one, and there with the options of that. Waits for its turn and
   * a connection as a call does: interruptibly and not for ever. Rolled back with the scope unless it was committed.
   */
  readonly begin: (
    options: PgTransaction.Options
  ) => Effect.Effect<Transaction, RoutineFailure, Scope.Scope>
  /** Begins a transaction of its own whatever the caller is in. */
  readonly beginApart: Transactions["begin"]
  /** Does it by COPY, or the other way if there is no COPY, which is known once it was tried. */
  readonly byCopyOr: <A>(
    copy: Effect.Effect<A, RoutineFailure | NoCopy>,
    other: () => Effect.Effect<A, RoutineFailure>
  ) => Effect.Effect<A, RoutineFailure>
  /** Copies rows in COPY's binary format, made piece by piece, into columns of a table, in a transaction. */
  readonly copyIn: (
    table: Table,
    columns: ReadonlyArray<string>,
    rows: Iterable<Uint8Array>
  ) => Effect.Effect<void, RoutineFailure | NoCopy>
  /** The same by way of arrays, one for each column. */
  readonly insert: (
    table: Table,
    columns: ReadonlyArray<string>,
    values: ReadonlyArray<PgTypes.Parameter>
  ) => Effect.Effect<void, RoutineFailure>
  /** The rows of a query in COPY's binary format, in the pieces in which they came, in a transaction. */
  readonly copyOut: (query: string) => Effect.Effect<ReadonlyArray<Uint8Array>, RoutineFailure | NoCopy>
}

const ofTransaction = (cause: SqlError | PgTransaction.PgTransactionError) =>
  new RoutineFailure({ reason: Reason.ofTransactionError(cause), cause })

const ofCopy = (error: PgCopy.PgCopyError): RoutineFailure | NoCopy =>
  error.reason._tag === "Misuse" && error.reason.kind === "NoTransport"
    ? new NoCopy()
    : new RoutineFailure({ reason: Reason.ofCopyError(error), cause: error })

const unavailable = (problem: string) =>
  new RoutineFailure({ reason: new MsgStoreError.Unavailable(), cause: new Error(problem) })

export const make = (
  sql: PgClient.PgClient,
  options: {
    readonly schema: SchemaName
    readonly permits: Semaphore.Semaphore
    readonly acquireTimeout: Duration.Duration
    readonly answerTimeout: Duration.Duration
  }
): Transactions => {
  const late = unavailable(`no connection within ${Duration.format(options.acquireTimeout)}`)
  // What a transaction has done goes with its session, so nothing is applied.
  const silent = unavailable(`the server gave no answer within ${Duration.format(options.answerTimeout)}`)

  const begin: Transactions["begin"] = (settings) =>
    Effect.withFiber((fiber) => {
      const isNested = Option.isSome(Context.getOption(fiber.context, sql.transactionService))
      const begun = Effect.gen(function*() {
        // Trap: inside the caller's transaction there is a connection already. Waiting for another could wait for somebody
        // who waits for that one.
        if (!isNested) yield* options.permits.takeScoped(1)
        const handle = yield* Effect.mapError(
          PgTransaction.begin(isNested ? {} : { controlTimeout: options.answerTimeout, ...settings }),
          ofTransaction
        )
        let committed = false
        yield* Effect.addFinalizer(() => committed ? Effect.void : Effect.ignore(handle.rollback()))
        const transaction: Transaction = {
          isNested,
          run: (effect, otherwise) =>
            Effect.suspend(() => {
              let own: unknown
              return Effect.catchIf(
                handle.run(Effect.tapError(effect, (error) => Effect.sync(() => void (own = error)))),
                (error): error is PgTransaction.PgTransactionError =>
                  error instanceof PgTransaction.PgTransactionError && error !== own,
                (error) => otherwise(ofTransaction(error))
              )
            }),
          commit: Effect.suspend(() => {
            committed = true
            return Effect.mapError(Effect.asVoid(handle.commit()), ofTransaction)
          })
        }
        return transaction
      })
      return within(Effect.provideService(begun, SqlClient, sql), options.acquireTimeout, late)
    })

  /** What was sent is awaited: a COPY that is cut off would leave the session busy when the transaction ends. */
  const copied = <A, E>(copy: Effect.Effect<A, E, PgClient.PgClient>): Effect.Effect<A, E | RoutineFailure> =>
    Effect.uninterruptible(within(Effect.provideService(copy, PgClient.PgClient, sql), options.answerTimeout, silent))

  let copies = true

  return {
    begin,
    byCopyOr: (copy, other) =>
      Effect.suspend(() =>
        copies
          ? Effect.catchTag(copy, "NoCopy", () => {
            copies = false
            return other()
          })
          : other()
      ),
    beginApart: (settings) =>
      Effect.updateContext(
        begin(settings),
        (context: Context.Context<Scope.Scope>) => Context.omit(sql.transactionService)(context)
      ),
    copyIn: (table, columns, rows) =>
      Effect.asVoid(copied(Effect.mapError(
        PgCopy.copyIn(
          { schema: table.isTemporary ? "pg_temp" : options.schema.name, table: table.name, columns },
          Stream.fromIterable(rows, { chunkSize: 1 }),
          { format: "binary" }
        ),
        ofCopy
      ))),
    insert: (table, columns, values) => {
      const places = values.map((_, i) => `$${i + 1}`).join(", ")
      const statement = sql.unsafe(
        `insert into ${table.isTemporary ? "pg_temp" : options.schema.quoted}.${table.name} (${
          columns.join(", ")
        }) select * from unnest(${places})`,
        values
      ).withoutTransform
      return Effect.asVoid(Effect.uninterruptible(within(
        Effect.mapError(statement, (cause) => new RoutineFailure({ reason: Reason.ofSqlError(cause, "read"), cause })),
        options.answerTimeout,
        silent
      )))
    },
    copyOut: (query) =>
      copied(Effect.mapError(
        // COPY takes no parameters, so an id may be in its text, and a span has the text (rule 2.3).
        Effect.withTracerEnabled(Stream.runCollect(PgCopy.copyOut({ query }, { format: "binary" })), false),
        ofCopy
      ))
  }
}

/**
 * The only way to the database: one call of one stored function, which is one statement and therefore atomic.
 *
 * Interruption lives here and nowhere else. Waiting for a connection is interruptible and leaves no trace. Once the
 * statement is sent it is awaited uninterruptibly, so the caller's interruption is seen after the answer and the
 * connection goes back to the pool clean. The wait is bounded: by `statement_timeout` and `lock_timeout` in the server, and
 * by a limit here for a server that is silent.
 */
import type { PgClient } from "@effect/sql-pg"
import { Context, Duration, Effect, Option, Result, Schema, Semaphore } from "effect"
import { isSqlError, type SqlError } from "effect/sql/SqlError"
import { ParentSpan } from "effect/Tracer"
import { MsgStoreError } from "restante"
import { RoutineFailure } from "./failure.ts"
import * as Reason from "./reason.ts"
import type { SchemaName } from "./schemaName.ts"
import * as Transaction from "./transaction.ts"
import { within } from "./within.ts"

export { RoutineFailure } from "./failure.ts"

export interface Options {
  readonly schema: SchemaName
  /** How many statements may be under way at once; the rest wait here, where waiting can be interrupted. */
  readonly concurrency: number
  readonly acquireTimeout: Duration.Duration
  /** How long to wait for the answer to one statement. */
  readonly answerTimeout: Duration.Duration
}

/** A stored function: its parameters as SQL types, and the shape of the rows it answers. */
interface Signature<Row> {
  readonly kind: Reason.Kind
  readonly parameters: ReadonlyArray<string>
  /** Or a function that answers `undefined` for what is no such row. */
  readonly row: Schema.Codec<Row, unknown> | ((row: unknown) => Row | undefined)
}

type Routine<Row> = (...parameters: ReadonlyArray<unknown>) => Effect.Effect<ReadonlyArray<Row>, RoutineFailure>

export interface Database extends Transaction.Transactions {
  readonly schema: SchemaName
  readonly routine: <Row>(name: string, signature: Signature<Row>) => Routine<Row>
  /** Waits interruptibly for a connection, then runs an effect to the end whose calls of routines all go there. */
  readonly connected: <A, E>(effect: Effect.Effect<A, E>) => Effect.Effect<A, E | RoutineFailure>
  /** Whether calls of routines are part of a transaction of the caller's. */
  readonly isInTransaction: (context: Context.Context<never>) => boolean
  /** A context for calls of nobody's in particular: without the transaction and the span of whoever made it. */
  readonly outside: (context: Context.Context<never>) => Context.Context<never>
}

/** A connection that was taken for calls of routines, which are statements by themselves there. */
const Taken = Context.Reference<boolean>("restante/database/Taken", { defaultValue: () => false })

const unavailable = (cause: unknown) => new RoutineFailure({ reason: new MsgStoreError.Unavailable(), cause })

const decoder = <Row>(
  row: Signature<Row>["row"]
): (rows: ReadonlyArray<unknown>) => Result.Result<ReadonlyArray<Row>, unknown> => {
  if (Schema.isSchema(row)) return Schema.decodeUnknownResult(Schema.Array(row))
  return (rows) => {
    const read: Array<Row> = []
    for (const each of rows) {
      const answer = row(each)
      if (answer === undefined) return Result.fail(new Error("a row of another shape"))
      read.push(answer)
    }
    return Result.succeed(read)
  }
}

/** How often a statement is repeated that the server ended because of a conflict (spec 6.4). */
const conflictRetries = 3

export const make = (sql: PgClient.PgClient, options: Options): Database => {
  // First come, first served; the pool alone would let a caller that has just finished pass those who wait.
  const permits = Semaphore.makeUnsafe(options.concurrency)

  /** A connection for the scope. Whatever goes wrong here, nothing has been sent. */
  const connection = within(
    Effect.mapError(Effect.andThen(permits.takeScoped(1), sql.reserve), unavailable),
    options.acquireTimeout,
    unavailable(new Error(`no connection within ${Duration.format(options.acquireTimeout)}`))
  )

  /** Waits interruptibly for a connection, then runs the statement on it to the end. */
  const inTurn = <A, E>(statement: Effect.Effect<A, E>): Effect.Effect<A, E | RoutineFailure> =>
    Effect.scoped(Effect.uninterruptibleMask((restore) =>
      Effect.flatMap(
        restore(connection),
        (connection) => Effect.provideService(statement, sql.transactionService, [connection, 0])
      )
    ))

  const isInTransaction: Database["isInTransaction"] = (context) =>
    Option.isSome(Context.getOption(context, sql.transactionService))

  const repeatOnConflict = <A, E>(
    statement: Effect.Effect<A, E | SqlError>,
    left: number
  ): Effect.Effect<A, E | SqlError> =>
    Effect.catchIf(
      statement,
      (error): error is SqlError => left > 0 && isSqlError(error) && Reason.isConflict(error),
      () => repeatOnConflict(statement, left - 1)
    )

  const routine: Database["routine"] = (name, { kind, parameters, row }) => {
    const types = parameters.map((type, i) => `$${i + 1}::${type}`).join(", ")
    const text = `select * from ${options.schema.quoted}.${name}(${types})`
    const decode = decoder(row)
    const silent = new RoutineFailure({
      reason: Reason.lost(kind),
      cause: new Error(`the server gave no answer within ${Duration.format(options.answerTimeout)}`)
    })
    return (...values) => {
      const statement = within(sql.unsafe(text, values).withoutTransform, options.answerTimeout, silent)
      return Effect.withFiber((fiber) =>
        // Trap: a statement inside the caller's transaction has its connection already. Waiting for another could wait
        // for somebody who waits for that one. A conflict there ends the whole transaction, so repeating the statement
        // is pointless.
        !isInTransaction(fiber.context)
          ? inTurn(repeatOnConflict(statement, conflictRetries))
          : Effect.uninterruptible(
            Context.get(fiber.context, Taken) ? repeatOnConflict(statement, conflictRetries) : statement
          )
      ).pipe(
        Effect.catchTag(
          "SqlError",
          (error) => Effect.fail(new RoutineFailure({ reason: Reason.ofSqlError(error, kind), cause: error }))
        ),
        Effect.flatMap((rows) =>
          Effect.fromResult(
            Result.mapError(decode(rows), (cause) => new RoutineFailure({ reason: new MsgStoreError.Corrupt(), cause }))
          )
        )
      )
    }
  }
  return {
    schema: options.schema,
    routine,
    connected: (effect) => inTurn(Effect.provideService(effect, Taken, true)),
    isInTransaction,
    outside: Context.omit(sql.transactionService, ParentSpan),
    ...Transaction.make(sql, { ...options, permits })
  }
}

/**
 * The only way to the database: one call of one stored function, which is one statement and therefore atomic.
 *
 * Interruption lives here and nowhere else. Waiting for a connection is interruptible and leaves no trace. Once the
 * statement is sent it is awaited uninterruptibly, so the caller's interruption is seen after the answer and the
 * connection goes back to the pool clean. The wait is bounded: by `statement_timeout` and `lock_timeout` in the server, and
 * by a limit here for a server that is silent.
 */
import type { PgClient } from "@effect/sql-pg"
import { Context, Data, Duration, Effect, Option, Result, Schema, Semaphore } from "effect"
import { isSqlError, type SqlError } from "effect/sql/SqlError"
import { MsgStoreError } from "restante"
import * as Reason from "./reason.ts"
import type { SchemaName } from "./schemaName.ts"

/** A call of a routine failed. The store that made it wraps the reason in its own error. */
export class RoutineFailure extends Data.TaggedError("RoutineFailure")<{
  readonly reason: MsgStoreError.MsgStoreErrorReason
  readonly cause: unknown
}> {}

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
  readonly row: Schema.Codec<Row, unknown>
}

type Routine<Row> = (...parameters: ReadonlyArray<unknown>) => Effect.Effect<ReadonlyArray<Row>, RoutineFailure>

export interface Database {
  readonly routine: <Row>(name: string, signature: Signature<Row>) => Routine<Row>
}

/** How often a statement is repeated that the server ended because of a conflict (spec 6.4). */
const conflictRetries = 3

export const make = (sql: PgClient.PgClient, options: Options): Database => {
  const permits = Semaphore.makeUnsafe(options.concurrency)
  const noPermit = new RoutineFailure({
    reason: new MsgStoreError.Unavailable(),
    cause: new Error(`no connection became free within ${Duration.format(options.acquireTimeout)}`)
  })
  const waitForPermit = Effect.timeoutOrElse(permits.takeScoped(1), {
    duration: options.acquireTimeout,
    orElse: () => Effect.fail(noPermit)
  })

  /** Waits interruptibly for its turn, then runs to the end. */
  const inTurn = <A, E>(statement: Effect.Effect<A, E>): Effect.Effect<A, E | RoutineFailure> =>
    Effect.uninterruptibleMask((restore) =>
      Effect.flatMap(permits.takeIfAvailable(1), (taken) =>
        taken
          ? Effect.ensuring(statement, permits.release(1))
          // Trap: a plain `take` can be interrupted after it got the permit and before anybody knows; the scope knows.
          : Effect.scoped(Effect.flatMap(restore(waitForPermit), () => statement)))
    )

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
    const decode = Schema.decodeUnknownResult(Schema.Array(row))
    const silent = new RoutineFailure({
      reason: Reason.lost(kind),
      cause: new Error(`the server gave no answer within ${Duration.format(options.answerTimeout)}`)
    })
    return (...values) => {
      const statement = Effect.timeoutOrElse(sql.unsafe(text, values).withoutTransform, {
        duration: options.answerTimeout,
        orElse: () => Effect.fail(silent)
      })
      return Effect.withFiber((fiber) =>
        // Trap: a statement inside the caller's transaction has its connection already. Waiting for a permit could
        // wait for somebody who waits for that connection. A conflict there ends the whole transaction, so repeating
        // the statement is pointless.
        Option.isSome(Context.getOption(fiber.context, sql.transactionService))
          ? Effect.uninterruptible(statement)
          : inTurn(repeatOnConflict(statement, conflictRetries))
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
  return { routine }
}

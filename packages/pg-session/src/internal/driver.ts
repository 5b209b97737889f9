/**
 * The one place that touches `@effect/sql-pg` and `effect/sql`. Both are declared unstable; an upgrade is a review of this
 * file (rule R1). Everything here is their public API; nothing is reached by a private name.
 */
import type { PgConnection } from "@effect/sql-pg"
import { Effect, Predicate } from "effect"
import * as SqlClient from "effect/sql/SqlClient"
import type { SqlError } from "effect/sql/SqlError"
import * as Statement from "effect/sql/Statement"

export { PgClient, PgConnection, PgTypes } from "@effect/sql-pg"
export type { Connection } from "effect/sql/SqlConnection"
export { ConnectionError, isSqlError, SqlError } from "effect/sql/SqlError"
export { SqlClient, Statement }

/** The statement that begins a transaction, in place of `BEGIN`. It is sent unprepared. */
export const BeginTransaction = SqlClient.BeginTransaction

/**
 * What the driver says when nothing but the text tells what happened. Upgrading, compare them with `PgConnection`; without a
 * match an outcome counts as unknown.
 */
export const texts = {
  /** A parameter could not be encoded, so nothing was sent. */
  notEncoded: "PgConnection: Failed to encode query",
  /** The transaction that the statement was meant for is over, so nothing was sent. */
  transactionEnded: "PgConnection: Pinned connection was released"
}

/**
 * Whether the statements of this client that are outside a transaction share connections: an interruption does not cancel
 * them, and they may commit.
 */
export const isMultiplexed = (client: SqlClient.SqlClient): boolean =>
  Predicate.hasProperty(client, "config") && Predicate.hasProperty(client.config, "multiplex") &&
  client.config.multiplex === true

const isResult = (value: unknown): value is PgConnection.Result =>
  Predicate.hasProperty(value, "fields") && Predicate.hasProperty(value, "rows") &&
  Predicate.hasProperty(value, "command")

/** A statement of a `PgClient` with all that the driver knows of its result. Names are the server's. */
export const result = (statement: Statement.Statement<unknown>): Effect.Effect<PgConnection.Result, SqlError> =>
  Effect.flatMap(
    statement.raw,
    (raw) => isResult(raw) ? Effect.succeed(raw) : Effect.die(new Error("the client is not one of @effect/sql-pg"))
  )

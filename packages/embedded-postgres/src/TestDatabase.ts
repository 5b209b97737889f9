/**
 * A database of its own for every test file: cloned from a template that was migrated once.
 *
 * `template` makes the template, `clone` a copy for a scope, `layer` does both. The role of the URL needs CREATEDB.
 */
import { PgClient } from "@effect/sql-pg"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import * as Reactivity from "effect/reactivity/Reactivity"
import type * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import type { SqlError } from "effect/sql/SqlError"
import { randomBytes } from "node:crypto"
import { withDatabase } from "./internal/connection-url.ts"
import { databaseName, quoted } from "./internal/database-name.ts"
import { until } from "./internal/patience.ts"
import { PostgresServer } from "./PostgresServer.ts"

/** A database that exists until its scope closes. */
export class TestDatabase extends Context.Service<TestDatabase, {
  readonly name: string
  readonly url: Redacted.Redacted
}>()("restante/TestDatabase") {}

export interface TemplateOptions<E, R> {
  /** What the template is for. With `key` it names the database; what does not fit into 63 bytes becomes a hash. */
  readonly name: string
  /** Changes when what `prepare` does changes, for example a hash of the migrations. */
  readonly key: string
  /** Fills the empty database, and leaves no connection to it open when it succeeds. */
  readonly prepare: (url: Redacted.Redacted) => Effect.Effect<unknown, E, R>
}

const connect = (url: Redacted.Redacted): Effect.Effect<PgClient.PgClient, SqlError, Scope.Scope> =>
  Effect.provide(PgClient.makeClient({ url, applicationName: "restante-test-database" }), Reactivity.layer)

const hasCode = (error: SqlError, code: string): boolean =>
  Predicate.hasProperty(error.reason.cause, "code") && error.reason.cause.code === code

// 55006: a session, such as an autovacuum worker or a backend that is just ending, is in a database that must be free.
const whenFree = <A>(statement: Effect.Effect<A, SqlError>): Effect.Effect<A, SqlError> =>
  Effect.flatMap(
    until(
      statement.pipe(
        Effect.map(Option.some),
        Effect.catchIf((error) => hasCode(error, "55006"), () => Effect.succeed(Option.none()))
      ),
      { every: 20, within: 30_000 }
    ),
    Option.match({ onNone: () => statement, onSome: Effect.succeed })
  )

/**
 * Makes sure that the template exists and gives the name of its database. `prepare` runs once per server, however many
 * processes and fibers ask at the same time; the others wait for it. If it fails or is interrupted, the database is
 * dropped and the next caller tries again. Nobody can connect to a finished template, so it can always be cloned.
 *
 * Templates stay on the server. An embedded server takes them along when it goes.
 *
 * - `server`: the URL of a maintenance database on the server, such as `PostgresServer.url`
 * - errors: those of `prepare`, `SqlError`
 */
export const template = Effect.fnUntraced(function*<E, R>(
  options: TemplateOptions<E, R> & { readonly server: Redacted.Redacted }
): Effect.fn.Return<string, E | SqlError, R> {
  const { server } = options
  const database = databaseName(`${options.name}_${options.key}`)
  return yield* Effect.scoped(Effect.gen(function*() {
    const sql = yield* connect(server)
    // Held by the session: it goes with the connection, also if this process dies.
    yield* sql`select pg_advisory_lock(hashtextextended(${`restante-template ${database}`}, 0))`
    const [found] = yield* sql<{ readonly finished: boolean }>`
      select datistemplate as finished from pg_database where datname = ${database}`
    if (found?.finished === true) return database

    // We hold the lock, so an unfinished one is what a dead process left.
    const drop = sql.unsafe(`drop database if exists ${quoted(database)} with (force)`)
    yield* drop
    yield* whenFree(sql.unsafe(`create database ${quoted(database)} template template0`))
    yield* Effect.gen(function*() {
      yield* options.prepare(withDatabase(server, database))
      // Both flags in one statement: `is_template` says to everybody that the template is finished.
      yield* sql.unsafe(`alter database ${quoted(database)} with is_template true allow_connections false`)
      yield* sql`select pg_terminate_backend(pid) from pg_stat_activity where datname = ${database}`
    }).pipe(Effect.onError(() => Effect.ignore(drop)))
    return database
  }))
})

/**
 * A copy of the template for as long as the scope is open. Then it is dropped, with the sessions still in it; if the
 * server cannot be reached any more, nothing is done about it. Copies may be made concurrently, by many processes.
 *
 * - errors: `SqlError`, for example if there is no such template
 */
export const clone = (options: {
  readonly server: Redacted.Redacted
  readonly template: string
}): Effect.Effect<TestDatabase["Service"], SqlError, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.suspend(() => {
      // The default strategy, wal_log. A template of 40 tables (13 MB), fsync off, two cores, PostgreSQL 18.4, median of
      // 32: wal_log 415 ms alone and 497 ms with four at a time, file_copy 411 ms and 338 ms; in a second run 397 and
      // 738 against 397 and 695. No difference worth the two checkpoints per copy that file_copy needs, which hold up
      // everybody on a server with fsync.
      const name = databaseName(`${options.template}_${randomBytes(6).toString("hex")}`)
      return Effect.scoped(Effect.flatMap(connect(options.server), (sql) =>
        whenFree(sql.unsafe(`create database ${quoted(name)} template ${quoted(options.template)}`)))).pipe(
          Effect.as(TestDatabase.of({ name, url: withDatabase(options.server, name) }))
        )
    }),
    ({ name }) =>
      Effect.scoped(Effect.flatMap(connect(options.server), (sql) =>
        sql.unsafe(`drop database if exists ${quoted(name)} with (force)`))).pipe(
          Effect.ignore({ log: "Debug" })
        )
  )

/** A copy of a template that was made before, for as long as the layer lives. */
export const layerClone = (options: {
  readonly server: Redacted.Redacted
  readonly template: string
}): Layer.Layer<TestDatabase, SqlError> => Layer.effect(TestDatabase, clone(options))

/** Makes the template if need be and gives a copy of it for as long as the layer lives. */
export const layer = <E, R>(
  options: TemplateOptions<E, R>
): Layer.Layer<TestDatabase, E | SqlError, PostgresServer | Exclude<R, Scope.Scope>> =>
  Layer.effect(
    TestDatabase,
    Effect.gen(function*() {
      const { url: server } = yield* PostgresServer
      return yield* clone({ server, template: yield* template({ ...options, server }) })
    })
  )

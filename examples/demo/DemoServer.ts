/**
 * The PostgreSQL of the demo: where it keeps its schema, and how it can be disturbed.
 *
 * A server that the demo started is killed. One that `DATABASE_URL` names belongs to somebody, so only the demo's own
 * connections are cut, and its schema has a name of its own and is dropped at the end.
 */
import { PgClient } from "@effect/sql-pg"
import { EmbeddedPostgres, PostgresServer } from "@restante/embedded-postgres"
import { type MigrationError, PgMigrations } from "@restante/postgres"
import { Console, Context, Effect, Layer, Option, type Redacted, Schema } from "effect"
import type { SqlError } from "effect/sql/SqlError"
import { randomBytes } from "node:crypto"
import type { InvalidArgument } from "restante"

export type Disturbance =
  | {
    readonly _tag: "Kill"
    readonly kill: Effect.Effect<void, EmbeddedPostgres.EmbeddedPostgresError>
    readonly restart: Effect.Effect<void, EmbeddedPostgres.EmbeddedPostgresError>
  }
  /** Answers how many connections were cut. */
  | { readonly _tag: "Cut"; readonly cut: Effect.Effect<number, SqlError> }

export class DemoServer extends Context.Service<DemoServer, {
  readonly url: Redacted.Redacted
  readonly schema: string
  /** Such as `18.4`. */
  readonly version: string
  readonly disturbance: Disturbance
}>()("restante/examples/DemoServer") {}

const Version = Schema.Array(Schema.Struct({ server_version: Schema.String }))
const Count = Schema.Array(Schema.Struct({ count: Schema.Int }))

export const layer: Layer.Layer<
  DemoServer,
  InvalidArgument | MigrationError.MigrationError | SqlError,
  PostgresServer.PostgresServer
> = Layer.effect(
  DemoServer,
  Effect.gen(function*() {
    const { embedded, url } = yield* PostgresServer.PostgresServer
    const schema = Option.isSome(embedded) ? "restante" : `restante_demo_${randomBytes(4).toString("hex")}`
    // A connection for each task and none in between: the server may be killed at any time.
    const asOwner = Effect.provide(PgClient.layer({ url, applicationName: "restante-demo", maxConnections: 1 }))

    let installed = false
    if (Option.isNone(embedded)) {
      // Registered first: a migration that fails or is interrupted may leave the schema behind.
      yield* Effect.addFinalizer(() =>
        PgClient.PgClient.use((sql) => sql.unsafe(`drop schema if exists ${schema} cascade`)).pipe(
          asOwner,
          Effect.catch(() =>
            installed ? Console.error(`demo: the schema ${schema} is still on the server; please drop it`) : Effect.void
          )
        )
      )
    }
    yield* asOwner(PgMigrations.migrate({ schema }))
    installed = true

    const version = yield* PgClient.PgClient.use((sql) => sql`show server_version`).pipe(
      asOwner,
      Effect.flatMap((rows) => Effect.orDie(Schema.decodeUnknownEffect(Version)(rows)))
    )
    // Every statement of the store names its schema, and no other program knows the name of ours.
    const cut = PgClient.PgClient.use((sql) =>
      sql`select count(pg_terminate_backend(pid))::integer as count from pg_stat_activity
          where backend_type = 'client backend' and pid <> pg_backend_pid() and position(${schema} in query) > 0`
    ).pipe(
      asOwner,
      Effect.flatMap((rows) => Effect.orDie(Schema.decodeUnknownEffect(Count)(rows))),
      Effect.map((rows) => rows[0]?.count ?? 0)
    )
    return DemoServer.of({
      url,
      schema,
      version: version[0]?.server_version.split(" ")[0] ?? "",
      disturbance: Option.match(embedded, {
        onSome: ({ kill, restart }): Disturbance => ({ _tag: "Kill", kill, restart }),
        onNone: (): Disturbance => ({ _tag: "Cut", cut })
      })
    })
  })
)

/**
 * `MsgStore` on PostgreSQL, version 14 or newer.
 *
 * Every operation is one call of one stored function of the schema that `PgMigrations.migrate` installs. A call that was
 * answered is durable: `synchronous_commit` is never lowered. Inside the caller's own `sql.withTransaction` (over the
 * client given to `layerClient`) an operation joins that transaction and takes effect with its commit.
 */
import { PgClient } from "@effect/sql-pg"
import { Config, Duration, Effect, Layer, Option, Redacted } from "effect"
import { InvalidArgument, MsgStore, MsgStoreDriver, MsgStoreError } from "restante"
import * as Routine from "./internal/database/routine.ts"
import * as SchemaName from "./internal/database/schemaName.ts"
import * as driver from "./internal/msg-store/driver.ts"
import { DatabaseUnavailable, MigrationError } from "./MigrationError.ts"
import * as PgMigrations from "./PgMigrations.ts"

/** What every PostgreSQL layer takes, besides the limits of the contract. */
export interface Options extends MsgStore.Limits {
  /** Schema of the installation. Default `restante`. */
  readonly schema?: string | undefined
  /** How many statements may be under way at once, at least 1. With `layer`, also the connections. Default 10. */
  readonly poolSize?: number | undefined
  /** How long a call waits for a connection before it fails with `Unavailable`. Default 10 seconds. */
  readonly acquireTimeout?: Duration.Input | undefined
  /**
   * How long the server works on one statement before it fails with `Timeout`. A server that is silent for 5 seconds
   * more is given up. Default 30 seconds.
   */
  readonly statementTimeout?: Duration.Input | undefined
}

/** A layer with a pool of its own. */
export interface PoolOptions extends Options {
  /** `postgres://user:password@host:port/database` */
  readonly url: Redacted.Redacted
  /** How long a statement waits for a lock before it fails with `Timeout`. Default 5 seconds. */
  readonly lockTimeout?: Duration.Input | undefined
}

/** How much longer than the server a client waits for an answer (spec 7.2). */
const silence = Duration.seconds(5)

const defaults = {
  poolSize: 10,
  acquireTimeout: Duration.seconds(10),
  lockTimeout: Duration.seconds(5),
  statementTimeout: Duration.seconds(30)
}

const duration = (input: Duration.Input, field: string): Effect.Effect<Duration.Duration, InvalidArgument> => {
  const duration = Option.getOrUndefined(Duration.fromInput(input))
  return duration !== undefined && Duration.isFinite(duration) && Duration.toMillis(duration) >= 1
    ? Effect.succeed(duration)
    : Effect.fail(new InvalidArgument({ field, problem: "must be a finite duration of at least one millisecond" }))
}

/** Checks the options and fills in the defaults. */
const resolve = (options: Options & Pick<PoolOptions, "lockTimeout">) =>
  Effect.all({
    schema: SchemaName.parse(options.schema ?? "restante"),
    poolSize: Number.isSafeInteger(options.poolSize ?? 1) && (options.poolSize ?? 1) >= 1
      ? Effect.succeed(options.poolSize ?? defaults.poolSize)
      : Effect.fail(new InvalidArgument({ field: "poolSize", problem: "must be an integer of at least 1" })),
    acquireTimeout: duration(options.acquireTimeout ?? defaults.acquireTimeout, "acquireTimeout"),
    lockTimeout: duration(options.lockTimeout ?? defaults.lockTimeout, "lockTimeout"),
    statementTimeout: duration(options.statementTimeout ?? defaults.statementTimeout, "statementTimeout")
  })

/** The URL itself is not repeated: it holds a password. */
const checkUrl = (url: Redacted.Redacted): Effect.Effect<void, InvalidArgument> =>
  /^postgres(ql)?:/.test(Redacted.value(url)) && URL.canParse(Redacted.value(url))
    ? Effect.void
    : Effect.fail(
      new InvalidArgument({ field: "url", problem: "must have the form postgres://user:password@host:port/database" })
    )

/** What the check of the schema found, as the store's own error. */
const unusable = (error: MigrationError): MsgStoreError.MsgStoreError =>
  MsgStoreError.fromCause(
    "layer",
    error.reason._tag === "DatabaseUnavailable"
      ? new MsgStoreError.Unavailable()
      : new MsgStoreError.SchemaMismatch({ problem: error.reason.message }),
    error
  )

/**
 * A store over a client of your own, so that its operations can share transactions with other statements. Fails with
 * `SchemaMismatch` unless the schema is exactly the one this library needs, and with `InvalidArgument` for options out of
 * bounds. Time limits in the server (`statement_timeout`, `lock_timeout`) are the client's: set them there, and its
 * `maxMessageSize` to 18 MiB if bodies may have more than 7 MiB. Its `default_transaction_isolation` has to be READ COMMITTED:
 * under a stricter one calls that meet on a queue conflict, are repeated up to 3 times, and then fail with `Unavailable`.
 *
 * Each call has a connection to itself while it runs, also of a client with `multiplex`, whose pipelining it does not use: a
 * statement that is given up could otherwise not be told from its neighbours.
 */
export const layerClient = (
  options: Options = {}
): Layer.Layer<MsgStore.MsgStore, InvalidArgument | MsgStoreError.MsgStoreError, PgClient.PgClient> =>
  Layer.effect(
    MsgStore.MsgStore,
    Effect.gen(function*() {
      const sql = yield* PgClient.PgClient
      const { acquireTimeout, poolSize, schema, statementTimeout } = yield* resolve(options)
      const database = Routine.make(sql, {
        schema,
        concurrency: poolSize,
        acquireTimeout,
        answerTimeout: Duration.sum(statementTimeout, silence)
      })
      const store = yield* MsgStoreDriver.makeStore(driver.make(database), options)
      yield* Effect.timeoutOrElse(PgMigrations.check({ schema: schema.name }), {
        duration: acquireTimeout,
        orElse: () => new MigrationError({ reason: new DatabaseUnavailable({ problem: "it gave no answer in time" }) })
      }).pipe(Effect.catchTag("MigrationError", (error) => Effect.fail(unusable(error))))
      return store
    })
  )

const milliseconds = (duration: Duration.Duration): string => String(Math.ceil(Duration.toMillis(duration)))

/** A store with a pool of its own. Fails as `layerClient` does, and with `Unavailable` if the server does not answer. */
export const layer = (
  options: PoolOptions
): Layer.Layer<MsgStore.MsgStore, InvalidArgument | MsgStoreError.MsgStoreError> =>
  Layer.unwrap(
    Effect.map(
      Effect.tap(resolve(options), checkUrl(options.url)),
      ({ acquireTimeout, lockTimeout, poolSize, statementTimeout }) => {
        const pool = PgClient.layer({
          url: options.url,
          applicationName: "restante",
          maxConnections: poolSize,
          connectTimeout: acquireTimeout,
          // Trap: a larger row ends the connection. `acknowledgeAndPeek` answers two bodies of up to 8 MiB in one.
          maxMessageSize: 18 * 1_024 * 1_024,
          startupParameters: {
            // The functions lock first and read afterwards, which needs READ COMMITTED whatever the server's default is.
            default_transaction_isolation: "read committed",
            lock_timeout: milliseconds(lockTimeout),
            statement_timeout: milliseconds(statementTimeout)
          }
        })
        return layerClient(options).pipe(
          Layer.provide(Layer.catchTag(pool, "SqlError", (error) =>
            Layer.effectContext(
              Effect.fail(MsgStoreError.fromCause("layer", new MsgStoreError.Unavailable(), error))
            )))
        )
      }
    )
  )

/** `layer` with options from `Config`, such as `{ url: Config.Redacted("DATABASE_URL") }`. */
export const layerConfig = (
  options: Config.Wrap<PoolOptions>
): Layer.Layer<MsgStore.MsgStore, Config.ConfigError | InvalidArgument | MsgStoreError.MsgStoreError> =>
  Layer.unwrap(Effect.map(Config.unwrap(options), layer))

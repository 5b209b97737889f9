/**
 * `MsgStore` on PostgreSQL, version 14 or newer.
 *
 * Every operation is one call of one stored function of the schema that `PgMigrations.migrate` installs. A call that was
 * answered is durable: `synchronous_commit` is never lowered. Inside the caller's own `sql.withTransaction` (over the
 * client given to `layerClient`) an operation joins that transaction and takes effect with its commit.
 */
import { PgClient } from "@effect/sql-pg"
import { PgListener, PgTransport } from "@restante/pg-session"
import type { Redacted, Scope } from "effect"
import { Config, Duration, Effect, Layer, Option, Schedule } from "effect"
import { InvalidArgument, MsgStore, MsgStoreDriver, MsgStoreError } from "restante"
import * as Lanes from "./internal/database/lanes.ts"
import * as Reason from "./internal/database/reason.ts"
import * as Routine from "./internal/database/routine.ts"
import * as SchemaName from "./internal/database/schemaName.ts"
import * as Arrivals from "./internal/msg-store/arrivals.ts"
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
  /**
   * Whether single calls of `write`, `peek`, `acknowledge`, `acknowledgeAndPeek` and `size` that are made at the same time
   * travel together, as one statement for many. Each has its own answer, and it is as durable; a call that is made alone is
   * sent at once, alone; and calls inside a transaction are part of that. Without it each call is its own statement. Default
   * true.
   */
  readonly coalesce?: boolean | undefined
  /**
   * How many such statements of changes may be under way at once, and as many of reads, at least 1. More only help where
   * the server has processors to spare. Default 2.
   */
  readonly lanes?: number | undefined
  /**
   * Whether readers are woken by notifications: those that this layer sends when it writes into an empty queue, and those
   * that it hears for its own readers. Every such write takes a lock of the whole server while it commits, which other
   * notifying transactions wait for, and listening takes one connection from the first reader on. Without them readers of
   * all layers are woken by looking, see `arrivalsPollInterval`. Default true.
   */
  readonly notify?: boolean | undefined
  /**
   * By how much a reader of `arrivals` or `receive` may be late if nothing was notified, or the notification was lost. As
   * long as readers wait, their queues are looked at about that often, all of them in one call, and for a while more often
   * if there is nobody to be notified by. A server that is away is waited for: only a reader that looks for itself, because
   * it has just been woken, is told of it. Default 5 seconds.
   */
  readonly arrivalsPollInterval?: Duration.Input | undefined
}

/** A layer with a pool of its own. */
export interface PoolOptions extends Options {
  /** `postgres://user:password@host:port/database`, and further keys as in libpq. */
  readonly url: Redacted.Redacted
  /** TLS, authentication and whatever else belongs to connecting. Default: as the URL and its host ask for, and no retries. */
  readonly transport?: Omit<PgTransport.Options, "url" | "connectTimeout"> | undefined
  /** How long a statement waits for a lock before it fails with `Timeout`. Default 5 seconds. */
  readonly lockTimeout?: Duration.Input | undefined
}

/** How much longer than the server a client waits for an answer (spec 7.2). */
const silence = Duration.seconds(5)

const defaults = {
  poolSize: 10,
  lanes: 2,
  acquireTimeout: Duration.seconds(10),
  lockTimeout: Duration.seconds(5),
  statementTimeout: Duration.seconds(30),
  arrivalsPollInterval: Duration.seconds(5)
}

const duration = (input: Duration.Input, field: string): Effect.Effect<Duration.Duration, InvalidArgument> => {
  const duration = Option.getOrUndefined(Duration.fromInput(input))
  return duration !== undefined && Duration.isFinite(duration) && Duration.toMillis(duration) >= 1
    ? Effect.succeed(duration)
    : Effect.fail(new InvalidArgument({ field, problem: "must be a finite duration of at least one millisecond" }))
}

/** The server's own limits are 32-bit numbers of milliseconds. */
const serverDuration = (input: Duration.Input, field: string): Effect.Effect<Duration.Duration, InvalidArgument> =>
  Effect.filterOrFail(
    duration(input, field),
    (duration) => Duration.toMillis(duration) <= 2_147_483_647,
    () => new InvalidArgument({ field, problem: "must be at most 2,147,483,647 milliseconds" })
  )

const count = (input: number, field: string): Effect.Effect<number, InvalidArgument> =>
  Number.isSafeInteger(input) && input >= 1
    ? Effect.succeed(input)
    : Effect.fail(new InvalidArgument({ field, problem: "must be an integer of at least 1" }))

/** Checks the options and fills in the defaults. */
const resolve = (options: Options & Pick<PoolOptions, "lockTimeout">) =>
  Effect.all({
    schema: SchemaName.parse(options.schema ?? "restante"),
    poolSize: count(options.poolSize ?? defaults.poolSize, "poolSize"),
    lanes: count(options.lanes ?? defaults.lanes, "lanes"),
    acquireTimeout: duration(options.acquireTimeout ?? defaults.acquireTimeout, "acquireTimeout"),
    lockTimeout: serverDuration(options.lockTimeout ?? defaults.lockTimeout, "lockTimeout"),
    statementTimeout: serverDuration(options.statementTimeout ?? defaults.statementTimeout, "statementTimeout"),
    arrivalsPollInterval: duration(
      options.arrivalsPollInterval ?? defaults.arrivalsPollInterval,
      "arrivalsPollInterval"
    )
  })

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
 * The functions lock first and read afterwards, which needs READ COMMITTED (spec 10.4). `layer` asks for it when it connects,
 * but a pooler may drop what it is asked, and a client of the caller's may ask for something else.
 */
const requireReadCommitted = (
  sql: PgClient.PgClient
): Effect.Effect<void, MsgStoreError.MsgStoreError> =>
  Effect.flatMap(
    Effect.mapError(
      sql<{ readonly level: string }>`select current_setting('default_transaction_isolation') as level`
        .withoutTransform,
      (error) => MsgStoreError.fromCause("layer", Reason.ofSqlError(error, "read"), error)
    ),
    ([row]) =>
      // To PostgreSQL READ UNCOMMITTED is another name of READ COMMITTED.
      row !== undefined && /^read (un)?committed$/.test(row.level) ? Effect.void : Effect.fail(
        new MsgStoreError.MsgStoreError({
          operation: "layer",
          reason: new MsgStoreError.SchemaMismatch({
            problem:
              `transactions on this connection are "${row?.level}" by default, and the store needs "read committed"; ` +
              "set default_transaction_isolation in the client's startupParameters, or with ALTER ROLE where a pooler ignores those"
          })
        })
      )
  )

/**
 * A store over a client of your own, so that its operations can share transactions with other statements. Fails with
 * `SchemaMismatch` unless the schema is exactly the one this library needs, and with `InvalidArgument` for options out of
 * bounds. Time limits in the server (`statement_timeout`, `lock_timeout`) are the client's: set them there, and its
 * `maxMessageSize` to 18 MiB if bodies may have more than 7 MiB. Its `default_transaction_isolation` has to be READ COMMITTED;
 * under another one the layer fails with `SchemaMismatch`. If it becomes stricter later, calls that meet on a queue conflict,
 * are repeated up to 3 times, and then fail with `Unavailable`.
 *
 * Behind PgBouncer in transaction mode use this layer with `prepare: false` on the client, or `layer` with `notify: false` if
 * PgBouncer is 1.21 or newer and has `max_prepared_statements` above 0. PgBouncer refuses those startup parameters, and with
 * `ignore_startup_parameters` it drops them: set the limits with `alter role app set lock_timeout = '5s'` and so on.
 *
 * Each call has a connection to itself while it runs, also of a client with `multiplex`, whose pipelining it does not use: a
 * statement that is given up could otherwise not be told from its neighbours.
 *
 * Readers hear of arrivals through the `PgListener` of the context, if there is one; it has to be connected to the database
 * of the client, and not by way of a pooler in transaction mode. Without one they are woken by looking only.
 */
export const layerClient = (
  options: Options = {}
): Layer.Layer<MsgStore.MsgStore, InvalidArgument | MsgStoreError.MsgStoreError, PgClient.PgClient> =>
  Layer.unwrap(Effect.map(
    Effect.serviceOption(PgListener.PgListener),
    (listener) => layerWith(options, Effect.succeed(listener))
  ))

/** The store over the client of the context, with this listener. */
const layerWith = (
  options: Options,
  listener: Arrivals.Options["listener"]
): Layer.Layer<MsgStore.MsgStore, InvalidArgument | MsgStoreError.MsgStoreError, PgClient.PgClient> =>
  Layer.effect(
    MsgStore.MsgStore,
    Effect.gen(function*() {
      const sql = yield* PgClient.PgClient
      const { acquireTimeout, arrivalsPollInterval, lanes, poolSize, schema, statementTimeout } = yield* resolve(
        options
      )
      const database = Routine.make(sql, {
        schema,
        concurrency: poolSize,
        acquireTimeout,
        answerTimeout: Duration.sum(statementTimeout, silence)
      })
      const arrivals = yield* Arrivals.make(database, {
        notify: options.notify ?? true,
        pollInterval: arrivalsPollInterval,
        listener
      })
      const makeLanes = Lanes.make(database, { lanes, acquireTimeout })
      const travelling = options.coalesce ?? true ? { changes: yield* makeLanes, reads: yield* makeLanes } : undefined
      const store = yield* MsgStoreDriver.makeStore(driver.make(database, arrivals, travelling), options)
      const checks = Effect.andThen(PgMigrations.check({ schema: schema.name }), requireReadCommitted(sql))
      yield* Effect.timeoutOrElse(checks, {
        duration: acquireTimeout,
        orElse: () => new MigrationError({ reason: new DatabaseUnavailable({ problem: "it gave no answer in time" }) })
      }).pipe(Effect.catchTag("MigrationError", (error) => Effect.fail(unusable(error))))
      return store
    })
  )

const milliseconds = (duration: Duration.Duration): string => String(Math.ceil(Duration.toMillis(duration)))

/** Listens at the address of a client whose connections go through a transport. */
const listenerOf = (
  { config }: PgClient.PgClient
): Effect.Effect<PgListener.PgListener["Service"], PgListener.ListenerError, Scope.Scope> =>
  PgListener.make({ connection: { ...config, applicationName: "restante arrivals" } })

/** A store with a pool of its own. Fails as `layerClient` does, and with `Unavailable` if the server does not answer. */
export const layer = (
  options: PoolOptions
): Layer.Layer<MsgStore.MsgStore, InvalidArgument | MsgStoreError.MsgStoreError> =>
  Layer.unwrap(
    Effect.map(
      resolve(options),
      ({ acquireTimeout, lockTimeout, poolSize, statementTimeout }) => {
        const pool = PgTransport.layer({
          // A call that finds no server fails at once and can be repeated; the caller knows how long to go on.
          connectRetry: Schedule.recurs(0),
          ...options.transport,
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
        return Layer.unwrap(
          Effect.map(PgClient.PgClient, (sql) => layerWith(options, Effect.asSome(listenerOf(sql))))
        ).pipe(
          Layer.provide(Layer.catchTag(pool, ["SqlError", "PgTransportError"], (error) =>
            Layer.effectContext(Effect.fail(
              error._tag === "PgTransportError" && error.reason._tag === "ConfigError"
                // The words of the transport never repeat the URL: it holds a password.
                ? new InvalidArgument({ field: "connection", problem: `options are unusable: ${error.reason.problem}` })
                : MsgStoreError.fromCause("layer", new MsgStoreError.Unavailable(), error)
            ))))
        )
      }
    )
  )

/** `layer` with options from `Config`, such as `{ url: Config.Redacted("DATABASE_URL") }`. */
export const layerConfig = (
  options: Config.Wrap<PoolOptions>
): Layer.Layer<MsgStore.MsgStore, Config.ConfigError | InvalidArgument | MsgStoreError.MsgStoreError> =>
  Layer.unwrap(Effect.map(Config.unwrap(options), layer))

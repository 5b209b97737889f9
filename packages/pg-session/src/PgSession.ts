/**
 * Everything of this package on one server: an ordinary `PgClient`, and beside it what the driver leaves out. The normal
 * entry.
 *
 * ```ts
 * const program = Effect.gen(function*() {
 *   const sql = yield* PgClient.PgClient
 *   yield* sql`create table readings (sensor int, value float8)`
 *   yield* PgCopy.copyInRows({ table: "readings" }, Stream.make([1, 20.5], [2, 19.25]))
 *   return yield* sql`select * from readings`
 * })
 *
 * program.pipe(Effect.provide(PgSession.layer({ url })))
 * ```
 *
 * Code written for `@effect/sql-pg` runs on it unchanged. Connections go through a `PgTransport`; the registry of codecs reads
 * every type, those without a codec and those created since as `PgRaw`, so no column can end a session; a `PgListener` keeps
 * one more connection.
 */
import { Effect, Layer } from "effect"
import { typesOf } from "./internal/codecs/registry.ts"
import { PgClient, type SqlClient, type SqlError } from "./internal/driver.ts"
import * as Internals from "./internal/transport/internals.ts"
import type { Options as TransportOptions } from "./internal/transport/options.ts"
import { configOf, type PoolOptions } from "./internal/transport/pool.ts"
import * as PgCodecs from "./PgCodecs.ts"
import * as PgListener from "./PgListener.ts"
import * as PgTransport from "./PgTransport.ts"

export interface Options extends TransportOptions, Omit<PoolOptions, "types"> {
  /** Which types of users to read and write, and how timestamps look; see `PgCodecs.load`. */
  readonly codecs?: Omit<PgCodecs.LoadOptions, "connection"> | undefined
  /** Back-off and probes of the listener; see `PgListener.Options`. */
  readonly listener?: Omit<PgListener.Options, "connection"> | undefined
}

export type Services =
  | PgClient.PgClient
  | SqlClient.SqlClient
  | PgTransport.PgTransport
  | PgCodecs.PgCodecs
  | PgListener.PgListener

/** Why there is no connection, in the transport's own words: the driver's only say that there is none. */
const underneath = (error: SqlError): Effect.Effect<never, PgTransport.PgTransportError | SqlError> =>
  Effect.fail(error.reason.cause instanceof PgTransport.PgTransportError ? error.reason.cause : error)

/**
 * Connects once when it is built, to read the catalogue of types; the pool opens its connections when they are needed.
 *
 * - errors: `PgTransportError`: `ConfigError` for unusable options, and every reason for which there is no connection;
 *   `CodecConfigError` for a type that there is not; `ListenerError` (`BadOption`); `SqlError` if the catalogue cannot be read
 */
export const layer = (
  options: Options
): Layer.Layer<
  Services,
  PgTransport.PgTransportError | PgCodecs.CodecConfigError | PgListener.ListenerError | SqlError
> => {
  const { codecs, listener, ...connection } = options
  const services = Effect.gen(function*() {
    const transport = yield* PgTransport.PgTransport
    const config = yield* Effect.fromResult(configOf(connection, transport.stream))
    const client = Layer.unwrap(Effect.map(PgCodecs.PgCodecs, ({ registry }) => {
      // Every CREATE TABLE makes a type, so the catalogue as it was read is never complete.
      const types = typesOf(registry)
      Internals.of(transport)?.onColumns((oids) => {
        for (const oid of oids) types?.readUnknown(oid)
      })
      return PgClient.layer({ ...config, types: registry })
    }))
    const load = PgCodecs.load({ ...codecs, unknown: codecs?.unknown ?? "raw", connection: config })
    const catalogue = Layer.effect(PgCodecs.PgCodecs, Effect.catchTag(load, "SqlError", underneath))
    return Layer.mergeAll(
      PgListener.layer({ ...listener, connection: config }),
      Layer.provideMerge(client, catalogue)
    )
  })
  return Layer.provideMerge(Layer.unwrap(services), Layer.effect(PgTransport.PgTransport, PgTransport.make(connection)))
}

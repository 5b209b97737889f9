/**
 * Codecs for what `@effect/sql-pg` cannot read: the other types of PostgreSQL, arrays of any dimension, types of users and
 * of extensions. The driver always asks for binary results, so a type without a codec is garbled, or ends the session.
 *
 * `registry` has every type whose OID is fixed and needs no server. `load` adds what only the catalogue knows. Both give a
 * registry for the option `types` of any `PgClient` or `PgConnection`.
 */
import { Context, Effect, Layer, Result, Semaphore } from "effect"
import { builtins } from "./internal/codecs/builtin.ts"
import * as Catalogue from "./internal/codecs/catalogue.ts"
import { CodecConfigError } from "./internal/codecs/configError.ts"
import * as Leaf from "./internal/codecs/leaf/catalogue.ts"
import { Types, typesOf } from "./internal/codecs/registry.ts"
import { checkConfig } from "./internal/connectionConfig.ts"
import { PgConnection, PgTypes, type SqlError } from "./internal/driver.ts"

export { PgArray } from "./internal/codecs/array.ts"
export { CodecConfigError } from "./internal/codecs/configError.ts"
export { PgRaw } from "./internal/codecs/raw.ts"
export type { PgRecord } from "./internal/codecs/record.ts"

export interface RegistryOptions {
  /**
   * How `timestamp` and `timestamptz` are read, in ranges too: `"date"` (the default) as a `Date`, which cuts to
   * milliseconds and has no infinity; `"micros"` as a bigint of microseconds since 1970, `"infinity"` or `"-infinity"`.
   */
  readonly timestamps?: "date" | "micros" | undefined
}

export interface LoadOptions extends RegistryOptions {
  /** Where the catalogue is read, on a connection of its own that is closed at once. */
  readonly connection: Omit<PgConnection.Config, "types" | "multiplex">
  /**
   * Composite types, enums, domains, ranges and arrays of them, named as in a cast: `mood`, `app.mood`, `"Mood"`. What they
   * are made of comes along.
   */
  readonly types?: ReadonlyArray<string> | undefined
  /**
   * Takes every type that has no codec as `PgRaw`; enums, domains, ranges and what is text on the wire need no name then. This
   * is of the types that there are when the catalogue is read: `PgSession` alone sees to those that are created later.
   */
  readonly unknown?: "raw" | undefined
}

const make = (options: RegistryOptions): Types => {
  const types = new Types()
  for (const entry of [...builtins(types), ...Leaf.entries, ...Leaf.timestamps(options.timestamps ?? "date")]) {
    types.install("fixed", entry)
    types.name(entry.name, entry.oid)
    if (entry.arrayOid !== undefined) types.name(`${entry.name}[]`, entry.arrayOid)
  }
  return types
}

/**
 * A registry with the codecs of all types whose OID is the same in every server, and their arrays.
 *
 * Arrays are nested JavaScript arrays of up to six dimensions; null is a NULL element. One dimension that begins at 1 is as
 * in the driver; `PgArray` is for what nested arrays cannot say. An array that is ragged is a `CodecError` when it is bound.
 * `register` of this registry takes further codecs, and arrays and records find them.
 *
 * - source: spec 7
 */
export const registry = (options: RegistryOptions = {}): PgTypes.Registry => make(options).registry

/**
 * A parameter of a given type, for values that the driver cannot infer one for: objects, nested arrays, `PgArray`. The type
 * is an OID or a name: one of PostgreSQL's (`point`, `int4[]`), or one that `load` was given, as it was given. Whether the
 * value fits shows when it is bound.
 *
 * Trap: a single value of a type that the driver knows is bound by the driver. Its error quotes a value that does not fit, and
 * of half a surrogate pair it makes another character (`PgQuery` refuses such a text). Inside arrays, ranges and composites
 * neither happens.
 *
 * - errors: `CodecConfigError` if the registry has no type of this name
 */
export const parameter = (
  registry: PgTypes.Registry,
  type: string | number,
  value: unknown
): Result.Result<PgTypes.Parameter, CodecConfigError> => {
  const oid = typeof type === "number" ? type : typesOf(registry)?.named(type)
  return oid === undefined
    ? Result.fail(new CodecConfigError({ type: String(type), problem: "the registry has no type of this name" }))
    : Result.succeed({ [PgTypes.ParameterTypeId]: PgTypes.ParameterTypeId, oid, value })
}

export class PgCodecs extends Context.Service<PgCodecs, {
  /** For the option `types` of a client. */
  readonly registry: PgTypes.Registry
  /**
   * Reads the catalogue again: types created or altered since, and further names. Statements that a session has prepared
   * keep the codecs of their columns; a composite type that was altered is read anew even so.
   *
   * Call it after every ALTER TYPE of a composite type. Until then a value has the attributes' names of before, unless their
   * number or types differ: such a value is a `PgRecord`.
   *
   * - errors: `CodecConfigError` if a name is not that of a type (nothing changed), `SqlError` if there is no connection
   */
  readonly refresh: (types?: ReadonlyArray<string>) => Effect.Effect<void, CodecConfigError | SqlError>
  /** As the function `parameter`, with this registry. */
  readonly parameter: (type: string | number, value: unknown) => Result.Result<PgTypes.Parameter, CodecConfigError>
}>()("restante/pg-session/PgCodecs") {}

/**
 * The codecs of `registry`, and those that only the catalogue knows: the types named, and hstore, ltree, lquery, ltxtquery
 * and vector where their extensions are installed.
 *
 * - errors: `CodecConfigError` naming the type that there is not, `SqlError` if there is no connection or its options are
 *   unusable
 * - source: spec 7
 */
export const load = Effect.fnUntraced(function*(
  options: LoadOptions
): Effect.fn.Return<PgCodecs["Service"], CodecConfigError | SqlError> {
  yield* checkConfig(options.connection)
  const types = make(options)
  const wanted = new Set(options.types)
  // What one has read must not be applied after what another has changed.
  const turn = yield* Semaphore.make(1)
  const refresh = Effect.fnUntraced(
    function*(further: ReadonlyArray<string> = []) {
      const names = new Set([...wanted, ...further])
      const connection = yield* PgConnection.make(options.connection)
      yield* Catalogue.read(connection, types, { names, raw: options.unknown === "raw" })
      for (const name of further) wanted.add(name)
    },
    Effect.scoped,
    turn.withPermits(1)
  )
  yield* refresh()
  return PgCodecs.of({
    registry: types.registry,
    refresh,
    parameter: (type, value) => parameter(types.registry, type, value)
  })
})

/** `load` as a service: give its registry to the client. */
export const layer = (options: LoadOptions): Layer.Layer<PgCodecs, CodecConfigError | SqlError> =>
  Layer.effect(PgCodecs, load(options))

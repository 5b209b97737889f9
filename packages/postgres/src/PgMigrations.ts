/**
 * Installs and upgrades the schema, and checks that it is the one this library needs.
 *
 * `migrate` runs as the owner of the schema, once per deployment or at the start of every process: an advisory lock lets
 * one process migrate while the others wait. Each migration is one transaction. `check` needs nothing but EXECUTE; every
 * layer runs it when it is built.
 */
import { PgClient } from "@effect/sql-pg"
import { Effect, Schema } from "effect"
import type { SqlError } from "effect/sql/SqlError"
import { createHash } from "node:crypto"
import type { InvalidArgument } from "restante"
import * as MigrationFiles from "./internal/database/migrationFiles.ts"
import * as Reason from "./internal/database/reason.ts"
import * as SchemaName from "./internal/database/schemaName.ts"
import {
  DatabaseUnavailable,
  GrantFailed,
  HistoryEdited,
  MigrationError,
  type MigrationErrorReason,
  MigrationFailed,
  SchemaAbsent,
  SchemaNewer,
  SchemaOlder
} from "./MigrationError.ts"

/** Where the installation is. */
export interface CheckOptions {
  /** Letters, digits and underscores. Default `restante`. */
  readonly schema?: string | undefined
}

/** Where to install, and for whom. */
export interface MigrateOptions extends CheckOptions {
  /** A role that may call the functions and touch nothing else. Absent: only the owner may. */
  readonly applicationRole?: string | undefined
}

/** What `migrate` did: the version it found, 0 if there was none, and the one that is there now. */
export interface MigrationReport {
  readonly from: number
  readonly to: number
}

/** Changes whenever a migration does: names a database template that has them applied. */
export const fingerprint = (): string =>
  createHash("sha256").update(MigrationFiles.read().map((file) => file.checksum).join()).digest("hex").slice(0, 16)

const History = Schema.Array(Schema.Struct({ version: Schema.Int, name: Schema.String, checksum: Schema.String }))
type History = typeof History.Type

const decodeHistory = Schema.decodeUnknownEffect(History)

const fail = (reason: MigrationErrorReason) => Effect.fail(new MigrationError({ reason }))

/** The server's own words; they name objects of the schema and no data. */
const wordsOf = (error: SqlError): string => {
  const { cause } = error.reason
  return cause instanceof Error ? cause.message : error.message
}

const unavailable = (error: SqlError) =>
  new MigrationError({ reason: new DatabaseUnavailable({ problem: wordsOf(error) }) })

const absentCodes = new Set(["3F000", "42501", "42883", "42P01"])

/** What was applied must be what this library has, as far as both go. */
const verify = (
  history: History,
  files: ReadonlyArray<MigrationFiles.MigrationFile>,
  schema: string
): Effect.Effect<number, MigrationError> => {
  const found = history.at(-1)?.version ?? 0
  const edited = files.find((file, i) => {
    const applied = history[i]
    return applied !== undefined &&
      (applied.version !== file.version || applied.name !== file.name || applied.checksum !== file.checksum)
  })
  if (edited !== undefined) return fail(new HistoryEdited({ schema, migration: edited.name }))
  return found > files.length ? fail(new SchemaNewer({ schema, found, expected: files.length })) : Effect.succeed(found)
}

/**
 * Fails unless the installation is exactly the one this library needs. Changes nothing and needs no rights beyond those
 * of the application role.
 */
export const check = (
  options: CheckOptions = {}
): Effect.Effect<void, InvalidArgument | MigrationError, PgClient.PgClient> =>
  Effect.gen(function*() {
    const sql = yield* PgClient.PgClient
    const schema = yield* SchemaName.parse(options.schema ?? "restante")
    const files = MigrationFiles.read()
    const rows = yield* sql.unsafe(`select * from ${schema.quoted}.schema_history()`).withoutTransform.pipe(
      Effect.mapError((error) =>
        absentCodes.has(Reason.sqlState(error) ?? "")
          ? new MigrationError({ reason: new SchemaAbsent({ schema: schema.name }) })
          : unavailable(error)
      )
    )
    const history = yield* Effect.orDie(decodeHistory(rows))
    const found = yield* verify(history, files, schema.name)
    return found < files.length
      ? yield* fail(new SchemaOlder({ schema: schema.name, found, expected: files.length }))
      : undefined
  })

/**
 * Brings the schema to the version of this library, creating it if need be, and grants the application role what it needs.
 * Running it again changes nothing. Many processes may run it at once.
 *
 * A migration that fails is rolled back as a whole; those before it stay, and running again goes on from there.
 */
export const migrate = (
  options: MigrateOptions = {}
): Effect.Effect<MigrationReport, InvalidArgument | MigrationError, PgClient.PgClient> =>
  Effect.gen(function*() {
    const sql = yield* PgClient.PgClient
    const schema = yield* SchemaName.parse(options.schema ?? "restante")
    const files = MigrationFiles.read()
    const statement = (text: string, parameters?: ReadonlyArray<unknown>) =>
      sql.unsafe(text, parameters).withoutTransform

    const lock = statement("select pg_advisory_xact_lock(hashtextextended('restante migrations: ' || $1::text, 0))", [
      schema.name
    ])

    /** Which migrations are there; none if there is no installation yet. */
    const history = Effect.gen(function*() {
      const [table] = yield* statement("select to_regclass($1::text) is not null as present", [
        `${schema.quoted}.schema_info`
      ])
      if (table === undefined || !("present" in table) || table.present !== true) return []
      return yield* Effect.orDie(
        decodeHistory(
          yield* statement(`select version, name, checksum from ${schema.quoted}.schema_info order by version`)
        )
      )
    })

    const apply = Effect.fnUntraced(function*(file: MigrationFiles.MigrationFile) {
      if (file.version === 1) {
        // `create schema if not exists` asks for the right to create schemas even where the schema exists.
        const [row] = yield* statement("select to_regnamespace($1::text) is null as missing", [schema.quoted])
        if (row !== undefined && "missing" in row && row.missing === true) {
          yield* statement(`create schema ${schema.quoted}`)
        }
      }
      // One file becomes one statement: the driver sends one statement at a time, and the server splits what is in a DO.
      yield* sql.unsafe(
        `do $restante_migration$ begin\n${file.text.replaceAll(":\"schema\"", schema.quoted)}\nend $restante_migration$`
      ).unprepared
      yield* statement(`select ${schema.quoted}._close_to_public()`)
      yield* statement(
        `insert into ${schema.quoted}.schema_info (version, name, checksum) values ($1::integer, $2::text, $3::text)`,
        [file.version, file.name, file.checksum]
      )
    })

    /** Applies the next migration, if one is missing, under the lock. */
    const step = Effect.gen(function*() {
      // Trap: under another isolation level the history is read from a snapshot that is older than the lock.
      yield* statement("set transaction isolation level read committed")
      yield* lock
      const version = yield* verify(yield* history, files, schema.name)
      const next = files[version]
      if (next === undefined) {
        if (options.applicationRole !== undefined) {
          const role = options.applicationRole
          yield* Effect.catchTag(
            statement(`select ${schema.quoted}._grant_to($1::name)`, [role]),
            "SqlError",
            (error) =>
              fail(
                Reason.sqlState(error) === undefined
                  ? new DatabaseUnavailable({ problem: wordsOf(error) })
                  : new GrantFailed({ schema: schema.name, role, problem: wordsOf(error) })
              )
          )
        }
        return { version, done: true }
      }
      yield* Effect.catchTag(apply(next), "SqlError", (error) =>
        fail(
          Reason.sqlState(error) === undefined
            ? new DatabaseUnavailable({ problem: wordsOf(error) })
            : new MigrationFailed({ schema: schema.name, migration: next.name, problem: wordsOf(error) })
        ))
      return { version, done: false }
    }).pipe(
      sql.withTransaction,
      Effect.catchTag("SqlError", (error) => Effect.fail(unavailable(error))),
      // Trap: when the connection dies in a transaction, the rollback fails too, as a defect that hides the error.
      Effect.catchDefect((defect) =>
        fail(new DatabaseUnavailable({ problem: defect instanceof Error ? defect.message : "the connection was lost" }))
      )
    )

    let from: number | undefined
    while (true) {
      const { done, version } = yield* step
      from ??= version
      if (done) return { from, to: version }
    }
  })

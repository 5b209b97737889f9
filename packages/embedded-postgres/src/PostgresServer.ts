/**
 * A PostgreSQL server for tests and demos: the one that `DATABASE_URL` names, otherwise an embedded one.
 */
import * as Config from "effect/Config"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import * as EmbeddedPostgres from "./EmbeddedPostgres.ts"
import { withDatabase } from "./internal/connection-url.ts"

export class PostgresServer extends Context.Service<PostgresServer, {
  /** Of a database that exists, for maintenance. With `DATABASE_URL` it is that URL. */
  readonly url: Redacted.Redacted
  /** The same as `url` for another database, which need not exist. Any name will do; it is encoded. */
  readonly databaseUrl: (name: string) => Redacted.Redacted
  /** The means to kill and restart the server: only if we started it. */
  readonly embedded: Option.Option<EmbeddedPostgres.EmbeddedPostgres["Service"]>
}>()("restante/PostgresServer") {}

// Checked here, because the platform's own error about an invalid URL repeats it, password and all.
const DatabaseUrl = Schema.Redacted(
  Schema.String.check(
    Schema.makeFilter((text) => text === "" || /^postgres(ql)?:/.test(text) && URL.canParse(text), {
      expected: "a URL such as postgresql://user:password@host:5432/database"
    })
  )
)

/**
 * Uses `DATABASE_URL` as the `ConfigProvider` has it, if it is set and not empty. No connection is made to check it,
 * and `options` then have no effect. Otherwise starts an embedded server.
 *
 * - errors: `ConfigError` if `DATABASE_URL` is not the URL of a PostgreSQL server, `EmbeddedPostgresError` of an
 *   embedded one
 */
export const layer = (
  options?: EmbeddedPostgres.Options
): Layer.Layer<PostgresServer, Config.ConfigError | EmbeddedPostgres.EmbeddedPostgresError> =>
  Layer.effect(
    PostgresServer,
    Effect.gen(function*() {
      const given = yield* Config.option(Config.schema(DatabaseUrl, "DATABASE_URL"))
      if (Option.isSome(given) && Redacted.value(given.value) !== "") {
        const url = given.value
        return PostgresServer.of({ url, databaseUrl: (name) => withDatabase(url, name), embedded: Option.none() })
      }
      const embedded = yield* EmbeddedPostgres.make(options)
      return PostgresServer.of({
        url: embedded.url,
        databaseUrl: embedded.databaseUrl,
        embedded: Option.some(embedded)
      })
    })
  )

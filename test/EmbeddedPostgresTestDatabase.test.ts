import { PgClient } from "@effect/sql-pg"
import { assert, describe, it } from "@effect/vitest"
import { EmbeddedPostgres, PostgresServer, TestDatabase } from "@restante/embedded-postgres"
import { ConfigProvider, Data, Effect, Exit, Layer, Redacted, Schema, Scope } from "effect"
import { execFile } from "node:child_process"
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { eventually, query, session } from "./fixtures/embedded-postgres/probe.ts"

class NotToday extends Data.TaggedError("NotToday")<{}> {}

const places = (url: Redacted.Redacted) =>
  Effect.provide(
    Effect.flatMap(PgClient.PgClient, (sql) =>
      Effect.andThen(sql`create table place (name text)`, sql`insert into place values ('Trieste')`)),
    PgClient.layer({ url })
  )

const databases = (url: Redacted.Redacted) =>
  Effect.map(
    query(url, (sql) => sql<{ readonly name: string }>`select datname::text as name from pg_database`),
    (rows) => rows.map(({ name }) => name)
  )

const Answer = Schema.fromJsonString(Schema.Struct({ database: Schema.String, prepared: Schema.Int }))

const otherProcess = (url: Redacted.Redacted, key: string) =>
  Effect.callback<string>((resume) => {
    execFile(
      process.execPath,
      [fileURLToPath(new URL("./fixtures/embedded-postgres/template.ts", import.meta.url)), Redacted.value(url), key],
      (error, stdout, stderr) => resume(error === null ? Effect.succeed(stdout) : Effect.die(stderr))
    )
  }).pipe(Effect.flatMap(Schema.decodeEffect(Answer)), Effect.orDie)

describe("TestDatabase", () => {
  it.layer(EmbeddedPostgres.layer(), { excludeTestServices: true, timeout: "60 seconds" })((it) => {
    it.effect("prepares a template once, however many processes ask for it", () =>
      Effect.gen(function*() {
        const { url } = yield* EmbeddedPostgres.EmbeddedPostgres
        const answers = yield* Effect.all(Array.from({ length: 4 }, () => otherProcess(url, "v1")), {
          concurrency: "unbounded"
        })
        assert.deepStrictEqual(answers.map(({ prepared }) => prepared).toSorted((a, b) => a - b), [0, 0, 0, 1])
        assert.deepStrictEqual(new Set(answers.map(({ database }) => database)), new Set(["fixture_v1"]))
      }), 60_000)

    it.effect("prepares again under another key", () =>
      Effect.gen(function*() {
        const { url: server } = yield* EmbeddedPostgres.EmbeddedPostgres
        let prepared = 0
        const prepare = () => Effect.sync(() => prepared++)
        const first = yield* TestDatabase.template({ server, name: "keyed", key: "a", prepare })
        yield* TestDatabase.template({ server, name: "keyed", key: "a", prepare })
        const second = yield* TestDatabase.template({ server, name: "keyed", key: "b", prepare })
        assert.notStrictEqual(first, second)
        assert.strictEqual(prepared, 2)
      }))

    it.effect("drops a template whose preparation fails, and the next caller tries again", () =>
      Effect.gen(function*() {
        const { url: server } = yield* EmbeddedPostgres.EmbeddedPostgres
        const name = "failing"
        const error = yield* Effect.flip(
          TestDatabase.template({ server, name, key: "1", prepare: () => Effect.fail(new NotToday()) })
        )
        assert.strictEqual(error._tag, "NotToday")
        assert.notInclude(yield* databases(server), "failing_1")
        yield* TestDatabase.template({ server, name, key: "1", prepare: places })
      }))

    it.effect("replaces what a dead process left unfinished", () =>
      Effect.gen(function*() {
        const { url: server } = yield* EmbeddedPostgres.EmbeddedPostgres
        yield* query(server, (sql) => sql.unsafe(`create database unfinished_1`))
        const template = yield* TestDatabase.template({ server, name: "unfinished", key: "1", prepare: places })
        const clone = yield* TestDatabase.clone({ server, template })
        assert.deepStrictEqual(yield* query(clone.url, (sql) => sql`select name from place`), [{ name: "Trieste" }])
      }))

    it.effect("gives independent copies, also many at the same time", () =>
      Effect.gen(function*() {
        const { url: server } = yield* EmbeddedPostgres.EmbeddedPostgres
        const template = yield* TestDatabase.template({ server, name: "many", key: "1", prepare: places })
        const clones = yield* Effect.all(Array.from({ length: 12 }, () => TestDatabase.clone({ server, template })), {
          concurrency: "unbounded"
        })
        yield* Effect.forEach(clones, ({ name, url }) => query(url, (sql) => sql`insert into place values (${name})`), {
          concurrency: "unbounded"
        })
        for (const { name, url } of clones) {
          const rows = yield* query(url, (sql) => sql`select name from place order by name = 'Trieste'`)
          assert.deepStrictEqual(rows, [{ name }, { name: "Trieste" }])
        }
      }))

    it.effect("waits for the last session in the source to end before it copies", () =>
      Effect.gen(function*() {
        const { databaseUrl, dataDirectory, url: server } = yield* EmbeddedPostgres.EmbeddedPostgres
        yield* query(server, (sql) => sql.unsafe(`create database busy_source`))
        const scope = yield* Scope.make()
        yield* Scope.provide(session(databaseUrl("busy_source")), scope)
        const log = join(dataDirectory, "..", "server.log")
        const [clone] = yield* Effect.all([
          TestDatabase.clone({ server, template: "busy_source" }),
          // The server waits for 5 s, then it refuses and says so. Only asking again can succeed after that.
          Effect.andThen(
            eventually("a refusal", () => readFileSync(log, "utf8").includes("is being accessed by other users")),
            Scope.close(scope, Exit.void)
          )
        ], { concurrency: "unbounded" })
        yield* query(clone.url, (sql) => sql`select 1`)
      }), 60_000)

    it.effect("lets nobody connect to a template", () =>
      Effect.gen(function*() {
        const server = yield* EmbeddedPostgres.EmbeddedPostgres
        const template = yield* TestDatabase.template({
          server: server.url,
          name: "closed",
          key: "1",
          prepare: places
        })
        const exit = yield* Effect.exit(query(server.databaseUrl(template), (sql) => sql`select 1`))
        assert.isTrue(Exit.isFailure(exit))
      }))

    it.effect("drops a copy at the end of its scope, also with a session in it", () =>
      Effect.gen(function*() {
        const { url: server } = yield* EmbeddedPostgres.EmbeddedPostgres
        const template = yield* TestDatabase.template({ server, name: "scoped", key: "1", prepare: places })
        const name = yield* Effect.scoped(Effect.gen(function*() {
          const clone = yield* TestDatabase.clone({ server, template })
          // Belongs to the scope outside: it is still open when the copy is dropped.
          yield* Scope.provide(session(clone.url), outside)
          assert.include(yield* databases(server), clone.name)
          return clone.name
        }))
        assert.notInclude(yield* databases(server), name)
      }).pipe(Effect.ensuring(Scope.close(outside, Exit.void))))
    const outside = Scope.makeUnsafe()

    it.effect("takes any name, and tells long ones apart", () =>
      Effect.gen(function*() {
        const { url: server } = yield* EmbeddedPostgres.EmbeddedPostgres
        const odd = yield* TestDatabase.template({ server, name: "it's \"odd\"; drop", key: "/ü", prepare: places })
        const clone = yield* TestDatabase.clone({ server, template: odd })
        assert.deepStrictEqual(yield* query(clone.url, (sql) => sql`select name from place`), [{ name: "Trieste" }])

        const name = "ü".repeat(60)
        const one = yield* TestDatabase.template({ server, name, key: "1", prepare: places })
        const two = yield* TestDatabase.template({ server, name, key: "2", prepare: places })
        assert.notStrictEqual(one, two)
        const names = yield* databases(server)
        assert.include(names, one)
        assert.include(names, two)
      }))
  })

  it.live("is a layer over whichever server there is", () =>
    Effect.gen(function*() {
      const { url } = yield* TestDatabase.TestDatabase
      assert.deepStrictEqual(yield* query(url, (sql) => sql`select name from place`), [{ name: "Trieste" }])
    }).pipe(
      Effect.provide(
        TestDatabase.layer({ name: "layer", key: "1", prepare: places }).pipe(
          Layer.provide(PostgresServer.layer())
        )
      ),
      Effect.provideService(ConfigProvider.ConfigProvider, ConfigProvider.fromUnknown({}))
    ), 60_000)
})

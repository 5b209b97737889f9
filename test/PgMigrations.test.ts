/**
 * Installing, upgrading and checking the schema, and what the application role may do.
 */
import { PgClient } from "@effect/sql-pg"
import { assert, describe, it } from "@effect/vitest"
import { TestDatabase } from "@restante/embedded-postgres"
import { PgMigrations, PgMsgStore } from "@restante/postgres"
import { Effect, Redacted, Result } from "effect"
import { randomBytes } from "node:crypto"
import { Message, MessageId, MsgStore, MsgStoreError } from "restante"
import { inject } from "vitest"
import { dump } from "./SchemaDump.ts"

const server = Redacted.make(inject("serverUrl"))

const clientOf = (url: Redacted.Redacted) => PgClient.layer({ url, maxConnections: 3 })

/** An empty database for the length of the effect. */
const inEmptyDatabase = <A, E>(use: (url: Redacted.Redacted) => Effect.Effect<A, E, PgClient.PgClient>) =>
  Effect.scoped(Effect.flatMap(
    TestDatabase.clone({ server, template: "template0" }),
    ({ url }) => Effect.provide(use(url), clientOf(url))
  ))

/** A role that may log in, for the length of the effect; roles belong to the whole server. */
const withRole = <A, E, R>(
  use: (role: { readonly name: string; readonly password: string }) => Effect.Effect<A, E, R>
) =>
  Effect.gen(function*() {
    const sql = yield* PgClient.PgClient
    const name = `restante_test_${randomBytes(6).toString("hex")}`
    const password = randomBytes(12).toString("hex")
    yield* sql.unsafe(`create role ${name} login password '${password}'`)
    return yield* Effect.ensuring(
      use({ name, password }),
      Effect.orDie(Effect.andThen(sql.unsafe(`drop owned by ${name} cascade`), sql.unsafe(`drop role ${name}`)))
    )
  })

const as = (url: Redacted.Redacted, role: { readonly name: string; readonly password: string }) => {
  const target = new URL(Redacted.value(url))
  target.username = role.name
  target.password = role.password
  return Redacted.make(target.href)
}

const versions = Effect.flatMap(PgClient.PgClient, (sql) =>
  Effect.map(
    sql<{ readonly version: number }>`select version from restante.schema_info order by version`,
    (rows) => rows.map((row) => row.version)
  ))

const latest = Effect.map(Effect.scoped(inEmptyDatabase(() => PgMigrations.migrate())), (report) => report.to)

const reasonOf = <A, R>(effect: Effect.Effect<A, PgMigrationFailure, R>) =>
  Effect.map(Effect.flip(effect), (error) => error._tag === "MigrationError" ? error.reason : error)

type PgMigrationFailure = Effect.Error<ReturnType<typeof PgMigrations.migrate>>

describe("PgMigrations.migrate", () => {
  it.live("installs the schema once when many processes start at once", () =>
    inEmptyDatabase((url) =>
      Effect.gen(function*() {
        const reports = yield* Effect.forEach(
          Array.from({ length: 8 }),
          () => Effect.provide(PgMigrations.migrate(), PgClient.layer({ url, maxConnections: 1 })),
          { concurrency: "unbounded" }
        )
        const to = yield* latest
        assert.deepStrictEqual(reports.map((report) => report.to), reports.map(() => to))
        assert.deepStrictEqual(yield* versions, Array.from({ length: to }, (_, i) => i + 1))
        yield* PgMigrations.check()
      })
    ))

  it.live("installs it once also where transactions are REPEATABLE READ by default", () =>
    inEmptyDatabase((url) =>
      Effect.gen(function*() {
        const strict = PgClient.layer({
          url,
          maxConnections: 1,
          startupParameters: { default_transaction_isolation: "repeatable read" }
        })
        yield* Effect.forEach(Array.from({ length: 6 }), () => Effect.provide(PgMigrations.migrate(), strict), {
          concurrency: "unbounded"
        })
        yield* PgMigrations.check()
      })
    ))

  it.live("changes nothing when it runs again", () =>
    inEmptyDatabase(() =>
      Effect.gen(function*() {
        const first = yield* PgMigrations.migrate()
        const before = yield* dump("restante")
        assert.deepStrictEqual(yield* PgMigrations.migrate(), { from: first.to, to: first.to })
        assert.strictEqual(yield* dump("restante"), before)
      })
    ))

  it.live("rolls a migration that fails back as a whole, keeps the ones before, and goes on from there", () =>
    inEmptyDatabase(() =>
      Effect.gen(function*() {
        const sql = yield* PgClient.PgClient
        // In the way of the second statement of the second migration.
        yield* sql`create schema restante`
        yield* sql`create table restante.messages ()`
        const reason = yield* reasonOf(PgMigrations.migrate())
        assert.strictEqual(reason._tag, "MigrationFailed")
        assert.include(reason.message, "already exists")
        assert.deepStrictEqual(yield* versions, [1])
        assert.deepStrictEqual(yield* sql`select to_regclass('restante.queues') as queues`, [{ queues: null }])
        yield* sql`drop table restante.messages`
        assert.deepStrictEqual(yield* PgMigrations.migrate(), { from: 1, to: yield* latest })
      })
    ))

  it.live("refuses a history that was edited", () =>
    inEmptyDatabase(() =>
      Effect.gen(function*() {
        const sql = yield* PgClient.PgClient
        yield* PgMigrations.migrate()
        yield* sql`update restante.schema_info set checksum = 'edited' where version = 2`
        const before = yield* dump("restante")
        for (const call of [PgMigrations.migrate(), PgMigrations.check()]) {
          const reason = yield* reasonOf(Effect.asVoid(call))
          assert.strictEqual(reason._tag, "HistoryEdited")
          assert.include(reason.message, "0002_msg_store")
        }
        assert.strictEqual(yield* dump("restante"), before)
      })
    ))

  it.live("refuses a database that a newer library has migrated", () =>
    inEmptyDatabase(() =>
      Effect.gen(function*() {
        const sql = yield* PgClient.PgClient
        const { to } = yield* PgMigrations.migrate()
        yield* sql`insert into restante.schema_info (version, name, checksum) values (${to + 1}, 'future', '')`
        for (const call of [PgMigrations.migrate(), PgMigrations.check()]) {
          const reason = yield* reasonOf(Effect.asVoid(call))
          assert.strictEqual(reason._tag, "SchemaNewer")
        }
      })
    ))

  it.live("keeps installations in several schemas apart, whatever the case of their names", () =>
    inEmptyDatabase((url) =>
      Effect.gen(function*() {
        for (const schema of ["one", "Two_2"]) yield* PgMigrations.migrate({ schema })
        const queue = yield* Effect.flatMap(MsgStore.MsgStore, (store) => store.createQueue()).pipe(
          Effect.provide(PgMsgStore.layer({ url, schema: "Two_2" }))
        )
        const found = yield* Effect.flatMap(MsgStore.MsgStore, (store) => Effect.result(store.size(queue.recipientId)))
          .pipe(Effect.provide(PgMsgStore.layer({ url, schema: "one" })))
        assert.isTrue(Result.isFailure(found))
      })
    ))

  for (const schema of ["", "a\"b", "a'b", "a.b", "a b", "1a", "pg_restante", "information_schema", "x".repeat(64)]) {
    it.live(`refuses the schema name ${JSON.stringify(schema).slice(0, 24)} and creates nothing`, () =>
      inEmptyDatabase(() =>
        Effect.gen(function*() {
          const sql = yield* PgClient.PgClient
          const schemas = sql`select nspname from pg_namespace order by nspname`
          const before = yield* schemas
          for (const call of [PgMigrations.migrate({ schema }), PgMigrations.check({ schema })]) {
            const error = yield* Effect.flip(Effect.asVoid(call))
            assert.strictEqual(error._tag, "InvalidArgument")
          }
          assert.deepStrictEqual(yield* schemas, before)
        })
      ))
  }
})

describe("PgMigrations.check", () => {
  it.live("tells an absent and an older schema, and so does the layer", () =>
    inEmptyDatabase((url) =>
      Effect.gen(function*() {
        const sql = yield* PgClient.PgClient
        const layerProblem = Effect.flip(
          Effect.asVoid(MsgStore.MsgStore).pipe(Effect.provide(PgMsgStore.layer({ url })))
        )
        assert.strictEqual((yield* reasonOf(PgMigrations.check()))._tag, "SchemaAbsent")
        const absent = yield* layerProblem
        assert.instanceOf(absent, MsgStoreError.MsgStoreError)
        assert.include(absent.message, "run PgMigrations.migrate")

        yield* PgMigrations.migrate()
        yield* sql`delete from restante.schema_info where version = (select max(version) from restante.schema_info)`
        assert.strictEqual((yield* reasonOf(PgMigrations.check()))._tag, "SchemaOlder")
        const older = yield* layerProblem
        assert.strictEqual(older._tag === "MsgStoreError" ? older.reason._tag : older._tag, "SchemaMismatch")
      })
    ))

  it.live("reports a server that is not there as DatabaseUnavailable", () =>
    Effect.gen(function*() {
      const nowhere = PgClient.layer({ url: Redacted.make("postgres://nobody@127.0.0.1:1/none") })
      const reason = yield* Effect.provide(reasonOf(PgMigrations.check()), nowhere)
      assert.strictEqual(reason._tag, "DatabaseUnavailable")
    }))
})

describe("roles", () => {
  it.live("the application role does the whole job and can touch no table and no private function (case 81)", () =>
    inEmptyDatabase((url) =>
      withRole((owner) =>
        withRole((app) =>
          Effect.gen(function*() {
            const sql = yield* PgClient.PgClient
            // The owner is an ordinary role as well: it has the schema, and no right to create others.
            yield* sql.unsafe(`create schema restante authorization ${owner.name}`)
            const migrated = yield* Effect.provide(
              PgMigrations.migrate({ applicationRole: app.name }),
              clientOf(as(url, owner))
            )
            assert.strictEqual(migrated.from, 0)

            const appUrl = as(url, app)
            yield* Effect.provide(PgMigrations.check(), clientOf(appUrl))
            yield* Effect.gen(function*() {
              const store = yield* MsgStore.MsgStore
              const { recipientId, senderId } = yield* store.createQueue({ quota: 1 })
              yield* store.write({ senderId }, { ...Message.fromText("m1"), id: MessageId.named("m1") })
              yield* store.writeMany([{ target: { senderId }, message: Message.fromText("m2") }])
              assert.strictEqual((yield* store.peekBatch(recipientId, { limit: 5 })).length, 2)
              assert.strictEqual((yield* store.getQueue({ senderId })).status, "active")
              yield* store.acknowledgeAndPeek(recipientId, MessageId.named("m1"))
              yield* store.acknowledgeThrough(recipientId, { sequence: 2n })
              yield* store.deleteExpired(recipientId, 0)
              yield* store.setQuota(recipientId, 2)
              yield* store.setQueueStatus(recipientId, "suspended")
              assert.strictEqual(yield* store.size(recipientId), 0)
              yield* store.deleteQueue(recipientId)
            }).pipe(Effect.provide(PgMsgStore.layer({ url: appUrl })))

            yield* Effect.gen(function*() {
              const appSql = yield* PgClient.PgClient
              const forbidden = [
                "select * from restante.queues",
                "select * from restante.messages",
                "select * from restante.schema_info",
                "insert into restante.schema_info values (9, '', '')",
                "update restante.queues set size = 0",
                "delete from restante.messages",
                "truncate restante.messages",
                "create table restante.mine ()",
                "drop function restante.peek(bytea)",
                "select restante._recount(null)",
                "select restante._remove_through(null, 1)",
                `select restante._grant_to('${app.name}')`
              ]
              for (const statement of forbidden) {
                const error = yield* Effect.flip(appSql.unsafe(statement))
                const { cause } = error.reason
                const code = typeof cause === "object" && cause !== null && "code" in cause ? cause.code : undefined
                assert.strictEqual(code, "42501", statement)
              }
            }).pipe(Effect.provide(clientOf(appUrl)))
          })
        )
      )
    ))

  it.live("functions of others in the same schema are neither granted nor closed", () =>
    inEmptyDatabase(() =>
      withRole((app) =>
        Effect.gen(function*() {
          const sql = yield* PgClient.PgClient
          yield* sql`create schema restante`
          yield* sql`create function restante.wipe() returns int language sql security definer as 'select 1'`
          yield* sql`revoke all on function restante.wipe() from public`
          yield* sql`create function restante.harmless() returns int language sql as 'select 1'`
          yield* PgMigrations.migrate({ applicationRole: app.name })
          const rights = yield* sql`
            select proname, has_function_privilege(${app.name}, oid, 'execute') as granted
              from pg_proc where proname in ('wipe', 'harmless') and pronamespace = 'restante'::regnamespace
             order by proname`
          assert.deepStrictEqual(rights, [
            { proname: "harmless", granted: true },
            { proname: "wipe", granted: false }
          ])
        })
      )
    ))

  it.live("an application role that does not exist is GrantFailed, with the schema in place", () =>
    inEmptyDatabase(() =>
      Effect.gen(function*() {
        const reason = yield* reasonOf(PgMigrations.migrate({ applicationRole: "nobody of this name" }))
        assert.strictEqual(reason._tag, "GrantFailed")
        assert.include(reason.message, "nobody of this name")
        yield* PgMigrations.check()
      })
    ))

  it.live("a role without grants is told so, and PUBLIC has none", () =>
    inEmptyDatabase((url) =>
      withRole((stranger) =>
        Effect.gen(function*() {
          const sql = yield* PgClient.PgClient
          yield* PgMigrations.migrate()
          const reason = yield* Effect.provide(reasonOf(PgMigrations.check()), clientOf(as(url, stranger)))
          assert.strictEqual(reason._tag, "SchemaAbsent")
          assert.include(reason.message, "applicationRole")
          // Even with the schema open to all, the functions are not.
          yield* sql`grant usage on schema restante to public`
          const open = yield* sql`
            select proname from pg_proc
             where pronamespace = 'restante'::regnamespace
               and has_function_privilege(${stranger.name}, oid, 'execute')`
          assert.deepStrictEqual(open, [])
        })
      )
    ))

  it.live("every function is pinned to its schema, SECURITY DEFINER, and none is both STABLE and changing", () =>
    inEmptyDatabase(() =>
      Effect.gen(function*() {
        const sql = yield* PgClient.PgClient
        yield* PgMigrations.migrate()
        // _is_sound is an expression over its parameters, and becomes part of the statements that use it.
        const unpinned = yield* sql`
          select proname from pg_proc
           where pronamespace = 'restante'::regnamespace and proname <> '_is_sound'
             and (proconfig is null or not 'search_path=restante, pg_temp' = any (proconfig)
                  or not prosecdef and proname not in ('_grant_to', '_close_to_public', '_functions'))`
        assert.deepStrictEqual(unpinned, [])
      })
    ))
})

describe("the schema", () => {
  it.live("is the one that was committed, so that every change of it shows up in review", (ctx) =>
    inEmptyDatabase(() =>
      Effect.gen(function*() {
        yield* PgMigrations.migrate()
        const text = yield* dump("restante")
        yield* Effect.promise(() => ctx.expect(text).toMatchFileSnapshot("../packages/postgres/schema.txt"))
      })
    ))
})

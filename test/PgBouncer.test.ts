/**
 * The store behind PgBouncer in transaction mode, where two calls need not reach the same session, startup parameters are
 * dropped and nobody can LISTEN. Skipped where there is no PgBouncer.
 */
import { PgClient } from "@effect/sql-pg"
import { assert, describe, it } from "@effect/vitest"
import * as MsgStoreSuite from "@restante/conformance/MsgStoreSuite"
import { PgTransport } from "@restante/pg-session"
import { PgMsgStore } from "@restante/postgres"
import { Deferred, Effect, Exit, Fiber, Layer, Redacted, Scope } from "effect"
import { randomBytes } from "node:crypto"
import { type InvalidArgument, Message, MsgStore, MsgStoreError, RecipientId } from "restante"
import { afterAll, inject } from "vitest"
import * as PgBouncer from "./fixtures/postgres/pgbouncer.ts"
import * as PostgresDatabase from "./PostgresDatabase.ts"

/** What a user gives a store behind a PgBouncer that carries no prepared statements. */
const unprepared = (url: Redacted.Redacted, limits?: MsgStore.Limits) =>
  Layer.provide(PgMsgStore.layerClient(limits), PgTransport.layer({ url, prepare: false, maxConnections: 10 }))

/** Where it carries them, a pool of the store's own will do. It must not try to listen. */
const prepared = (url: Redacted.Redacted, limits?: MsgStore.Limits) =>
  PgMsgStore.layer({ url, notify: false, ...limits })

const build = (layer: Layer.Layer<MsgStore.MsgStore, InvalidArgument | MsgStoreError.MsgStoreError>) =>
  Effect.provide(Effect.asVoid(MsgStore.MsgStore), layer)

interface Role {
  readonly name: string
  readonly password: string
}

const role = (): Role => ({
  name: `restante_test_${randomBytes(6).toString("hex")}`,
  password: randomBytes(12).toString("hex")
})

const as = (url: Redacted.Redacted, { name, password }: Role): Redacted.Redacted => {
  const changed = new URL(Redacted.value(url))
  changed.username = name
  changed.password = password
  return Redacted.make(changed.href)
}

/** The role exists, with a setting that no pooler can drop, as long as the effect runs. */
const withSetting = <A, E>(
  owner: PgClient.PgClient,
  { name, password }: Role,
  [setting, value]: readonly [string, string],
  use: Effect.Effect<A, E>
) =>
  Effect.acquireUseRelease(
    Effect.andThen(
      owner.unsafe(`create role ${name} superuser login password '${password}'`),
      owner.unsafe(`alter role ${name} set ${setting} = '${value}'`)
    ),
    () => use,
    () => Effect.orDie(owner.unsafe(`drop role ${name}`))
  )

const behind = async (program: PgBouncer.Program) => {
  const url = await PostgresDatabase.open()
  const scope = Scope.makeUnsafe()
  afterAll(() => Effect.runPromise(Scope.close(scope, Exit.void)))
  const [limited, strict] = [role(), role()]
  const options = {
    program,
    server: Redacted.make(inject("serverUrl")),
    users: Object.fromEntries([limited, strict].map(({ name, password }) => [name, password]))
  }
  const { through } = await Effect.runPromise(Scope.provide(PgBouncer.make(options), scope))

  const suite = (
    what: string,
    { through }: PgBouncer.PgBouncer,
    layer: (url: Redacted.Redacted, limits: MsgStore.Limits) => ReturnType<MsgStoreSuite.Constructor>
  ) =>
    MsgStoreSuite.suite(
      `PostgreSQL behind PgBouncer ${program.version}, transaction mode, ${what}`,
      (limits) => layer(through(url), limits),
      { survivesReopen: true, empty: (limits) => PostgresDatabase.layerEmpty((url) => layer(through(url), limits)) },
      { histories: 100 }
    )
  suite("nothing prepared", { through }, unprepared)
  if (program.prepares) {
    const preparing = PgBouncer.make({ ...options, maxPreparedStatements: 200 })
    suite("prepared statements", await Effect.runPromise(Scope.provide(preparing, scope)), prepared)
  }

  describe(`PgBouncer ${program.version}`, () => {
    it.live("many calls of many connections share the few sessions that it has", () =>
      Effect.gen(function*() {
        const sql = yield* PgClient.PgClient
        const pids = yield* Effect.all(
          Array.from(
            { length: 40 },
            () => sql<{ readonly pid: number }>`select pg_backend_pid() as pid, pg_sleep(0.01)`
          ),
          { concurrency: "unbounded" }
        )
        assert.isAtMost(new Set(pids.flat().map(({ pid }) => pid)).size, PgBouncer.poolSize)
      }).pipe(Effect.provide(PgClient.layer({ url: through(url), prepare: false, maxConnections: 20 }))))

    it.live("a store whose transactions would be stricter than READ COMMITTED is refused, not run (rule 10.4)", () =>
      Effect.gen(function*() {
        const owner = yield* PgClient.PgClient
        const setting = ["default_transaction_isolation", "repeatable read"] as const
        const error = yield* withSetting(
          owner,
          strict,
          setting,
          Effect.andThen(
            // The layer asks for READ COMMITTED itself, and gets it from the server.
            build(prepared(as(url, strict))),
            Effect.flip(build(prepared(through(as(url, strict)))))
          )
        )
        assert.instanceOf(error, MsgStoreError.MsgStoreError)
        assert.strictEqual(error.reason._tag, "SchemaMismatch")
        assert.include(error.message, "ALTER ROLE")
      }).pipe(Effect.provide(PostgresDatabase.ownerLayer(url))))

    it.live("time limits that belong to the role hold (rule 7.2)", () =>
      Effect.gen(function*() {
        const owner = yield* PgClient.PgClient
        const write = Effect.gen(function*() {
          const store = yield* MsgStore.MsgStore
          const { recipientId } = yield* store.createQueue()
          const locked = yield* Deferred.make<void>()
          const release = yield* Deferred.make<void>()
          const holder = yield* Effect.forkChild(owner.withTransaction(Effect.gen(function*() {
            yield* owner`select from restante.queues
                          where recipient_id = ${RecipientId.toBytes(recipientId)} for update`
            yield* Deferred.succeed(locked, undefined)
            yield* Deferred.await(release)
          })))
          yield* Deferred.await(locked)
          const error = yield* Effect.flip(store.write({ recipientId }, Message.fromText("m1")))
          yield* Deferred.succeed(release, undefined)
          yield* Fiber.join(holder)
          yield* store.write({ recipientId }, Message.fromText("m2"))
          return error
        }).pipe(Effect.provide(unprepared(through(as(url, limited)))))
        const error = yield* withSetting(owner, limited, ["lock_timeout", "50ms"], write)
        assert.instanceOf(error, MsgStoreError.MsgStoreError)
        assert.strictEqual(error.reason._tag, "Timeout")
      }).pipe(Effect.provide(PostgresDatabase.ownerLayer(url))))
  })

  PostgresDatabase.itIsSound(url)
}

const program = PgBouncer.find()
const missing = program === undefined
  ? "there is no program `pgbouncer` on this machine: PgBouncer.test.ts tests nothing"
  : program.prepares
  ? undefined
  : `PgBouncer ${program.version} carries no prepared statements, 1.21 does: the suite runs without them only`
if (missing !== undefined) console.warn(missing)

it("there is a PgBouncer, and it carries prepared statements", (ctx) => {
  ctx.skip(missing !== undefined, missing)
  assert.isTrue(program?.prepares)
})

if (program !== undefined) await behind(program)

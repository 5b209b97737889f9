/**
 * The whole of `@restante/pg-session` wired together, as a program uses it.
 */
import { PgClient } from "@effect/sql-pg"
import { assert, describe, it } from "@effect/vitest"
import {
  PgCancel,
  PgCodecs,
  PgCopy,
  PgErrors,
  PgListener,
  PgQuery,
  PgSession,
  PgTransaction,
  PgTransport
} from "@restante/pg-session"
import { PgMigrations, PgMsgStore } from "@restante/postgres"
import { Cause, Effect, Exit, Fiber, Layer, Option, Redacted, Result, type Scope, Stream } from "effect"
import { Message, MsgStore } from "restante"
import { untilOneWaits } from "./fixtures/postgres/activity.ts"
import * as PostgresDatabase from "./PostgresDatabase.ts"

const url = await PostgresDatabase.open()

const run = <A, E>(
  effect: Effect.Effect<A, E, PgSession.Services | Scope.Scope>,
  options: Partial<PgSession.Options> = {}
) =>
  effect.pipe(
    Effect.scoped,
    Effect.provide(PgSession.layer({ url, maxConnections: 2, ...options })),
    Effect.runPromise
  )

const errorOf = <A, E>(exit: Exit.Exit<A, E>): E =>
  Exit.isFailure(exit) ? Option.getOrThrow(Cause.findErrorOption(exit.cause)) : assert.fail("it succeeded")

describe("a session", () => {
  it("copies, notifies and commits as one transaction", () =>
    run(Effect.gen(function*() {
      const sql = yield* PgClient.PgClient
      const listener = yield* PgListener.PgListener
      yield* sql`create table readings (sensor int, at timestamptz, value float8)`
      const subscription = yield* listener.subscribe("readings")
      assert.strictEqual((yield* subscription.take)._tag, "Gap")
      const copied = yield* PgTransaction.serializable(Effect.gen(function*() {
        const copied = yield* PgCopy.copyInRows(
          { table: "readings" },
          Stream.map(Stream.range(1, 1_000), (n) => [n, new Date(n), n / 2])
        )
        yield* listener.notify("readings", String(copied.rows))
        assert.deepStrictEqual(yield* subscription.takeAll, [])
        return copied
      }))
      assert.strictEqual(copied.rows, 1_000)
      const event = yield* subscription.take
      assert.strictEqual(event._tag === "Notification" && event.payload, "1000")
      assert.strictEqual((yield* PgQuery.execute(sql`delete from readings`)).tag, "DELETE 1000")
    })))

  it("reads every type, and what it has no codec for as raw bytes", () =>
    run(Effect.gen(function*() {
      const sql = yield* PgClient.PgClient
      yield* sql`create type mood as enum ('glad', 'sad')`
      const { parameter, refresh } = yield* PgCodecs.PgCodecs
      yield* refresh(["mood"])
      const [row] = yield* sql<Record<string, unknown>>`
        select 'glad'::mood as mood, array['sad', null]::mood[] as moods, '[1,5)'::int4range as range,
               '(1,2)'::point as point, ${Result.getOrThrow(parameter("mood[]", ["glad"]))} as sent,
               '{{1,2},{3,4}}'::int4[] as matrix, pg_node_tree from
               (select adbin as pg_node_tree from pg_attrdef limit 1) d`
      assert.strictEqual(row?.["mood"], "glad")
      assert.deepStrictEqual(row?.["moods"], ["sad", null])
      assert.deepStrictEqual(row?.["point"], { x: 1, y: 2 })
      assert.deepStrictEqual(row?.["sent"], ["glad"])
      assert.deepStrictEqual(row?.["matrix"], [[1, 2], [3, 4]])
    })))

  const created: ReadonlyArray<readonly [string, string]> = [["a table", "table"], ["a temporary table", "temp table"]]
  for (const [what, table] of created) {
    it(`case 41: the row of ${what} that was created since is a PgRaw, and no end of the session`, () =>
      run(
        Effect.gen(function*() {
          const sql = yield* PgClient.PgClient
          const { refresh } = yield* PgCodecs.PgCodecs
          const pid = sql<{ readonly pid: number }>`select pg_backend_pid() as pid`
          const before = yield* pid
          const rows = sql<{ readonly row: unknown; readonly rows: unknown; readonly record: unknown }>`
            select l as row, array[l, null] as rows, row(l) as record from later l`
          yield* sql.withTransaction(Effect.gen(function*() {
            yield* sql.unsafe(`create ${table} later (a int8, b bytea)`)
            // Prepared before there is a row.
            assert.deepStrictEqual(yield* rows, [])
            yield* sql.unsafe("insert into later values (-1, '\\xff')")
            const [first] = yield* rows
            assert.instanceOf(first?.row, PgCodecs.PgRaw)
            assert.instanceOf(first?.rows, PgCodecs.PgRaw)
            assert.deepStrictEqual(first?.record, [{ oid: first.row.oid, value: first.row }])
          }))
          assert.deepStrictEqual(yield* pid, before)
          if (table === "table") {
            yield* refresh(["later"])
            const object = { a: -1n, b: Uint8Array.of(0xff) }
            const [again] = yield* rows
            assert.deepStrictEqual(again?.row, object)
            assert.deepStrictEqual(again?.rows, [object, null])
            yield* sql`drop table later`
          }
        }),
        { maxConnections: 1 }
      ))
  }

  it("an undefined `unknown` among the options changes nothing", () =>
    run(
      Effect.gen(function*() {
        const sql = yield* PgClient.PgClient
        const [row] = yield* sql`select c from pg_class c limit 1`
        assert.instanceOf(row?.["c"], PgCodecs.PgRaw)
      }),
      { codecs: { unknown: undefined } }
    ))

  it("tells its own cancels from a timeout and from those of others", () =>
    run(
      Effect.gen(function*() {
        const sql = yield* PgClient.PgClient
        const transport = yield* PgTransport.PgTransport
        const pid = yield* Effect.map(
          sql<{ readonly pid: number }>`select pg_backend_pid() as pid`,
          (rows) => rows[0]?.pid ?? 0
        )
        const cancelled = Effect.fnUntraced(function*(cancel: Effect.Effect<unknown, unknown, PgSession.Services>) {
          const fiber = yield* Effect.forkScoped(Effect.exit(sql`select pg_sleep(100)`))
          yield* untilOneWaits(sql, "PgSleep")
          yield* cancel
          return PgErrors.from(errorOf(yield* Fiber.join(fiber))).cancellation
        })
        const busy = Effect.map(transport.sessions, (sessions) => sessions.find((session) => session.pid === pid))
        assert.isDefined(yield* busy)
        const all = Effect.flatMap(transport.sessions, Effect.forEach(({ pid }) => PgCancel.cancel(pid)))
        assert.deepStrictEqual(yield* cancelled(all), { _tag: "Cancelled", by: "self" })
        const byAddress = Effect.flatMap(
          transport.sessions,
          Effect.forEach(({ address, pid, secret }) => PgCancel.cancelAt({ ...address, pid, secret }))
        )
        assert.deepStrictEqual(yield* cancelled(byAddress), { _tag: "Cancelled", by: "self" })
        const byOthers = Effect.provide(
          Effect.flatMap(PgClient.PgClient, (owner) =>
            owner`select pg_cancel_backend(pid) from pg_stat_activity where wait_event = 'PgSleep'`),
          PostgresDatabase.ownerLayer(url)
        )
        assert.deepStrictEqual(yield* cancelled(byOthers), { _tag: "Cancelled", by: "other" })
        yield* sql.withTransaction(Effect.gen(function*() {
          yield* sql`set local statement_timeout = 20`
          const error = errorOf(yield* Effect.exit(sql`select pg_sleep(100)`))
          assert.strictEqual(PgErrors.from(error).cancellation?._tag, "StatementTimeout")
          return yield* Effect.fail("undo")
        })).pipe(Effect.ignore)
      })
    ))

  it("says where in a marked statement the server found the error", () =>
    run(Effect.gen(function*() {
      const sql = yield* PgClient.PgClient
      const error = errorOf(yield* Effect.exit(PgQuery.execute(sql.unsafe("create table t (n nonsense)"))))
      assert.strictEqual(PgErrors.from(error).position, 19)
    })))

  it("serves a store as its client", () =>
    run(Effect.gen(function*() {
      yield* PgMigrations.migrate()
      yield* Effect.gen(function*() {
        const store = yield* MsgStore.MsgStore
        const queue = yield* store.createQueue({ quota: 2 })
        yield* store.write({ senderId: queue.senderId }, Message.fromText("hello"))
        const head = yield* store.peek(queue.recipientId)
        assert.isTrue(Option.isSome(head))
      }).pipe(Effect.provide(PgMsgStore.layerClient()))
    })))
})

describe("options that cannot work", () => {
  const unusable: ReadonlyArray<readonly [string, PgSession.Options]> = [
    ["a malformed URL", { url: Redacted.make("postgresql://user:hunter2@host:notaport/db") }],
    ["another scheme", { url: Redacted.make("mysql://user:hunter2@host/db") }],
    ["sslmode=prefer", { url: Redacted.make("postgresql://user:hunter2@host/db?sslmode=prefer") }],
    ["an unknown key", { url: Redacted.make("postgresql://user:hunter2@host/db?sslmodus=require") }]
  ]
  for (const [what, options] of unusable) {
    it(`${what} is refused as ConfigError, and no text repeats the password`, () =>
      Effect.gen(function*() {
        const exit = yield* Effect.exit(Effect.scoped(Layer.build(PgSession.layer(options))))
        const error = errorOf(exit)
        assert.isTrue(
          error instanceof PgTransport.PgTransportError && error.reason._tag === "ConfigError",
          String(error)
        )
        assert.notInclude(String(error) + JSON.stringify(error), "hunter2")
      }).pipe(Effect.runPromise))
  }

  it("an unknown host is a typed error within the time given", () =>
    Effect.gen(function*() {
      const exit = yield* Effect.exit(Effect.scoped(Layer.build(PgSession.layer({
        host: "no-such-host.invalid",
        username: "u",
        tls: { mode: "disable" },
        connectTimeout: "2 seconds"
      }))))
      const error = errorOf(exit)
      assert.strictEqual(PgErrors.from(error).outcome, "notApplied")
      assert.isTrue(error instanceof PgTransport.PgTransportError && error.reason._tag === "Unreachable", String(error))
      assert.include(String(error), "no-such-host.invalid")
    }).pipe(Effect.runPromise))

  it("a wrong password is refused with the server's code", () =>
    Effect.gen(function*() {
      const target = new URL(Redacted.value(url))
      target.password = "wrong-secret"
      const exit = yield* Effect.exit(Effect.scoped(Layer.build(PgSession.layer({ url: Redacted.make(target.href) }))))
      const view = PgErrors.from(errorOf(exit))
      assert.deepStrictEqual([view.sqlstate, view.retry, view.category], ["28P01", "no", "security"])
      assert.notInclude(Cause.pretty(Exit.isFailure(exit) ? exit.cause : Cause.empty), "wrong-secret")
    }).pipe(Effect.runPromise))
})

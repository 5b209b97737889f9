/** Single statements (spec 9 and 10, cases 19, 43, 46, 47 and 48). */
import { PgClient, PgTypes } from "@effect/sql-pg"
import { assert, describe, it } from "@effect/vitest"
import * as PgErrors from "@restante/pg-session/PgErrors"
import * as PgQuery from "@restante/pg-session/PgQuery"
import * as PgTransport from "@restante/pg-session/PgTransport"
import { Duration, Effect, Exit, Fiber, Option, Redacted, Schedule, Tracer } from "effect"
import { isSqlError } from "effect/sql/SqlError"
import * as Proxy from "./fixtures/postgres/proxy.ts"
import * as PostgresDatabase from "./PostgresDatabase.ts"

const url = await PostgresDatabase.open()

const plain = PgClient.layer({ url, maxConnections: 1 })
const transport = PgTransport.layer({ url, maxConnections: 1 })
const multiplexed = PgClient.layer({ url, maxConnections: 1, multiplex: true })

/** Each with a pool of one connection, so that it shows if a connection is lost or not given back. */
const layers = { "a plain client": plain, "a transport": transport }

const watcher = PgClient.layer({ url, maxConnections: 1 })

let tables = 0
/** A table of its own for each test. */
const table = Effect.fnUntraced(function*(columns = "id int") {
  const sql = yield* PgClient.PgClient
  const name = `t${++tables}`
  yield* sql.unsafe(`create table ${name} (${columns})`)
  return name
})

const pid = Effect.gen(function*() {
  const sql = yield* PgClient.PgClient
  return yield* Effect.flatMap(PgQuery.queryOne(sql`select pg_backend_pid() as pid`), (row) => row.getInt("pid"))
})

/** The reason of a `PgQueryError`, or what else it failed with. */
const reason = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.map(Effect.flip(effect), (error) => error instanceof PgQuery.PgQueryError ? error.reason : error)

const misuse = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.map(reason(effect), (reason) => reason instanceof PgQuery.Misuse ? reason.kind : reason)

for (const [name, layer] of Object.entries(layers)) {
  describe(`on ${name}`, () => {
    it("case 43: queryOne wants one row, queryOption at most one, query takes any number", () =>
      Effect.gen(function*() {
        const sql = yield* PgClient.PgClient
        const rows = (n: number) => sql`select i from generate_series(1, ${n}) i`
        assert.strictEqual(yield* (yield* PgQuery.queryOne(rows(1))).getInt("i"), 1)
        const none = yield* Effect.flip(PgQuery.queryOne(rows(0)))
        assert.deepStrictEqual([PgErrors.from(none).sqlstate, PgErrors.from(none).condition], ["02000", "no_data"])
        assert.isTrue(PgErrors.is(yield* Effect.flip(PgQuery.queryOne(rows(2))), "21000"))
        assert.isTrue(PgErrors.is(yield* Effect.flip(PgQuery.queryOption(rows(2))), "21000"))
        assert.isTrue(Option.isNone(yield* PgQuery.queryOption(rows(0))))
        assert.isTrue(Option.isSome(yield* PgQuery.queryOption(rows(1))))
        assert.lengthOf(yield* PgQuery.query(rows(3)), 3)
      }).pipe(Effect.provide(layer), Effect.runPromise))

    it("case 43: execute tells the tag of insert, update, delete, merge and select", () =>
      Effect.gen(function*() {
        const sql = yield* PgClient.PgClient
        const t = yield* table()
        const [server] = yield* sql<{ readonly version: number }>`
          select current_setting('server_version_num')::int4 as version`
        const merge = `merge into ${t} using (values (2)) v (i) on id = i when matched then delete`
        // PostgreSQL has MERGE from 15 on.
        const gone = (server?.version ?? 0) >= 150_000
          ? { text: merge, tag: "MERGE 1" }
          : { text: `delete from ${t} where id = 2`, tag: "DELETE 1" }
        const statements = [
          { text: `insert into ${t} values (1), (2)`, tag: "INSERT 0 2" },
          { text: `with more as (select 3 as i) insert into ${t} select i from more`, tag: "INSERT 0 1" },
          { text: `update ${t} set id = id + 1`, tag: "UPDATE 3" },
          { text: `/* a comment */ -- and another\n(select * from ${t})`, tag: "SELECT 3" },
          gone,
          { text: `delete from ${t}`, tag: "DELETE 2" },
          { text: "values (1), (2)", tag: "SELECT 2" }
        ]
        for (const { tag, text } of statements) {
          const [verb = "", ...rest] = tag.split(" ")
          const expected = { tag, verb, rows: Number(rest.at(-1)) }
          assert.deepStrictEqual(yield* PgQuery.execute(sql.unsafe(text)), expected)
        }
        assert.deepStrictEqual(yield* PgQuery.execute(sql.unsafe("")), { tag: "", verb: "", rows: 0 })
      }).pipe(Effect.provide(layer), Effect.runPromise))

    it("an error says where in the text as it was given, with and without a count in the tag", () =>
      Effect.gen(function*() {
        const sql = yield* PgClient.PgClient
        for (const [text, position] of [["select 'é', nothing", 13], ["create table x (id nonsense)", 20]] as const) {
          const error = yield* Effect.flip(PgQuery.execute(sql.unsafe(text)))
          assert.strictEqual(PgErrors.from(error).position, position)
        }
      }).pipe(Effect.provide(layer), Effect.runPromise))

    it("parameters are parameters, and the fragments of a client are as ever", () =>
      Effect.gen(function*() {
        const sql = yield* PgClient.PgClient
        const t = yield* table("id int, name text")
        const values = { id: 1, name: "a'b" }
        assert.strictEqual((yield* PgQuery.execute(sql`insert into ${sql(t)} ${sql.insert(values)}`)).tag, "INSERT 0 1")
        const row = yield* PgQuery.queryOne(sql`select name from ${sql(t)} where id = ${1}`)
        assert.strictEqual(yield* row.getText("name"), "a'b")
      }).pipe(Effect.provide(layer), Effect.runPromise))

    it("case 19: a COPY where a query is expected is refused with 0A000, and the session stays", () =>
      Effect.gen(function*() {
        const sql = yield* PgClient.PgClient
        const t = yield* table()
        const before = yield* pid
        const texts = [
          `copy ${t} from stdin`,
          `-- a comment\ncopy ${t} (id) from stdin with (format csv)`,
          `COPY ${t} TO STDOUT`,
          `copy (select 1 from ${t}) to stdout`
        ]
        for (const text of texts) {
          const statement = sql.unsafe(text)
          for (
            const error of [
              yield* Effect.flip(PgQuery.query(statement)),
              yield* Effect.flip(PgQuery.queryOption(statement)),
              yield* Effect.flip(PgQuery.execute(statement))
            ]
          ) {
            const { hint, message, outcome, sqlstate } = PgErrors.from(error)
            assert.deepStrictEqual([sqlstate, outcome], ["0A000", "notApplied"])
            assert.include(`${message} ${hint}`, "PgCopy")
          }
        }
        assert.strictEqual(yield* pid, before)
        // Words in other places are no COPY.
        assert.lengthOf(yield* PgQuery.query(sql`select 'copy t from stdin' as copy`), 1)
      }).pipe(Effect.provide(layer), Effect.runPromise))

    it("text that UTF-8 cannot express is refused, and what the server refuses leaves the session", () =>
      Effect.gen(function*() {
        const sql = yield* PgClient.PgClient
        const before = yield* pid
        const half = "\ud83d"
        for (
          const statement of [
            sql`select ${half}`,
            sql`select ${["a", `b${half}`]}`,
            sql`select ${PgTypes.text(half)}`,
            sql.unsafe(`select '${half}'`)
          ]
        ) assert.strictEqual(yield* misuse(PgQuery.query(statement)), "IllFormedText")
        assert.strictEqual(yield* misuse(PgQuery.execute(sql`select ${half}`)), "IllFormedText")
        const refused = [
          [sql`select ${"a\0b"}::text`, "22021"],
          [sql`select convert_from(${Uint8Array.of(0xff)}, 'UTF8')`, "22021"],
          [sql`select 1; select 2`, "42601"],
          [sql`selec`, "42601"]
        ] as const
        for (const [statement, code] of refused) {
          assert.strictEqual(PgErrors.from(yield* Effect.flip(PgQuery.query(statement))).sqlstate, code)
        }
        assert.isTrue(isSqlError(yield* Effect.flip(PgQuery.query(sql.unsafe("select 1\0")))))
        assert.strictEqual(yield* pid, before)
      }).pipe(Effect.provide(layer), Effect.runPromise))

    it("everything runs in the current transaction", () =>
      Effect.gen(function*() {
        const sql = yield* PgClient.PgClient
        const t = yield* table()
        yield* Effect.exit(sql.withTransaction(Effect.gen(function*() {
          yield* PgQuery.execute(sql.unsafe(`insert into ${t} values (1)`))
          yield* PgQuery.execute(sql.unsafe(`alter table ${t} add column b int`))
          yield* PgQuery.ping()
          assert.lengthOf(yield* PgQuery.query(sql.unsafe(`select b from ${t}`)), 1)
          return yield* Effect.fail("roll back")
        })))
        assert.lengthOf(yield* PgQuery.query(sql.unsafe(`select * from ${t}`)), 0)
        assert.isTrue(PgErrors.is(yield* Effect.flip(PgQuery.query(sql.unsafe(`select b from ${t}`))), "42703"))
      }).pipe(Effect.provide(layer), Effect.runPromise))

    it("case 46: a write that was lost fails typed and is not repeated", () =>
      Effect.gen(function*() {
        const sql = yield* PgClient.PgClient
        const sequence = `s${++tables}`
        yield* sql.unsafe(`create sequence ${sequence}`)
        const lost = yield* Effect.forkChild(Effect.flip(
          PgQuery.execute(sql.unsafe(`select nextval('${sequence}'), pg_sleep(60)`))
        ))
        yield* kill(sequence)
        const error = yield* Fiber.join(lost)
        assert.isTrue(isSqlError(error))
        const { outcome, retry } = PgErrors.from(error)
        assert.deepStrictEqual({ outcome, retry }, { outcome: "unknown", retry: "session" })
        const row = yield* PgQuery.queryOne(sql.unsafe(`select last_value from ${sequence}`))
        assert.strictEqual(yield* row.getInt("last_value"), 1)
      }).pipe(Effect.provide(layer), Effect.runPromise))

    it("case 46: a statement that is declared idempotent bridges the loss", () =>
      Effect.gen(function*() {
        const sql = yield* PgClient.PgClient
        const sequence = `s${++tables}`
        yield* sql.unsafe(`create sequence ${sequence}`)
        // The first run waits to be killed; the second finds that it is the second.
        const statement = sql.unsafe(`
          select case when nextval('${sequence}') = 1 then pg_sleep(60)::text end, currval('${sequence}') as run`)
        const bridged = yield* Effect.forkChild(PgQuery.queryOne(statement, { idempotent: true }))
        yield* kill(sequence)
        assert.strictEqual(yield* (yield* Fiber.join(bridged)).getInt("run"), 2)
      }).pipe(Effect.provide(layer), Effect.runPromise))

    it("case 46: a session that was killed while idle does no harm to the next statements", () =>
      Effect.gen(function*() {
        const sql = yield* PgClient.PgClient
        const victim = yield* pid
        yield* Effect.gen(function*() {
          const killer = yield* PgClient.PgClient
          yield* killer`select pg_terminate_backend(${victim}, 10000)`
        }).pipe(Effect.provide(watcher))
        const first = yield* Effect.exit(PgQuery.queryOne(sql`select 1 as one`))
        if (Exit.isFailure(first)) {
          const error = yield* Effect.flip(first)
          assert.strictEqual(PgErrors.retry(error), "session")
        }
        assert.notStrictEqual(yield* pid, victim)
      }).pipe(Effect.provide(layer), Effect.runPromise))

    it("nothing is repeated inside a transaction, where it could not help", () =>
      Effect.gen(function*() {
        const sql = yield* PgClient.PgClient
        const sequence = `s${++tables}`
        yield* sql.unsafe(`create sequence ${sequence}`)
        const error = yield* Effect.flip(sql.withTransaction(PgQuery.execute(
          sql.unsafe(
            `do $$ begin perform nextval('${sequence}'); raise exception 'no' using errcode = '40001'; end $$`
          ),
          { idempotent: true }
        )))
        assert.isTrue(PgErrors.is(error, "40001"))
        const row = yield* PgQuery.queryOne(sql.unsafe(`select last_value from ${sequence}`))
        assert.strictEqual(yield* row.getInt("last_value"), 1)
      }).pipe(Effect.provide(layer), Effect.runPromise))

    it("case 43: ping gives the round trip, and an error that says so when the server is silent", () =>
      Effect.gen(function*() {
        const proxy = yield* Proxy.make(url)
        const through = name === "a transport"
          ? PgTransport.layer({ url: proxy.url, maxConnections: 1 })
          : PgClient.layer({ url: proxy.url, maxConnections: 1 })
        yield* Effect.gen(function*() {
          assert.isAbove(Duration.toMillis(yield* PgQuery.ping("30 seconds")), 0)
          yield* proxy.silence
          const [took, silent] = yield* Effect.timed(reason(PgQuery.ping("50 millis")))
          assert.deepStrictEqual(silent, new PgQuery.NoAnswer({ millis: 50 }))
          // The driver needs 5 seconds to give up what it has sent; nobody has to wait for that.
          assert.isBelow(Duration.toMillis(took), 4000)
          yield* proxy.heal
          // The connection with the ping that was given up is replaced by another.
          yield* Effect.retry(PgQuery.ping("10 seconds"), { times: 3 })
        }).pipe(Effect.provide(through))
      }).pipe(Effect.scoped, Effect.runPromise))

    it("a ping that waits for a connection can be interrupted", () =>
      Effect.gen(function*() {
        const sql = yield* PgClient.PgClient
        yield* sql.reserve
        const ping = yield* Effect.forkChild(PgQuery.ping("1 hour"), { startImmediately: true })
        yield* Effect.timeout(Fiber.interrupt(ping), "20 seconds")
        assert.isTrue(Exit.hasInterrupts(yield* Fiber.await(ping)))
      }).pipe(Effect.scoped, Effect.provide(layer), Effect.runPromise))

    it("case 48: neither a parameter nor a password is in an error or a span", () => {
      const spans: Array<Tracer.Span> = []
      const tracer = Tracer.make({
        span: (options) => {
          const span = new Tracer.NativeSpan(options)
          spans.push(span)
          return span
        }
      })
      return Effect.gen(function*() {
        const sql = yield* PgClient.PgClient
        const errors: ReadonlyArray<unknown> = [
          yield* Effect.flip(PgQuery.queryOne(sql`select ${"hunter2"}::text where false`)),
          yield* Effect.flip(PgQuery.queryOption(sql`select ${"hunter2"}::text from generate_series(1, 2)`)),
          yield* Effect.flip(PgQuery.query(sql`select ${"hunter2\ud83d"}`))
        ]
        for (const error of errors) assert.notInclude(`${String(error)} ${JSON.stringify(error)}`, "hunter2")
        assert.isAtLeast(spans.length, 2)
        const text = spans.map((span) => `${span.name} ${[...span.attributes].join()}`).join()
        assert.notInclude(text, "hunter2")
        assert.notInclude(text, Redacted.value(url))
      }).pipe(Effect.provide(layer), Effect.withTracer(tracer), Effect.runPromise)
    })
  })
}

/** Terminates the backend whose statement mentions this, once it runs. */
const kill = Effect.fnUntraced(
  function*(mentioned: string) {
    const sql = yield* PgClient.PgClient
    yield* Effect.repeat(
      sql`select pg_terminate_backend(pid, 10000) from pg_stat_activity
           where wait_event = 'PgSleep' and position(${mentioned} in query) > 0`,
      { until: (rows) => rows.length === 1, schedule: Schedule.spaced("10 millis") }
    ).pipe(Effect.timeout("30 seconds"))
  },
  Effect.provide(watcher)
)

describe("tags", () => {
  it("case 43: of create table and its like, the whole tag with a transport and the first word without", () => {
    const tags = Effect.gen(function*() {
      const sql = yield* PgClient.PgClient
      const t = `t${++tables}`
      const done: Array<string> = []
      for (
        const text of [
          `create table ${t} (id int)`,
          `create index on ${t} (id)`,
          `create table ${t}_copy as select 1 as id union all select 2`,
          `truncate ${t}`,
          `do $$ begin end $$`,
          `drop table ${t}`
        ]
      ) done.push((yield* PgQuery.execute(sql.unsafe(text))).tag)
      return done
    })
    return Effect.gen(function*() {
      assert.deepStrictEqual(yield* Effect.provide(tags, plain), [
        "CREATE",
        "CREATE",
        "SELECT 2",
        "TRUNCATE",
        "DO",
        "DROP"
      ])
      assert.deepStrictEqual(yield* Effect.provide(tags, transport), [
        "CREATE TABLE",
        "CREATE INDEX",
        "SELECT 2",
        "TRUNCATE TABLE",
        "DO",
        "DROP TABLE"
      ])
    }).pipe(Effect.runPromise)
  })

  it("a transport in the context that is not the client's changes nothing", () =>
    Effect.gen(function*() {
      const sql = yield* PgClient.PgClient
      const t = `t${++tables}`
      assert.strictEqual((yield* PgQuery.execute(sql.unsafe(`create table ${t} (id int)`))).tag, "CREATE")
    }).pipe(Effect.provide([transport, plain]), Effect.runPromise))
})

describe("case 47: on a foreign multiplexed client", () => {
  it("execute outside a transaction is misuse and sends nothing; inside it works; reading works", () =>
    Effect.gen(function*() {
      const sql = yield* PgClient.PgClient
      const t = yield* table()
      const write = PgQuery.execute(sql.unsafe(`insert into ${t} values (1)`))
      assert.strictEqual(yield* misuse(write), "Multiplexed")
      assert.lengthOf(yield* PgQuery.query(sql.unsafe(`select * from ${t}`)), 0)
      assert.strictEqual((yield* sql.withTransaction(write)).tag, "INSERT 0 1")
      assert.lengthOf(yield* PgQuery.query(sql.unsafe(`select * from ${t}`)), 1)
    }).pipe(Effect.provide(multiplexed), Effect.runPromise))
})

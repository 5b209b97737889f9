/**
 * COPY against the real server: every ending, and that the session is usable after it (spec 3, cases 13 to 21).
 */
import { PgClient } from "@effect/sql-pg"
import { assert, describe, it } from "@effect/vitest"
import { PgCopy, PgTransport } from "@restante/pg-session"
import {
  Cause,
  Context,
  Deferred,
  Effect,
  Exit,
  Fiber,
  Layer,
  Option,
  Queue,
  References,
  type Scope,
  Stream
} from "effect"
import * as Certificates from "./fixtures/pg-session/certificates.ts"
import * as TlsServer from "./fixtures/pg-session/tlsServer.ts"
import { until, untilOneIsLocked, untilOneWaits } from "./fixtures/postgres/activity.ts"
import * as PostgresDatabase from "./PostgresDatabase.ts"

const url = await PostgresDatabase.open()

type Services = PgTransport.PgTransport | PgClient.PgClient | Scope.Scope

const session = (options: { readonly maxConnections?: number } = {}) =>
  PgTransport.layer({ url, maxConnections: 1, ...options })

/** Runs a test on a pool of one connection, and makes sure that the same session is usable afterwards. */
const onOneSession = <A, E>(use: (sql: PgClient.PgClient) => Effect.Effect<A, E, Services>) =>
  Effect.gen(function*() {
    const sql = yield* PgClient.PgClient
    const before = yield* pidOf(sql)
    const result = yield* use(sql)
    assert.strictEqual(yield* pidOf(sql), before, "the session was replaced")
    return result
  }).pipe(Effect.scoped, Effect.provide(session()), Effect.runPromise)

const pidOf = (sql: PgClient.PgClient) =>
  Effect.map(sql<{ readonly pid: number }>`select pg_backend_pid() as pid`, (rows) => rows[0]?.pid)

const countOf = (sql: PgClient.PgClient, table: string) =>
  Effect.map(
    sql<{ readonly n: number }>`select count(*)::int4 as n from ${sql(table)}`,
    (rows) => rows[0]?.n
  )

let tables = 0

/** A table of its own for each test. */
const table = (sql: PgClient.PgClient, columns = "n int, body text") => {
  const name = `copy_${++tables}`
  return Effect.as(sql.unsafe(`create table ${name} (${columns})`), name)
}

const reasonOf = (exit: Exit.Exit<unknown, unknown>): PgCopy.PgCopyErrorReason => {
  const error = Exit.isFailure(exit) ? Cause.findErrorOption(exit.cause) : Option.none()
  if (Option.isNone(error) || !(error.value instanceof PgCopy.PgCopyError)) {
    return assert.fail(
      `expected a PgCopyError, not ${Exit.isFailure(exit) ? Cause.pretty(exit.cause) : "a value"}`
    )
  }
  return error.value.reason
}

const lines = (count: number): Stream.Stream<string> => Stream.map(Stream.range(1, count), (n) => `${n}\tbody of ${n}`)

/** A source that never ends, and says when it is finalized. */
const endless = (finalized: Deferred.Deferred<void>) =>
  Stream.ensuring(
    Stream.map(Stream.forever(Stream.range(1, 1_000)), (n) => `${n}\tx`),
    Deferred.succeed(finalized, undefined)
  )

describe("copying in", () => {
  it("case 13: 200,000 rows are counted and stored", () =>
    onOneSession((sql) =>
      Effect.gen(function*() {
        const name = yield* table(sql)
        assert.deepStrictEqual(yield* PgCopy.copyInLines({ table: name }, lines(200_000)), { rows: 200_000 })
        assert.strictEqual(yield* countOf(sql, name), 200_000)
      })
    ))

  it("case 13: inside a transaction the rows are seen at once and go with its rollback", () =>
    onOneSession((sql) =>
      Effect.gen(function*() {
        const name = yield* table(sql)
        const exit = yield* Effect.exit(sql.withTransaction(Effect.gen(function*() {
          yield* sql`insert into ${sql(name)} values (0, 'by hand')`
          yield* PgCopy.copyInLines({ table: name }, lines(1_000))
          assert.strictEqual(yield* countOf(sql, name), 1_001)
          return yield* Effect.fail("enough")
        })))
        assert.deepStrictEqual(exit, Exit.fail("enough"))
        assert.strictEqual(yield* countOf(sql, name), 0)
        yield* sql.withTransaction(PgCopy.copyInLines({ table: name }, lines(1_000)))
        assert.strictEqual(yield* countOf(sql, name), 1_000)
      })
    ))

  it("case 14: values of every kind are read back equal", () =>
    onOneSession((sql) =>
      Effect.gen(function*() {
        const columns =
          `t text, i int8, f float8, b boolean, y bytea, d timestamptz, a int4[], n text[], j jsonb, u numeric`
        const name = yield* table(sql, columns)
        const texts = ["plain", "", "\\N", "\\", "a\tb\nc\rd\be\ff\vg", "N\\\\", "ünïcödé 🦉", "{\"quoted\",NULL}"]
        const rows: ReadonlyArray<ReadonlyArray<unknown>> = [
          ...texts.map((text) => [
            text,
            9_223_372_036_854_775_807n,
            -1.5e-300,
            true,
            Uint8Array.of(0, 92, 255),
            new Date("2026-11-21T10:11:12.345Z"),
            [1, null, 3],
            [text, null, "x,y"],
            { text, list: [1, null] },
            "123456789012345678901234567890.5"
          ]),
          [null, null, null, null, null, null, null, null, null, null],
          ["numbers", -1, NaN, false, new Uint8Array(0), new Date("-000043-03-15T12:00:00Z"), [], [], [1, 2], NaN],
          ["more", 0, Infinity, false, null, new Date("+012026-01-01T00:00:00Z"), [[1, 2], [3, 4]], [], "\"a\"", 1e21],
          ["less", 0, -Infinity, false, null, null, null, null, null, Infinity]
        ]
        const json = rows.map((row, i) => i === texts.length + 1 ? [...row.slice(0, 8), "[1,2]", row[9]] : row)
        yield* PgCopy.copyInRows({ table: name }, Stream.fromIterable(json))
        const found = yield* sql<Record<string, unknown>>`
          select t, i, f, b, y, d::text, a::text, array_to_json(n)::text as n, j, u::text from ${sql(name)}`
        found.slice(0, texts.length).forEach((row, at) => {
          const text = texts[at]
          assert.strictEqual(row["t"], text)
          assert.strictEqual(row["i"], 9_223_372_036_854_775_807n)
          assert.strictEqual(row["f"], -1.5e-300)
          assert.deepStrictEqual(row["y"], Uint8Array.of(0, 92, 255))
          assert.strictEqual(row["a"], "{1,NULL,3}")
          assert.deepStrictEqual(JSON.parse(String(row["n"])), [text, null, "x,y"])
          assert.deepStrictEqual(row["j"], { text, list: [1, null] })
          assert.strictEqual(row["u"], "123456789012345678901234567890.5")
        })
        const [nulls, numbers, more, less] = found.slice(texts.length)
        assert.deepStrictEqual(new Set(Object.values(nulls ?? {})), new Set([null]))
        assert.isNaN(numbers?.["f"])
        assert.strictEqual(numbers?.["u"], "NaN")
        assert.match(String(numbers?.["d"]), /^0044-03-15 .* BC$/)
        assert.deepStrictEqual(numbers?.["j"], [1, 2])
        assert.match(String(more?.["d"]), /^12026-01-01 /)
        assert.strictEqual(more?.["a"], "{{1,2},{3,4}}")
        assert.strictEqual(more?.["u"], "1000000000000000000000")
        assert.strictEqual(less?.["f"], -Infinity)
        assert.strictEqual(less?.["u"], "Infinity")
      })
    ))

  const badRows: ReadonlyArray<readonly [string, ReadonlyArray<unknown>, number | undefined]> = [
    ["undefined", [undefined, "x"], 1],
    ["too few values", [1], undefined],
    ["too many values", [1, "x", 2], undefined],
    ["a NUL character", [1, "a\0b"], 2],
    ["half a surrogate pair", [1, "a\ud800"], 2],
    ["an invalid Date", [1, new Date(NaN)], 2],
    ["undefined in a nested array", [1, [["x"], [undefined]]], 2],
    ["a function", [1, () => 1], 2],
    ["an object without a JSON form", [1, { n: 1n }], 2],
    ["a Float64Array", [1, new Float64Array(1)], 2]
  ]
  for (const [what, row, column] of badRows) {
    it(`refuses a row with ${what}, says where, and stores nothing`, () =>
      onOneSession((sql) =>
        Effect.gen(function*() {
          const name = yield* table(sql)
          const exit = yield* Effect.exit(
            PgCopy.copyInRows({ table: name }, Stream.fromIterable<ReadonlyArray<unknown>>([[1, "good"], row]))
          )
          const reason = reasonOf(exit)
          assert.strictEqual(reason._tag, "BadRow")
          assert.strictEqual(reason._tag === "BadRow" && reason.row, 2)
          assert.strictEqual(reason._tag === "BadRow" ? reason.column : 0, column)
          assert.strictEqual(yield* countOf(sql, name), 0)
        })
      ))
  }

  it("refuses a line with half a surrogate pair instead of replacing it", () =>
    onOneSession((sql) =>
      Effect.gen(function*() {
        const name = yield* table(sql)
        const exit = yield* Effect.exit(PgCopy.copyInLines({ table: name }, Stream.make("1\tgood", "2\t\udc00")))
        assert.deepStrictEqual(
          reasonOf(exit),
          new PgCopy.BadRow({ row: 2, problem: "text that is not well-formed Unicode" })
        )
        assert.strictEqual(yield* countOf(sql, name), 0)
      })
    ))

  it("says which bytes are not UTF-8 by the server's own code", () =>
    onOneSession((sql) =>
      Effect.gen(function*() {
        const name = yield* table(sql)
        const exit = yield* Effect.exit(
          PgCopy.copyIn({ table: name }, Stream.make(Uint8Array.of(0x31, 0x09, 0xff, 0xfe, 0x0a)))
        )
        const reason = reasonOf(exit)
        assert.strictEqual(reason._tag === "CopyError" && reason.sqlstate, "22021")
      })
    ))

  it("case 16: the source's own error is the result, no row is kept and the next statement works", () =>
    onOneSession((sql) =>
      Effect.gen(function*() {
        const name = yield* table(sql)
        const source = Stream.concat(lines(50_000), Stream.fail("the disk is full"))
        const exit = yield* Effect.exit(PgCopy.copyInLines({ table: name }, source))
        assert.deepStrictEqual(exit, Exit.fail("the disk is full"))
        assert.strictEqual(yield* countOf(sql, name), 0)
      })
    ))

  it("case 16: in a transaction a failed source fails the transaction, and its commit is refused", () =>
    onOneSession((sql) =>
      Effect.gen(function*() {
        const name = yield* table(sql)
        const exit = yield* Effect.exit(sql.withTransaction(Effect.gen(function*() {
          yield* sql`insert into ${sql(name)} values (0, 'lost with it')`
          yield* Effect.ignore(PgCopy.copyInLines({ table: name }, Stream.fail("no source")))
          yield* Effect.ignore(sql`select 1`)
        })))
        assert.isTrue(Exit.isFailure(exit))
        assert.strictEqual(yield* countOf(sql, name), 0)
      })
    ))

  it("case 16: in a savepoint a failed source costs the savepoint only", () =>
    onOneSession((sql) =>
      Effect.gen(function*() {
        const name = yield* table(sql)
        yield* sql.withTransaction(Effect.gen(function*() {
          yield* sql`insert into ${sql(name)} values (0, 'kept')`
          yield* Effect.ignore(sql.withTransaction(PgCopy.copyInLines({ table: name }, Stream.fail("no source"))))
          yield* PgCopy.copyInLines({ table: name }, lines(2))
        }))
        assert.strictEqual(yield* countOf(sql, name), 3)
      })
    ))

  it("a source that dies leaves nothing and its defect is the result", () =>
    onOneSession((sql) =>
      Effect.gen(function*() {
        const name = yield* table(sql)
        const exit = yield* Effect.exit(
          PgCopy.copyInLines({ table: name }, Stream.concat(lines(3), Stream.die("a bug")))
        )
        assert.deepStrictEqual(exit, Exit.die("a bug"))
        assert.strictEqual(yield* countOf(sql, name), 0)
      })
    ))

  it("case 17: an interrupted copy ends by CopyFail, without a CancelRequest, on the same session", () =>
    onOneSession((sql) =>
      Effect.gen(function*() {
        const name = yield* table(sql)
        const finalized = yield* Deferred.make<void>()
        const sent = yield* Deferred.make<void>()
        const source = Stream.tap(endless(finalized), () => Deferred.succeed(sent, undefined))
        const fiber = yield* Effect.forkScoped(PgCopy.copyInLines({ table: name }, source))
        yield* Deferred.await(sent)
        yield* Fiber.interrupt(fiber)
        assert.isTrue(yield* Deferred.isDone(finalized))
        assert.isTrue(Cause.hasInterruptsOnly(yield* causeOf(fiber)))
        assert.strictEqual(yield* countOf(sql, name), 0)
      })
    ))

  it("interrupted while it waits for a lock, a copy is cancelled and nothing is stored", () =>
    Effect.gen(function*() {
      const sql = yield* PgClient.PgClient
      const name = yield* table(sql)
      const locked = yield* Deferred.make<void>()
      const release = yield* Deferred.make<void>()
      const holder = yield* Effect.forkScoped(sql.withTransaction(Effect.gen(function*() {
        yield* sql.unsafe(`lock table ${name} in access exclusive mode`)
        yield* Deferred.succeed(locked, undefined)
        yield* Deferred.await(release)
      })))
      yield* Deferred.await(locked)
      const fiber = yield* Effect.forkScoped(PgCopy.copyInLines({ table: name }, lines(10)))
      yield* untilOneIsLocked(sql)
      yield* Fiber.interrupt(fiber)
      yield* Deferred.succeed(release, undefined)
      yield* Fiber.join(holder)
      assert.strictEqual(yield* countOf(sql, name), 0)
    }).pipe(Effect.scoped, Effect.provide(session({ maxConnections: 4 })), Effect.runPromise))

  it("interrupted while it waits for a connection, a copy sends nothing", () =>
    onOneSession((sql) =>
      Effect.gen(function*() {
        const name = yield* table(sql)
        const held = yield* Deferred.make<void>()
        const release = yield* Deferred.make<void>()
        const holder = yield* Effect.forkScoped(
          sql.withTransaction(Effect.andThen(Deferred.succeed(held, undefined), Deferred.await(release)))
        )
        yield* Deferred.await(held)
        const fiber = yield* Effect.forkScoped(PgCopy.copyInLines({ table: name }, lines(10)), {
          startImmediately: true
        })
        yield* Fiber.interrupt(fiber)
        yield* Deferred.succeed(release, undefined)
        yield* Fiber.join(holder)
        assert.strictEqual(yield* countOf(sql, name), 0)
      })
    ))

  it("case 18: a bad row is refused with its line and column, and an endless source is ended and finalized", () =>
    onOneSession((sql) =>
      Effect.gen(function*() {
        const name = yield* table(sql)
        const finalized = yield* Deferred.make<void>()
        const source = Stream.concat(Stream.make("1\tgood", "two\tbad"), endless(finalized))
        const reason = reasonOf(yield* Effect.exit(PgCopy.copyInLines({ table: name }, source)))
        assert.isTrue(yield* Deferred.isDone(finalized))
        if (reason._tag !== "CopyError") return assert.fail(reason._tag)
        assert.deepStrictEqual([reason.sqlstate, reason.line, reason.column], ["22P02", 2, "n"])
        assert.strictEqual(yield* countOf(sql, name), 0)
      })
    ))

  it("case 18: a source that waits for ever is ended when the server refuses what it has", () =>
    onOneSession((sql) =>
      Effect.gen(function*() {
        const name = yield* table(sql)
        const source = Stream.concat(Stream.make("one\tbad"), Stream.never)
        const reason = reasonOf(yield* Effect.exit(PgCopy.copyInLines({ table: name }, source)))
        assert.strictEqual(reason._tag === "CopyError" && reason.sqlstate, "22P02")
      })
    ))

  it("a server that fails before it reads a row, as in a statement trigger, leaves a usable session", () =>
    onOneSession((sql) =>
      Effect.gen(function*() {
        const name = yield* table(sql)
        yield* sql.unsafe(`create function ${name}_no() returns trigger language plpgsql as
          $$ begin raise exception 'not today' using errcode = 'P0042'; end $$`)
        yield* sql.unsafe(`create trigger no before insert on ${name} for each statement execute function ${name}_no()`)
        for (const source of [lines(10), lines(100_000), Stream.never, Stream.empty]) {
          const reason = reasonOf(yield* Effect.exit(PgCopy.copyInLines({ table: name }, source)))
          assert.strictEqual(reason._tag === "CopyError" && reason.sqlstate, "P0042")
        }
        const inside = yield* Effect.exit(sql.withTransaction(PgCopy.copyInLines({ table: name }, lines(10))))
        assert.strictEqual(reasonOf(inside)._tag, "CopyError")
      })
    ))

  it("a copy that is refused before it begins says so with the server's code", () =>
    onOneSession(() =>
      Effect.gen(function*() {
        const reason = reasonOf(yield* Effect.exit(PgCopy.copyInLines({ table: "no \"such\" table" }, lines(10))))
        assert.strictEqual(reason._tag === "CopyError" && reason.sqlstate, "42P01")
      })
    ))

  it("a constraint violated at the end fails the whole copy", () =>
    onOneSession((sql) =>
      Effect.gen(function*() {
        const name = yield* table(sql, "n int unique, body text")
        const reason = reasonOf(yield* Effect.exit(PgCopy.copyInLines({ table: name }, Stream.make("1\ta", "1\tb"))))
        assert.strictEqual(reason._tag === "CopyError" && reason.sqlstate, "23505")
        assert.strictEqual(yield* countOf(sql, name), 0)
      })
    ))

  it("an empty source copies no rows", () =>
    onOneSession((sql) =>
      Effect.gen(function*() {
        const name = yield* table(sql)
        assert.deepStrictEqual(yield* PgCopy.copyIn({ table: name }, Stream.empty), { rows: 0 })
      })
    ))

  it("names are taken exactly, and only the columns named are filled", () =>
    onOneSession((sql) =>
      Effect.gen(function*() {
        const schema = "Sch\"ema"
        yield* sql`create schema ${sql(schema)}`
        yield* sql.unsafe(`create table "Sch""ema"."Ta;ble" ("Co,l" int, other text default 'unset', "x y" text)`)
        yield* PgCopy.copyInRows({ schema, table: "Ta;ble", columns: ["x y", "Co,l"] }, Stream.make(["text", 7]))
        const rows = yield* sql.unsafe(`select * from "Sch""ema"."Ta;ble"`)
        assert.deepStrictEqual(rows, [{ "Co,l": 7, other: "unset", "x y": "text" }])
      })
    ))

  const badTargets: ReadonlyArray<readonly [string, PgCopy.Table, PgCopy.FormatOptions]> = [
    ["an empty name", { table: "" }, {}],
    ["a name with NUL", { table: "a\0b" }, {}],
    ["no columns", { table: "t", columns: [] }, {}],
    ["an option with NUL", { table: "t" }, { delimiter: "\0" }],
    ["a broken limit", { table: "t" }, { rejectLimit: 1.5 }]
  ]
  for (const [what, target, options] of badTargets) {
    it(`refuses ${what} before anything is sent`, () =>
      onOneSession(() =>
        Effect.gen(function*() {
          const reason = reasonOf(yield* Effect.exit(PgCopy.copyIn(target, Stream.empty, options)))
          assert.strictEqual(reason._tag === "Misuse" && reason.kind, "BadOptions")
        })
      ))
  }

  it("quotes option values, whatever they hold", () =>
    onOneSession((sql) =>
      Effect.gen(function*() {
        const name = yield* table(sql)
        const rows = Stream.make(Buffer.from("1|it's \\null\n2|'; drop table x; --\n"))
        yield* PgCopy.copyIn({ table: name }, rows, { format: "csv", delimiter: "|", null: "it's \\null", quote: "~" })
        const found = yield* sql`select body from ${sql(name)} order by n`
        assert.deepStrictEqual(found, [{ body: null }, { body: "'; drop table x; --" }])
      })
    ))
})

const causeOf = <A, E>(fiber: Fiber.Fiber<A, E>) =>
  Effect.map(Fiber.await(fiber), (exit) => Exit.isFailure(exit) ? exit.cause : assert.fail("it succeeded"))

describe("copying out", () => {
  for (const format of ["text", "csv", "binary"] as const) {
    it(`case 15: ${format} passes through, and reproduces the table`, () =>
      onOneSession((sql) =>
        Effect.gen(function*() {
          const source = yield* table(sql, "n int, body text, at timestamptz, raw bytea")
          yield* sql.unsafe(
            `insert into ${source} select n, case when n % 7 = 0 then null else repeat(e'tab\t"q"\n', n % 5) end,
            now(), decode(md5(n::text), 'hex') from generate_series(1, 20000) n`
          )
          const target = yield* table(sql, "n int, body text, at timestamptz, raw bytea")
          const header = format === "csv" ? { header: true } : {}
          const bytes = yield* Stream.runCollect(PgCopy.copyOut({ table: source }, { format, ...header }))
          yield* PgCopy.copyIn({ table: target }, Stream.fromIterable(bytes), { format, ...header })
          const [same] = yield* sql.unsafe<{ readonly n: number }>(
            `select count(*)::int4 as n from ((table ${source} except all table ${target}) union all
             (table ${target} except all table ${source})) d`
          )
          assert.strictEqual(same?.n, 0)
          assert.strictEqual(yield* countOf(sql, target), 20_000)
        })
      ))
  }

  it("a query's rows come as text or null", () =>
    onOneSession(() =>
      Effect.gen(function*() {
        const rows = yield* Stream.runCollect(PgCopy.copyOutRows({
          query: "select 1, null, e'a\\tb\\nc\\\\d', '', '\\N' -- a comment"
        }))
        assert.deepStrictEqual(rows, [["1", null, "a\tb\nc\\d", "", "\\N"]])
      })
    ))

  it("lines are whole however the socket cuts them", () =>
    onOneSession(() =>
      Effect.gen(function*() {
        const rows = yield* Stream.runCollect(PgCopy.copyOutLines({
          query: "select n, repeat('ü', n % 997) from generate_series(1, 20000) n"
        }))
        assert.strictEqual(rows.length, 20_000)
        rows.forEach((line, i) => assert.strictEqual(line, `${i + 1}\t${"ü".repeat((i + 1) % 997)}`))
      })
    ))

  it("an error in the middle comes after the rows before it, with its code", () =>
    onOneSession(() =>
      Effect.gen(function*() {
        const seen = yield* Queue.unbounded<string>()
        const exit = yield* Effect.exit(Stream.runForEach(
          PgCopy.copyOutLines({ query: "select 1 / (5000 - n) from generate_series(1, 100000) n" }),
          (line) => Queue.offer(seen, line)
        ))
        const reason = reasonOf(exit)
        assert.strictEqual(reason._tag === "CopyError" && reason.sqlstate, "22012")
        assert.isAtMost(yield* Queue.size(seen), 4_999)
      })
    ))

  it("case 20: a consumer that stops ends the copy, and the session is usable", () =>
    onOneSession(() =>
      Effect.gen(function*() {
        const endlessRows = PgCopy.copyOutLines({ query: "select generate_series(1, 1000000000)" })
        assert.deepStrictEqual(yield* Stream.runCollect(Stream.take(endlessRows, 3)), ["1", "2", "3"])
      })
    ))

  it("case 20: a consumer that stops a cancelled copy has failed its transaction", () =>
    onOneSession((sql) =>
      Effect.gen(function*() {
        const rows = PgCopy.copyOutLines({ query: "select generate_series(1, 1000000000)" })
        const exit = yield* Effect.exit(
          sql.withTransaction(Effect.andThen(Stream.runDrain(Stream.take(rows, 3)), sql`select 1`))
        )
        assert.isTrue(Exit.isFailure(exit))
      })
    ))

  it("case 20: drained, the transaction stays good", () =>
    onOneSession((sql) =>
      Effect.gen(function*() {
        const name = yield* table(sql)
        yield* sql.withTransaction(Effect.gen(function*() {
          yield* sql`insert into ${sql(name)} values (1, 'kept')`
          const rows = PgCopy.copyOutLines({ query: "select n from generate_series(1, 300000) n" }, {
            onEarlyEnd: "drain"
          })
          assert.deepStrictEqual(yield* Stream.runCollect(Stream.take(rows, 2)), ["1", "2"])
        }))
        assert.strictEqual(yield* countOf(sql, name), 1)
      })
    ))

  it("an interrupted consumer is gone at once and the session usable", () =>
    onOneSession(() =>
      Effect.gen(function*() {
        const got = yield* Deferred.make<void>()
        const fiber = yield* Effect.forkScoped(Stream.runForEach(
          PgCopy.copyOutLines({
            query: "select n, pg_sleep(case when n > 2000 then 100 else 0 end) from generate_series(1, 3000) n"
          }),
          () => Deferred.succeed(got, undefined)
        ))
        yield* Deferred.await(got)
        yield* Fiber.interrupt(fiber)
        assert.isTrue(Cause.hasInterruptsOnly(yield* causeOf(fiber)))
      })
    ))

  it("case 20: a consumer that does not take stalls the server, not the memory", () =>
    Effect.gen(function*() {
      const sql = yield* PgClient.PgClient
      const started = yield* Deferred.make<void>()
      const go = yield* Deferred.make<void>()
      let bytes = 0
      const fiber = yield* Effect.forkScoped(Stream.runForEach(
        PgCopy.copyOut({ query: "select repeat('x', 10000) from generate_series(1, 20000)" }),
        (chunk) => {
          bytes += chunk.length
          return Effect.andThen(Deferred.succeed(started, undefined), Deferred.await(go))
        }
      ))
      yield* Deferred.await(started)
      // The server itself says that it waits for us to read.
      yield* untilOneWaits(sql, "ClientWrite")
      const resident = process.memoryUsage().arrayBuffers
      assert.isBelow(resident, 50_000_000)
      yield* Deferred.succeed(go, undefined)
      yield* Fiber.join(fiber)
      assert.strictEqual(bytes, 20_000 * 10_001)
    }).pipe(Effect.scoped, Effect.provide(session({ maxConnections: 2 })), Effect.runPromise))
})

describe("a statement that is not what it is used for", () => {
  it("case 19: a COPY TO for input and a COPY FROM for output are the wrong direction", () =>
    onOneSession((sql) =>
      Effect.gen(function*() {
        const name = yield* table(sql)
        const input = yield* Effect.exit(
          PgCopy.copyInSql("copy (select generate_series(1, 100000)) to stdout", Stream.empty)
        )
        const output = yield* Effect.exit(Stream.runDrain(PgCopy.copyOutSql(`copy ${name} from stdin`)))
        for (const exit of [input, output]) {
          const reason = reasonOf(exit)
          assert.strictEqual(reason._tag === "Misuse" && reason.kind, "WrongDirection")
        }
      })
    ))

  it("case 19: a statement that is no COPY has been run", () =>
    onOneSession((sql) =>
      Effect.gen(function*() {
        const name = yield* table(sql)
        const input = yield* Effect.exit(PgCopy.copyInSql(`insert into ${name} values (1, 'x')`, Stream.empty))
        const output = yield* Effect.exit(Stream.runDrain(PgCopy.copyOutSql(`select * from ${name}`)))
        for (const exit of [input, output]) {
          const reason = reasonOf(exit)
          assert.strictEqual(reason._tag === "Misuse" && reason.kind, "NotCopy")
        }
        assert.strictEqual(yield* countOf(sql, name), 1)
      })
    ))

  it("case 19: a COPY from a file of the server is no copy from here", () =>
    onOneSession((sql) =>
      Effect.gen(function*() {
        const name = yield* table(sql)
        const exit = yield* Effect.exit(PgCopy.copyInSql(`copy ${name} from program 'true'`, Stream.empty))
        const reason = reasonOf(exit)
        assert.strictEqual(reason._tag === "Misuse" && reason.kind, "NotCopy")
      })
    ))

  it("case 19: a COPY through the ordinary client fails with 0A000 and names PgCopy; the session lives", () =>
    onOneSession((sql) =>
      Effect.gen(function*() {
        const name = yield* table(sql)
        for (const text of [`copy ${name} from stdin`, "copy (select generate_series(1, 50000)) to stdout"]) {
          // Twice: the second time the driver has the statement in its cache.
          for (const attempt of [1, 2]) {
            const error = yield* Effect.flip(sql.unsafe(text))
            assert.strictEqual(codeOf(error), "0A000", `attempt ${attempt}`)
            assert.include(JSON.stringify(error.reason.cause), "PgCopy")
          }
        }
        assert.strictEqual(yield* countOf(sql, name), 0)
      })
    ))

  it("a mark that was not issued means nothing, wherever it stands", () =>
    onOneSession((sql) =>
      Effect.gen(function*() {
        const forged = `/*restante:${"0".repeat(32)}*/`
        const name = yield* table(sql)
        assert.strictEqual(codeOf(yield* Effect.flip(sql.unsafe(`${forged}copy ${name} from stdin`))), "0A000")
        const [row] = yield* sql<{ readonly text: string }>`select ${forged}::text as text`
        assert.strictEqual(row?.text, forged)
        yield* PgCopy.copyInRows({ table: name }, Stream.make([1, forged]))
      })
    ))

  it("with a plain client everything is refused before it is sent", () =>
    Effect.gen(function*() {
      const reason = reasonOf(yield* Effect.exit(PgCopy.copyIn({ table: "t" }, Stream.empty)))
      assert.strictEqual(reason._tag === "Misuse" && reason.kind, "NoTransport")
      yield* Effect.flatMap(PgClient.PgClient, (sql) => sql`select 1`)
    }).pipe(Effect.provide(PgClient.layer({ url, maxConnections: 1 })), Effect.runPromise))
})

const codeOf = (error: { readonly reason: { readonly cause?: unknown } }): unknown => {
  const { cause } = error.reason
  return typeof cause === "object" && cause !== null && "code" in cause ? cause.code : undefined
}

describe("a writer", () => {
  it("case 21: writes, finishes and counts", () =>
    onOneSession((sql) =>
      Effect.gen(function*() {
        const name = yield* table(sql)
        const copied = yield* Effect.scoped(Effect.gen(function*() {
          const writer = yield* PgCopy.writer({ table: name })
          assert.deepStrictEqual(writer.format, { binary: false, columns: 2 })
          yield* writer.write(Buffer.from("1\ta\n2"))
          yield* writer.write(Buffer.from("\tb\n"))
          return yield* writer.finish
        }))
        assert.deepStrictEqual(copied, { rows: 2 })
        assert.strictEqual(yield* countOf(sql, name), 2)
      })
    ))

  it("case 21: dropped unfinished, it leaves no row", () =>
    onOneSession((sql) =>
      Effect.gen(function*() {
        const name = yield* table(sql)
        yield* Effect.scoped(
          Effect.flatMap(PgCopy.writer({ table: name }), (writer) => writer.write(Buffer.from("1\ta\n")))
        )
        assert.strictEqual(yield* countOf(sql, name), 0)
      })
    ))

  it("case 21: cancelled, it leaves no row, and the server has the reason", () =>
    onOneSession((sql) =>
      Effect.gen(function*() {
        const name = yield* table(sql)
        const transport = yield* PgTransport.PgTransport
        yield* Effect.scoped(Effect.gen(function*() {
          const writer = yield* PgCopy.writer({ table: name })
          yield* writer.write(Buffer.from("1\ta\n"))
          yield* writer.cancel("the upload was withdrawn")
          assert.strictEqual(yield* reasonKind(writer.write(Buffer.from("2\tb\n"))), "Finished")
          assert.strictEqual(yield* reasonKind(writer.finish), "Finished")
          yield* writer.cancel("again")
        }))
        assert.strictEqual(yield* countOf(sql, name), 0)
        assert.strictEqual((yield* transport.sessions).length, 1)
      })
    ))

  it("after a finish nothing more is taken", () =>
    onOneSession((sql) =>
      Effect.gen(function*() {
        const name = yield* table(sql)
        yield* Effect.scoped(Effect.gen(function*() {
          const writer = yield* PgCopy.writer({ table: name })
          yield* writer.finish
          assert.strictEqual(yield* reasonKind(writer.write(Buffer.from("2\tb\n"))), "Finished")
          assert.strictEqual(yield* reasonKind(writer.finish), "Finished")
        }))
      })
    ))
})

const reasonKind = <A, E>(effect: Effect.Effect<A, E>) =>
  Effect.map(Effect.exit(effect), (exit) => {
    const reason = reasonOf(exit)
    return reason._tag === "Misuse" ? reason.kind : reason._tag
  })

/** Rows of 10 kB. */
const wide = (rows: number) => ({ query: `select repeat('x', 10000) from generate_series(1, ${rows})` })

describe("what waits", () => {
  it("no wake-up is missed when a fiber gives way between any two steps", () =>
    onOneSession((sql) =>
      Effect.gen(function*() {
        const name = yield* table(sql, "body text")
        const line = "x".repeat(9_999)
        for (const budget of [3, 5, 8]) {
          yield* sql.unsafe(`truncate ${name}`)
          const copied = yield* PgCopy.copyInLines({ table: name }, Stream.map(Stream.range(1, 2_000), () => line))
            .pipe(
              Effect.provideService(References.MaxOpsBeforeYield, budget)
            )
          assert.strictEqual(copied.rows, 2_000)
          const size = yield* Stream.runFold(
            PgCopy.copyOut({ table: name }),
            () => 0,
            (sum, bytes) => sum + bytes.length
          )
            .pipe(Effect.provideService(References.MaxOpsBeforeYield, budget))
          assert.strictEqual(size, 20_000_000)
        }
      })
    ))

  it("an end that is near does not let the cancel hit the next statement of the session", () =>
    onOneSession((sql) =>
      Effect.gen(function*() {
        for (let attempt = 0; attempt < 10; attempt++) {
          const query = "select repeat('x', 1000) from generate_series(1, 300)"
          const copy = yield* Effect.forkScoped(
            Stream.runDrain(Stream.take(PgCopy.copyOut({ query }), 1)),
            { startImmediately: true }
          )
          const innocent = yield* Effect.forkScoped(Effect.exit(sql`select pg_sleep(0.05)`), { startImmediately: true })
          yield* Fiber.join(copy)
          const exit = yield* Fiber.join(innocent)
          assert.isTrue(Exit.isSuccess(exit), `attempt ${attempt}`)
        }
      })
    ))

  it("a consumer that takes its rest late does not release the next COPY of the session", () =>
    Effect.gen(function*() {
      const owner = Context.get(yield* Layer.build(PostgresDatabase.ownerLayer(url)), PgClient.PgClient)
      // Whether the first COPY is over while its consumer still holds so much that it had it paused depends on how the socket
      // cuts it; with one of these sizes it mostly is.
      for (const rows of [14, 15, 16, 17]) {
        const held = yield* Deferred.make<void>()
        const go = yield* Deferred.make<void>()
        const slow = yield* Effect.forkScoped(Stream.runForEach(
          PgCopy.copyOut(wide(rows)),
          () => Effect.andThen(Deferred.succeed(held, undefined), Deferred.await(go))
        ))
        yield* Deferred.await(held)
        const stalled = yield* Deferred.make<void>()
        const never = yield* Effect.forkScoped(Stream.runForEach(
          PgCopy.copyOut(wide(30_000)),
          () => Effect.andThen(Deferred.succeed(stalled, undefined), Effect.never)
        ))
        const overlap = yield* Effect.timeoutOption(Deferred.await(stalled), "1 second")
        yield* Deferred.succeed(go, undefined)
        yield* Fiber.join(slow)
        if (Option.isSome(overlap)) {
          // 300 MB would be here soon if they were let in; the server says that it waits for us.
          yield* untilOneWaits(owner, "ClientWrite")
        }
        assert.isBelow(process.memoryUsage().arrayBuffers, 100_000_000)
        yield* Fiber.interrupt(never)
      }
    }).pipe(Effect.scoped, Effect.provide(session()), Effect.runPromise))

  it("writers that share a writer take turns, and leave no listener behind", () =>
    onOneSession((sql) =>
      Effect.gen(function*() {
        const warnings: Array<string> = []
        const onWarning = (warning: Error) => warnings.push(warning.name)
        process.on("warning", onWarning)
        const name = yield* table(sql, "body text")
        const line = Buffer.from(`${"x".repeat(65_535)}\n`)
        yield* Effect.scoped(Effect.gen(function*() {
          const writer = yield* PgCopy.writer({ table: name })
          yield* Effect.all(Array.from({ length: 200 }, () => writer.write(line)), { concurrency: "unbounded" })
          for (let i = 0; i < 50; i++) yield* Effect.timeoutOption(writer.write(line), 0)
          yield* writer.cancel("enough")
        }))
        process.off("warning", onWarning)
        assert.deepStrictEqual(warnings, [])
      })
    ))

  it("large rows are encoded as they are sent, not a whole array ahead", () =>
    onOneSession((sql) =>
      Effect.gen(function*() {
        const name = yield* table(sql, "body text")
        const body = "x".repeat(100_000)
        let peak = 0
        const rows = Stream.map(Stream.range(1, 4_000), () => [body])
        const watch = Effect.forkScoped(Effect.forever(Effect.andThen(
          Effect.sync(() => {
            peak = Math.max(peak, process.memoryUsage().arrayBuffers)
          }),
          Effect.sleep("5 millis")
        )))
        yield* watch
        assert.deepStrictEqual(yield* PgCopy.copyInRows({ table: name }, rows), { rows: 4_000 })
        assert.isBelow(peak, 150_000_000)
      })
    ))

  it("a wrong direction can be interrupted, however long the output takes", () =>
    onOneSession(() =>
      Effect.gen(function*() {
        const wrong = PgCopy.copyInSql("copy (select pg_sleep(100)) to stdout", Stream.empty)
        assert.isTrue(Option.isNone(yield* Effect.timeoutOption(wrong, "200 millis")))
      })
    ))

  it("an interrupted consumer is not held up by its own drain", () =>
    onOneSession(() =>
      Effect.gen(function*() {
        const rows = PgCopy.copyOutLines(
          { query: "select n, pg_sleep(case when n > 2000 then 100 else 0 end) from generate_series(1, 3000) n" },
          { onEarlyEnd: "drain" }
        )
        assert.isTrue(Option.isNone(yield* Effect.timeoutOption(Stream.runDrain(rows), "300 millis")))
      })
    ))
})

describe("odd shapes", () => {
  it("a line of 30 MB comes whole", () =>
    onOneSession(() =>
      Effect.gen(function*() {
        const [line] = yield* Stream.runCollect(PgCopy.copyOutLines({ query: "select repeat('x', 30000000)" }))
        assert.strictEqual(line?.length, 30_000_000)
      })
    ))

  it("a table without columns has rows without columns", () =>
    onOneSession((sql) =>
      Effect.gen(function*() {
        const name = yield* table(sql, "")
        assert.deepStrictEqual(yield* PgCopy.copyInRows({ table: name }, Stream.make([], [])), { rows: 2 })
        assert.deepStrictEqual(yield* Stream.runCollect(PgCopy.copyOutRows({ table: name })), [[], []])
        assert.deepStrictEqual(yield* Stream.runCollect(PgCopy.copyOutRows({ query: "select ''" })), [[""]])
      })
    ))

  it("an array nested too deeply is a bad row", () =>
    onOneSession((sql) =>
      Effect.gen(function*() {
        const name = yield* table(sql)
        let nested: unknown = 1
        for (let i = 0; i < 20_000; i++) nested = [nested]
        const reason = reasonOf(yield* Effect.exit(PgCopy.copyInRows({ table: name }, Stream.make([1, nested]))))
        assert.strictEqual(reason._tag, "BadRow")
      })
    ))

  it("an option that stands in the text as it is cannot carry anything else", () =>
    onOneSession(() =>
      Effect.gen(function*() {
        const untyped: object = { onError: "stop); drop table x; --" }
        const reason = reasonOf(yield* Effect.exit(PgCopy.copyIn({ table: "t" }, Stream.empty, untyped)))
        assert.strictEqual(reason._tag === "Misuse" && reason.kind, "BadOptions")
      })
    ))

  it("a COPY that waits for another transaction's row is cancelled by an interruption, on the same session", () =>
    onOneSession((sql) =>
      Effect.gen(function*() {
        const name = yield* table(sql, "n int primary key")
        const owner = Context.get(yield* Layer.build(PostgresDatabase.ownerLayer(url)), PgClient.PgClient)
        const locked = yield* Deferred.make<void>()
        yield* Effect.forkScoped(owner.withTransaction(Effect.gen(function*() {
          yield* owner.unsafe(`insert into ${name} values (1)`)
          yield* Deferred.succeed(locked, undefined)
          return yield* Effect.never
        })))
        yield* Deferred.await(locked)
        const copy = yield* Effect.forkScoped(PgCopy.copyInLines({ table: name }, Stream.make("1")))
        yield* untilOneIsLocked(owner)
        yield* Fiber.interrupt(copy)
        assert.strictEqual(yield* countOf(sql, name), 0)
      })
    ))
})

describe("over TLS", () => {
  it("rows go in and out, and back-pressure holds", () =>
    Effect.gen(function*() {
      const authority = yield* Effect.promise(() => Certificates.authority("test authority"))
      const server = yield* TlsServer.make
      yield* server.present(
        yield* Effect.promise(() =>
          authority.issue({ commonName: "127.0.0.1", names: [{ type: "ip", value: "127.0.0.1" }] })
        )
      )
      const layer = PgTransport.layer({
        host: server.host,
        port: server.port,
        username: "by_scram",
        database: "postgres",
        password: TlsServer.password,
        tls: { mode: "verify-full", ca: authority.cert },
        maxConnections: 1
      })
      yield* Effect.gen(function*() {
        const sql = yield* PgClient.PgClient
        const transport = yield* PgTransport.PgTransport
        yield* sql`create temporary table secret (n int, body text)`
        const rows = Stream.map(Stream.range(1, 50_000), (n) => [n, "y".repeat(1_000)])
        assert.deepStrictEqual(yield* PgCopy.copyInRows({ table: "secret" }, rows), { rows: 50_000 })
        const back = yield* Stream.runFold(PgCopy.copyOutRows({ table: "secret" }), () => 0, (n) => n + 1)
        assert.strictEqual(back, 50_000)
        const [first] = yield* Stream.runCollect(Stream.take(PgCopy.copyOutLines({ table: "secret" }), 1))
        assert.isDefined(first)
        assert.deepStrictEqual((yield* transport.sessions).map(({ bound }) => bound), [true])
      }).pipe(Effect.provide(layer))
    }).pipe(Effect.scoped, Effect.runPromise))
})

describe("a session that is lost", () => {
  it("a statement that was not known to be a COPY may have taken effect", () =>
    Effect.gen(function*() {
      const fiber = yield* Effect.forkScoped(Effect.exit(PgCopy.copyInSql("select pg_sleep(100)", Stream.empty)))
      const owner = Context.get(yield* Layer.build(PostgresDatabase.ownerLayer(url)), PgClient.PgClient)
      yield* until(Effect.map(
        owner<{ readonly n: number }>`
          select count(pg_terminate_backend(pid))::int4 as n from pg_stat_activity
           where datname = current_database() and wait_event = 'PgSleep'`,
        (rows) => rows[0]?.n === 1
      ))
      const reason = reasonOf(yield* Fiber.join(fiber))
      assert.deepStrictEqual(reason, new PgCopy.SessionLost({ outcome: "unknown" }))
    }).pipe(Effect.scoped, Effect.provide(session()), Effect.runPromise))

  it("before the last row was sent nothing is stored, and the error says so", () =>
    Effect.gen(function*() {
      const sql = yield* PgClient.PgClient
      const name = yield* table(sql)
      const sent = yield* Deferred.make<void>()
      const source = Stream.concat(
        Stream.tap(lines(1_000), () => Deferred.succeed(sent, undefined)),
        Stream.never
      )
      const fiber = yield* Effect.forkScoped(PgCopy.copyInLines({ table: name }, source))
      yield* Deferred.await(sent)
      yield* until(Effect.map(
        sql<{ readonly n: number }>`
          select count(pg_terminate_backend(pid))::int4 as n from pg_stat_activity
           where datname = current_database() and query like '%copy%from stdin%' and pid <> pg_backend_pid()`,
        (rows) => (rows[0]?.n ?? 0) > 0
      ))
      const reason = reasonOf(yield* Fiber.await(fiber))
      assert.isTrue(
        reason._tag === "CopyError"
          ? reason.sqlstate === "57P01"
          : reason._tag === "SessionLost" && reason.outcome === "notApplied",
        reason._tag
      )
      assert.strictEqual(yield* countOf(sql, name), 0)
    }).pipe(Effect.scoped, Effect.provide(session({ maxConnections: 2 })), Effect.runPromise))

  it("no session to be had: nothing was sent, and the error says so", () =>
    Effect.gen(function*() {
      const reason = reasonOf(yield* Effect.exit(PgCopy.copyIn({ table: "t" }, Stream.empty)))
      assert.strictEqual(reason._tag, "NoSession")
    }).pipe(
      Effect.provide(
        PgTransport.layer({ host: "127.0.0.1", port: 1, username: "nobody", connectTimeout: "300 millis" })
      ),
      Effect.runPromise
    ))
})

describe("memory", () => {
  it("1,000,000 rows go in and out in bounded memory", () =>
    onOneSession((sql) =>
      Effect.gen(function*() {
        const name = yield* table(sql)
        const body = "x".repeat(100)
        let peak = 0
        const watch = <A>(stream: Stream.Stream<A, PgCopy.PgCopyError, Services>) => {
          let n = 0
          return Stream.mapArray(stream, (items) => {
            if (++n % 64 === 0) peak = Math.max(peak, process.memoryUsage().arrayBuffers)
            return items
          })
        }
        const rows = Stream.map(Stream.range(1, 1_000_000), (n) => [n, body])
        assert.deepStrictEqual(yield* PgCopy.copyInRows({ table: name }, watch(rows)), { rows: 1_000_000 })
        const size = yield* Stream.runFold(
          watch(PgCopy.copyOut({ table: name })),
          () => 0,
          (sum, bytes) => sum + bytes.length
        )
        assert.isAbove(size, 100_000_000)
        // What is under way is a few hundred KiB; the rest is what the collector has not taken yet.
        assert.isBelow(peak, 100_000_000)
      })
    ), 120_000)
})

/** Rows read column by column (spec 8, case 42). */
import { PgClient, PgTypes } from "@effect/sql-pg"
import { assert, describe, it } from "@effect/vitest"
import * as PgQuery from "@restante/pg-session/PgQuery"
import * as PgRow from "@restante/pg-session/PgRow"
import { Effect, Option, Result } from "effect"
import * as PostgresDatabase from "./PostgresDatabase.ts"

const url = await PostgresDatabase.open()

/** The one row of a query. */
const row = (text: string) => Effect.flatMap(PgClient.PgClient, (sql) => PgQuery.queryOne(sql.unsafe(text)))

const run = <A, E>(effect: Effect.Effect<A, E, PgClient.PgClient>, types?: PgTypes.Registry) =>
  effect.pipe(Effect.provide(PgClient.layer({ url, maxConnections: 1, types })), Effect.runPromise)

/** Why a column cannot be read. */
const refusal = <A>(get: Effect.Effect<A, PgRow.RowError>) => Effect.map(Effect.flip(get), ({ reason }) => reason)

const place = <A>(get: Effect.Effect<A, PgRow.RowError>) =>
  Effect.map(refusal(get), ({ _tag, expected, found, index, name }) => ({ _tag, index, name, expected, found }))

const { OID } = PgTypes

describe("values", () => {
  it("case 42: every family gives its values, and NULL as none", () =>
    run(Effect.gen(function*() {
      const given = yield* row(
        `select 'é'::text as "text", true as bool, 7::int2 as "int", 9007199254740993 as big, 1.5::float8 as float,
        123456789012345678901234567890.10 as "numeric", '\\x00ff'::bytea as bytes, '2026-11-21T10:11:12.345Z'::timestamptz as "timestamp",
        '2026-11-21'::date as "date", '00000000-0000-0000-0000-000000000001'::uuid as "uuid", '{"a":[1]}'::jsonb as "json",
        array['a','b'] as texts, null::text as nothing, null::int4 as no_int, null::text[] as no_texts`
      )
      assert.deepStrictEqual(
        yield* Effect.all([
          given.getText("text"),
          given.getBool("bool"),
          given.getInt("int"),
          given.getBigInt("int"),
          given.getBigInt("big"),
          given.getFloat("float"),
          given.getNumeric("numeric"),
          given.getBytes("bytes"),
          given.getTimestamp("timestamp"),
          given.getDate("date"),
          given.getUuid("uuid"),
          given.getJson("json"),
          given.getTextArray("texts"),
          given.getTextArrayNullable("texts")
        ]),
        [
          "é",
          true,
          7,
          7n,
          9007199254740993n,
          1.5,
          "123456789012345678901234567890.10",
          Uint8Array.of(0, 255),
          new Date("2026-11-21T10:11:12.345Z"),
          "2026-11-21",
          "00000000-0000-0000-0000-000000000001",
          { a: [1] },
          ["a", "b"],
          ["a", "b"]
        ]
      )
      assert.deepStrictEqual(
        yield* Effect.all([
          given.getTextOpt("text"),
          given.getTextOpt("nothing"),
          given.getIntOpt("no_int"),
          given.getBigIntOpt("no_int"),
          given.getTextArrayOpt("no_texts"),
          given.getTextArrayOpt("texts")
        ]),
        [
          Option.some("é"),
          Option.none<string>(),
          Option.none<number>(),
          Option.none<bigint>(),
          Option.none<ReadonlyArray<string>>(),
          Option.some(["a", "b"])
        ]
      )
      assert.strictEqual(given.columnCount, 15)
      assert.strictEqual(yield* given.columnIndex("bool"), 1)
      assert.strictEqual(yield* given.getText(0), "é")
      assert.isTrue(yield* given.isNull("nothing"))
      assert.isFalse(yield* given.isNull("text"))
    })))

  it("varchar, bpchar, name and untyped literals are text; every integer is Int and BigInt; float4 is Float", () =>
    run(Effect.gen(function*() {
      const given = yield* row(
        "select 'a'::varchar(3) as a, 'b'::char(3) as b, 'c'::name as c, 'd' as d, 2::int4 as i4, 3::int8 as i8, 0.5::float4 as f4, " +
          "array['x']::varchar[] as xs, '2026-11-21 01:02:03'::timestamp as t, '[1]'::json as j"
      )
      assert.deepStrictEqual(
        yield* Effect.all(["a", "b", "c", "d"].map((name) => given.getText(name))),
        ["a", "b  ", "c", "d"]
      )
      assert.deepStrictEqual(yield* Effect.all([given.getInt("i4"), given.getInt("i8"), given.getFloat("f4")]), [
        2,
        3,
        0.5
      ])
      assert.deepStrictEqual(yield* Effect.all([given.getBigInt("i4"), given.getBigInt("i8")]), [2n, 3n])
      assert.deepStrictEqual(yield* given.getTextArray("xs"), ["x"])
      assert.deepStrictEqual(yield* given.getTimestamp("t"), new Date("2026-11-21T01:02:03Z"))
      assert.deepStrictEqual(yield* given.getJson("j"), [1])
    })))

  it("a domain is read as the type it is over", () =>
    run(Effect.gen(function*() {
      const sql = yield* PgClient.PgClient
      yield* sql`create domain age as int check (value >= 0)`
      yield* sql`create domain adult as age check (value >= 18)`
      yield* sql`create domain names as text[]`
      const given = yield* row("select 20::adult as a, array['n']::names as n")
      assert.strictEqual(yield* given.getInt("a"), 20)
      assert.deepStrictEqual(yield* given.getTextArray("n"), ["n"])
    })))

  it("names that an object has by nature are names like others", () =>
    run(Effect.gen(function*() {
      const given = yield* row(`select 'a' as "__proto__", 'b' as "constructor"`)
      assert.deepStrictEqual(yield* Effect.all([given.getText("__proto__"), given.getText("constructor")]), ["a", "b"])
      assert.strictEqual((yield* refusal(given.getText("toString")))._tag, "ColumnNotFound")
    })))
})

describe("refusals", () => {
  it("case 42: NULL, a wrong family, a missing and an ambiguous column, each with its place", () =>
    run(Effect.gen(function*() {
      const given = yield* row("select 1 as a, null::int4 as nothing, 'x' as twice, 'y' as twice")
      assert.deepStrictEqual(
        [
          yield* place(given.getInt("nothing")),
          yield* place(given.getText("a")),
          yield* place(given.getInt("A")),
          yield* place(given.getText("twice"))
        ],
        [
          { _tag: "NullValue", index: 1, name: "nothing", expected: "int", found: OID.int4 },
          { _tag: "TypeMismatch", index: 0, name: "a", expected: "text", found: OID.int4 },
          { _tag: "ColumnNotFound", index: -1, name: "A", expected: "int", found: 0 },
          { _tag: "AmbiguousColumn", index: -1, name: "twice", expected: "text", found: 0 }
        ]
      )
      // The value of the first of the two is not there any more.
      assert.strictEqual((yield* refusal(given.getText(2)))._tag, "AmbiguousColumn")
      for (const index of [-1, 4, 0.5, Number.NaN]) {
        assert.strictEqual((yield* refusal(given.getInt(index)))._tag, "ColumnNotFound")
      }
      assert.strictEqual((yield* refusal(given.isNull("absent")))._tag, "ColumnNotFound")
      assert.strictEqual((yield* refusal(given.columnIndex("twice")))._tag, "AmbiguousColumn")
    })))

  it("case 42: an int8 beyond what a number holds exactly", () =>
    run(Effect.gen(function*() {
      const given = yield* row("select 9007199254740991 as fits, 9007199254740992 as over, -9007199254740992 as under")
      assert.strictEqual(yield* given.getInt("fits"), 9007199254740991)
      for (const name of ["over", "under"]) {
        assert.strictEqual((yield* refusal(given.getInt(name)))._tag, "OutOfRange")
        assert.strictEqual((yield* refusal(given.getIntOpt(name)))._tag, "OutOfRange")
      }
      assert.strictEqual(yield* given.getBigInt("under"), -9007199254740992n)
    })))

  it("the type decides before the value: a NULL of another family is a mismatch, also for Opt", () =>
    run(Effect.gen(function*() {
      const given = yield* row("select null::int4 as a")
      assert.strictEqual((yield* refusal(given.getText("a")))._tag, "TypeMismatch")
      assert.strictEqual((yield* refusal(given.getTextOpt("a")))._tag, "TypeMismatch")
      assert.strictEqual((yield* refusal(given.getTextArrayOpt("a")))._tag, "TypeMismatch")
    })))

  it("a NULL in an array is refused by getTextArray and kept by getTextArrayNullable", () =>
    run(Effect.gen(function*() {
      const given = yield* row("select array['a', null] as xs, null::text[] as nothing")
      assert.strictEqual((yield* refusal(given.getTextArray("xs")))._tag, "NullValue")
      assert.strictEqual((yield* refusal(given.getTextArrayOpt("xs")))._tag, "NullValue")
      assert.deepStrictEqual(yield* given.getTextArrayNullable("xs"), ["a", null])
      assert.strictEqual((yield* refusal(given.getTextArrayNullable("nothing")))._tag, "NullValue")
    })))

  it("an infinite timestamp is no Date, and one that a registry reads otherwise is a mismatch", async () => {
    await run(Effect.gen(function*() {
      const given = yield* row("select 'infinity'::timestamptz as t")
      assert.strictEqual((yield* refusal(given.getTimestamp("t")))._tag, "OutOfRange")
    }))
    const types = PgTypes.makeRegistry()
    types.register(OID.timestamptz, {
      decode: () => Result.succeed(1n),
      encode: () => Result.succeed(new Uint8Array(8))
    })
    await run(
      Effect.gen(function*() {
        const given = yield* row("select now() as t")
        assert.strictEqual((yield* refusal(given.getTimestamp("t")))._tag, "TypeMismatch")
      }),
      types
    )
  })

  it("a fraction that a registry gives for an integer is a mismatch", async () => {
    const types = PgTypes.makeRegistry()
    types.register(OID.int8, { decode: () => Result.succeed(1.5), encode: () => Result.succeed(new Uint8Array(8)) })
    await run(
      Effect.gen(function*() {
        const given = yield* row("select 1::int8 as n")
        assert.strictEqual((yield* refusal(given.getBigInt("n")))._tag, "TypeMismatch")
        assert.strictEqual((yield* refusal(given.getBigIntOpt("n")))._tag, "TypeMismatch")
        assert.strictEqual((yield* refusal(given.getInt("n")))._tag, "TypeMismatch")
      }),
      types
    )
  })

  it("case 48: no text contains a value", () =>
    run(Effect.gen(function*() {
      const given = yield* row("select 'hunter2' as a, 9007199254740993 as b")
      for (const error of [yield* Effect.flip(given.getInt("a")), yield* Effect.flip(given.getInt("b"))]) {
        const text = `${error.message} ${String(error)} ${JSON.stringify(error)}`
        assert.notInclude(text, "hunter2")
        assert.notInclude(text, "9007199254740993")
        assert.include(text, "PgRow: ")
      }
    })))
})

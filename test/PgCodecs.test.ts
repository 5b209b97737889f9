/**
 * The frame of the codecs: registry, arrays, records, types of users, `PgRaw`. The single types are in PgCodecsLeaf.test.ts.
 * The judge is the server: its own text of a literal, and what it reads from our bytes. Random values come from a seed that
 * every failure names; `PG_CODECS_SEED` repeats a run.
 */
import { PgClient, PgConnection, PgTypes } from "@effect/sql-pg"
import { assert, describe, it } from "@effect/vitest"
import * as PgCodecs from "@restante/pg-session/PgCodecs"
import * as PgRange from "@restante/pg-session/PgRange"
import { Cause, Effect, Exit, Layer, Option, Redacted, Result } from "effect"
import type { SqlError } from "effect/sql/SqlError"
import { inspect } from "node:util"
import * as PostgresDatabase from "./PostgresDatabase.ts"

const url = await PostgresDatabase.open()

const connection = { url }

type Codecs = PgCodecs.PgCodecs["Service"]
type Session = PgConnection.PgConnection

/** Runs the test on one session that reads with the codecs, and sees that the session has outlived it. */
const withSession = <A, E>(
  use: (session: Session, codecs: Codecs) => Effect.Effect<A, E>,
  options: Omit<PgCodecs.LoadOptions, "connection"> = {}
) =>
  Effect.gen(function*() {
    const codecs = yield* PgCodecs.load({ connection, ...options })
    const session = yield* PgConnection.make({ url, types: codecs.registry, applicationName: "codecs" })
    const result = yield* use(session, codecs)
    assert.strictEqual(yield* value(session, "select pg_backend_pid()"), session.processId, "the session was lost")
    return result
  }).pipe(Effect.scoped, Effect.runPromise)

/** The only value of the only row. */
const value = (session: Session, sql: string, ...params: ReadonlyArray<unknown>): Effect.Effect<unknown, SqlError> =>
  Effect.map(session.queryValues(sql, params, false), (rows) => {
    assert.lengthOf(rows, 1)
    return rows[0]?.[0]
  })

const run = (...statements: ReadonlyArray<string>) =>
  Effect.scoped(Effect.flatMap(
    PgConnection.make(connection),
    (owner) => Effect.forEach(statements, (statement) => owner.query(statement), { discard: true })
  ))

/** What the server makes of the value: encoded by us, shown by it. */
const shown = (session: Session, codecs: Codecs, type: string, given: unknown) =>
  Effect.flatMap(
    Effect.fromResult(codecs.parameter(type, given)),
    (parameter) => value(session, `select $1::${type}::text`, parameter)
  )

/** Sends the value and reads it back. */
const returned = (session: Session, codecs: Codecs, type: string, given: unknown) =>
  Effect.flatMap(
    Effect.fromResult(codecs.parameter(type, given)),
    (parameter) => value(session, `select $1::${type}`, parameter)
  )

/** The law of every codec: the server shows what it shows for the literal, and what is read is read again after a trip. */
const holds = Effect.fnUntraced(function*(
  session: Session,
  codecs: Codecs,
  type: string,
  literal: string,
  expected: unknown
) {
  const decoded = yield* value(session, `select ${literal}::${type}`)
  assert.deepStrictEqual(decoded, expected, `${literal}::${type}`)
  const text = yield* value(session, `select (${literal}::${type})::text`)
  assert.strictEqual(yield* shown(session, codecs, type, decoded), text, `${literal}::${type}`)
  assert.deepStrictEqual(yield* returned(session, codecs, type, decoded), expected, `${literal}::${type}`)
})

/** The parameter is refused before anything is sent, by a codec. */
const refused = Effect.fnUntraced(function*(
  session: Session,
  codecs: Codecs,
  type: string | number,
  given: unknown,
  message: RegExp
) {
  const parameter = yield* Effect.fromResult(codecs.parameter(type, given))
  const error = yield* Effect.flip(session.query("select $1", [parameter]))
  assert.instanceOf(error.reason.cause, PgTypes.CodecError)
  assert.match(error.reason.cause.message, message)
})

/** A schema for one test: created with what is in it, and dropped. */
const withSchema = (
  name: string,
  statements: (schema: string) => ReadonlyArray<string>,
  use: (schema: string) => Promise<void>
) =>
  Effect.runPromise(Effect.acquireUseRelease(
    run(`create schema ${name}`, ...statements(name)),
    () => Effect.promise(() => use(name)),
    () => run(`drop schema ${name} cascade`)
  ))

const sqlstate = (error: SqlError): unknown =>
  typeof error.reason.cause === "object" && error.reason.cause !== null && "code" in error.reason.cause
    ? error.reason.cause.code
    : undefined

const seed = Number(process.env["PG_CODECS_SEED"] ?? Math.floor(Math.random() * 2 ** 31))

/** Mulberry32. */
const makeRandom = () => {
  let state = seed
  const next = () => {
    state = Math.trunc(state + 0x6d2b79f5)
    let mixed = Math.imul(state ^ state >>> 15, 1 | state)
    mixed = mixed + Math.imul(mixed ^ mixed >>> 7, 61 | mixed) ^ mixed
    return ((mixed ^ mixed >>> 14) >>> 0) / 2 ** 32
  }
  return { upTo: (most: number) => Math.floor(next() * (most + 1)) }
}

const arrays: ReadonlyArray<readonly [oid: number, value: unknown]> = [
  [PgTypes.OID.int4Array, [1, null, 3]],
  [PgTypes.OID.textArray, []],
  [PgTypes.OID.textArray, ["a", "b"]],
  [PgTypes.OID.int4Array, [[1], [2]]],
  [PgTypes.OID.int4Array, new PgCodecs.PgArray({ lowerBounds: [257], values: [1] })]
]

const nested = (depth: number): unknown => depth === 0 ? [] : [nested(depth - 1)]

describe("types of the driver", () => {
  it("case 41: no extreme value of the driver's own types ends the session, alone, in an array, or missing", () =>
    withSession(Effect.fnUntraced(function*(session) {
      const extremes: Readonly<Record<string, ReadonlyArray<string>>> = {
        bool: ["t", "f"],
        bytea: ["", "\\x00ff"],
        name: ["", "a".repeat(63)],
        text: ["", "\u{feff}x", "\u{10ffff}", "x".repeat(100_000)],
        varchar: [""],
        bpchar: [" "],
        "\"char\"": ["", "a", "\\", "\\377", "\\200"],
        int2: ["-32768", "32767"],
        int4: ["-2147483648", "2147483647"],
        int8: ["-9223372036854775808", "9223372036854775807"],
        oid: ["0", "4294967295"],
        regclass: ["pg_class"],
        float4: ["NaN", "Infinity", "-Infinity", "-0", "3.4028235e38", "1e-45"],
        float8: ["NaN", "Infinity", "-Infinity", "-0", "1.7976931348623157e308", "5e-324"],
        numeric: [
          "NaN",
          "Infinity",
          "-Infinity",
          "0",
          "-0.00",
          "1e-16383",
          "9".repeat(131_072),
          `0.${"9".repeat(16_383)}`
        ],
        json: ["null", "\"\\ud800\"", "\"\\u0000\"", "1e1000", `${"[".repeat(1000)}${"]".repeat(1000)}`, " {} "],
        jsonb: ["null", "1e1000", "{\"__proto__\": 1, \"\": []}"],
        uuid: ["00000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff"],
        inet: ["0.0.0.0/0", "::/0", "::ffff:1.2.3.4", "1.2.3.4/7", "fe80::1/10", "::ffff:1.2.3.4/97"],
        cidr: ["0.0.0.0/0", "::/0", "::ffff:0:0/96", "255.255.255.255/32"],
        date: ["infinity", "-infinity", "4714-11-24 BC", "5874897-12-31", "0001-12-31 BC"],
        time: ["00:00", "24:00", "23:59:59.999999"],
        timetz: ["24:00+15:59:59", "00:00-15:59:59", "24:00-15:59:59"],
        timestamp: ["infinity", "-infinity", "4714-11-24 00:00 BC", "294276-12-31 23:59:59.999999"],
        timestamptz: ["infinity", "-infinity", "4714-11-24 00:00+00 BC", "294276-12-31 23:59:59.999999+00"],
        interval: ["178000000 years", "-178000000 years", "2147483647 days -1 microseconds"],
        xml: ["<a/>", "<?xml version=\"1.0\"?><a>\u{e9}</a>"],
        refcursor: ["", "c"],
        int2vector: ["", "-32768 32767"],
        oidvector: ["", "0 4294967295"]
      }
      for (const [type, literals] of Object.entries(extremes)) {
        for (const literal of [...literals, ...(type === "interval" ? yield* infinityOf(session, "interval") : [])]) {
          const rows = yield* session.queryValues(
            `with v as (select $1::text::${type} as v) select v, array[v, null] from v union all select null, '{}' from v`,
            [literal]
          )
          const [first] = rows
          if (literal !== "null") assert.isNotNull(first?.[0])
          assert.deepStrictEqual(
            rows,
            [[first?.[0], [first?.[0], null]], [null, []]],
            `${type} ${literal.slice(0, 50)}`
          )
        }
      }
    })))

  it("a numeric of any size is read as the server shows it, and one that is too large is refused", () =>
    withSession(Effect.fnUntraced(function*(session, codecs) {
      const values = [
        "9".repeat(131_072),
        `-${"1".repeat(131_072)}.${"7".repeat(16_383)}`,
        `1${"0".repeat(131_071)}`,
        `1${"0".repeat(131_071)}.${"0".repeat(16_382)}1`,
        `${"8".repeat(131_068)}.5`
      ]
      for (const number of values) {
        assert.isTrue((yield* value(session, "select $1::text::numeric", number)) === number)
        assert.isTrue((yield* shown(session, codecs, "numeric", number)) === number)
        assert.isTrue((yield* shown(session, codecs, "numeric[]", [number, null])) === `{${number},NULL}`)
      }
      for (const number of ["9".repeat(131_073), "1e131072", "1e999999999", "1e99999999999999999999"]) {
        yield* refused(session, codecs, "numeric", number, /at most 131072 digits/)
      }
    })))

  it("system types have a form of their own", () =>
    withSession(Effect.fnUntraced(function*(session, codecs) {
      // Before 15 the server has no text for it that is UTF-8.
      assert.strictEqual(yield* value(session, "select (-1)::\"char\""), "\\377")
      yield* holds(session, codecs, "\"char\"", "'\\'", "\\")
      yield* holds(session, codecs, "\"char\"", "''", "")
      yield* holds(session, codecs, "int2vector", "'-1 2'", [-1, 2])
      yield* holds(session, codecs, "oidvector", "'1 4294967295'", [1, 4294967295])
      yield* holds(session, codecs, "oidvector[]", "array['1 2'::oidvector, null]", [[1, 2], null])
      assert.deepStrictEqual(yield* value(session, "select ''::oidvector"), [])
      // The server does not take its own binary form of an empty one.
      yield* refused(session, codecs, "oidvector", [], /an empty one goes as text/)
      assert.strictEqual(yield* value(session, "select 'a'"), "a")
      assert.strictEqual(yield* value(session, "select pg_sleep(0)"), "")
      yield* refused(session, codecs, "\"char\"", "\u{e9}", /one ASCII character/)
      yield* refused(session, codecs, "\"char\"", 1, /a string expected/)
      yield* refused(session, codecs, "int2vector", [40_000], /an integer from/)
    })))
})

/** PostgreSQL has infinite intervals from 17 on. */
const infinityOf = (session: Session, type: string) =>
  Effect.map(
    session.query(`select case when current_setting('server_version_num')::int >= 170000 then 1 end as ${type}`),
    ({ rows }) => rows[0]?.[type] === 1 ? ["infinity", "-infinity"] : []
  )

describe("arrays", () => {
  it("case 39: arrays of two and three dimensions are nested arrays in both directions, missing elements null", () =>
    withSession(Effect.fnUntraced(function*(session, codecs) {
      yield* holds(session, codecs, "int4[]", "'{{1,2},{NULL,4}}'", [[1, 2], [null, 4]])
      yield* holds(session, codecs, "text[]", "'{{{a,\"\"},{NULL,\"NULL\"}}}'", [[["a", ""], [null, "NULL"]]])
      yield* holds(session, codecs, "numeric[]", "'{{{1.50},{NaN}},{{2},{-0.1}}}'", [[["1.50"], ["NaN"]], [["2"], [
        "-0.1"
      ]]])
      yield* holds(session, codecs, "int8[]", "'{{{{{{7}}}}}}'", [[[[[[7n]]]]]])
      yield* holds(session, codecs, "int4[]", "'{}'", [])
      yield* holds(session, codecs, "int4[]", "'{NULL}'", [null])
      assert.deepStrictEqual(yield* value(session, "select null::int4[]"), null)
      yield* holds(session, codecs, "point[]", "'{{\"(1,2)\",NULL}}'", [[{ x: 1, y: 2 }, null]])
    })))

  it("case 39: an array of one dimension that begins at 1 is what the driver makes of it", () =>
    withSession(Effect.fnUntraced(function*(session, codecs) {
      const plain = yield* PgConnection.make(connection)
      const literals: Readonly<Record<string, string>> = {
        bool: "{t,f,NULL}",
        bytea: "{\"\\\\x01\",NULL}",
        int2: "{1,-2}",
        int4: "{1,NULL}",
        int8: "{1,9223372036854775807}",
        float4: "{1.5,NaN}",
        float8: "{Infinity}",
        numeric: "{1.10,NaN}",
        text: "{a,\"b,c\",NULL,\"NULL\"}",
        varchar: "{}",
        json: "{\"[1, 2]\",\"null\"}",
        jsonb: "{\"{\\\"a\\\": [1]}\"}",
        uuid: "{00000000-0000-0000-0000-000000000001}",
        inet: "{1.2.3.4/8,::1}",
        date: "{2026-02-28,infinity}",
        time: "{12:00}",
        timestamptz: "{2026-02-28 12:00:00.123+00,infinity}",
        interval: "{1 mon 2 days}"
      }
      for (const [type, literal] of Object.entries(literals)) {
        const sql = `select $1::text::${type}[]`
        const ours = yield* value(session, sql, literal)
        assert.deepStrictEqual(ours, yield* value(plain, sql, literal), type)
        if (!literal.includes("infinity")) {
          assert.deepStrictEqual(yield* returned(session, codecs, `${type}[]`, ours), ours)
        }
      }
      // What the driver infers goes the same way.
      assert.strictEqual(yield* value(session, "select $1::text", [1, null, 3]), "{1,NULL,3}")
    }, Effect.scoped)))

  it("case 39: other lower bounds are a PgArray in both directions", () =>
    withSession(Effect.fnUntraced(function*(session, codecs) {
      const { PgArray } = PgCodecs
      yield* holds(session, codecs, "int4[]", "'[0:1]={7,NULL}'", new PgArray({ lowerBounds: [0], values: [7, null] }))
      yield* holds(
        session,
        codecs,
        "text[]",
        "'[1:1][-2:-1]={{a,b}}'",
        new PgArray({ lowerBounds: [1, -2], values: [["a", "b"]] })
      )
      yield* holds(
        session,
        codecs,
        "int4[]",
        "'[2147483646:2147483646]={1}'",
        new PgArray({ lowerBounds: [2147483646], values: [1] })
      )
      assert.strictEqual(
        yield* shown(session, codecs, "int4[]", new PgArray({ lowerBounds: [1, 1], values: [[1]] })),
        "{{1}}"
      )
      assert.strictEqual(yield* shown(session, codecs, "int4[]", new PgArray({ lowerBounds: [5], values: [] })), "{}")
    })))

  it("case 39: what no array of PostgreSQL can be is refused before it is sent", () =>
    withSession(Effect.fnUntraced(function*(session, codecs) {
      const { PgArray } = PgCodecs
      const cyclic: Array<unknown> = []
      cyclic.push(cyclic)
      const ragged = [[[1], [2, 3]], [[1], 2], [1, [2]], [[1], null], [null, [1]], [[], [1]], [[[1]], [[1], [2]]]]
      for (const given of ragged) yield* refused(session, codecs, "int4[]", given, /ragged/)
      yield* refused(session, codecs, "int4[]", nested(7), /more than 6 dimensions/)
      yield* refused(session, codecs, "int4[]", cyclic, /more than 6 dimensions/)
      yield* refused(session, codecs, "int4[]", "1", /an array or a PgArray expected/)
      yield* refused(session, codecs, "int4[]", [["1"]], /not one that the type can hold/)
      yield* refused(session, codecs, "int4[]", ["secret"], /^int4: the value is not one that the type can hold$/)
      yield* refused(session, codecs, "int4[]", [[undefined]], /not one that the type can hold/)
      yield* refused(session, codecs, "int4[]", new PgArray({ lowerBounds: [1], values: [[1]] }), /ragged/)
      yield* refused(
        session,
        codecs,
        "int4[]",
        new PgArray({ lowerBounds: [1, 1], values: [1] }),
        /as many dimensions|ragged/
      )
      yield* refused(session, codecs, "int4[]", new PgArray({ lowerBounds: [], values: [1] }), /a lower bound for each/)
      yield* refused(session, codecs, "int4[]", new PgArray({ lowerBounds: [0.5], values: [1] }), /integer of 32 bits/)
      yield* refused(
        session,
        codecs,
        "int4[]",
        new PgArray({ lowerBounds: [2 ** 31], values: [1] }),
        /integer of 32 bits/
      )
      // Brackets around nothing are an empty array, as in a literal.
      assert.strictEqual(yield* shown(session, codecs, "int4[]", [[], []]), "{}")
    })))

  it("half of a surrogate pair in an array is refused, where the driver would send another character", () =>
    withSession(Effect.fnUntraced(function*(session, codecs) {
      const half = "\ud800x"
      for (const type of ["text[]", "varchar[]", "bpchar[]", "name[]"]) {
        for (const given of [[half], ["a", null, half], [["a"], [half]]]) {
          yield* refused(session, codecs, type, given, /not one that the type can hold/)
        }
        assert.strictEqual(yield* shown(session, codecs, type, ["\u{1f600}", "\ufffd"]), "{\u{1f600},\ufffd}")
      }
      assert.deepStrictEqual(yield* returned(session, codecs, "json[]", [half]), [half])
    })))

  it("an array is read the same wherever it is in a message, and damage to it is a typed error", () =>
    withSession((_, codecs) =>
      Effect.sync(() => {
        const { registry } = codecs
        for (const [oid, given] of arrays) {
          const bytes = Result.getOrThrow(PgTypes.encode(given, oid, registry))
          const message = new Uint8Array(bytes.length + 50).fill(1)
          message.set(bytes, 37)
          const read = Result.getOrThrow(PgTypes.makeFieldReader([{ dataTypeOid: oid, format: 1 }], registry))
          assert.deepStrictEqual(read(message, 37, bytes.length, 0), given)
          assert.throws(() => read(message, 37, bytes.length + 1, 0), PgTypes.CodecError)
          assert.throws(() => read(message, 37, bytes.length - 1, 0), PgTypes.CodecError)
        }
        const broken = Result.getOrThrow(PgTypes.encode(["{}"], PgTypes.OID.textArray, registry)).slice()
        broken[11] = PgTypes.OID.json
        broken[24] = 0x5d
        assert.isTrue(Result.isFailure(PgTypes.decode(broken, PgTypes.OID.jsonArray, 1, registry)))
      })
    ))

  it("elements that are arrays in JavaScript are not taken for dimensions", () =>
    withSession(Effect.fnUntraced(function*(session, codecs) {
      const { PgArray } = PgCodecs
      yield* holds(session, codecs, "jsonb[]", "array['[1, [2]]'::jsonb, '3', null]", [[1, [2]], 3, null])
      yield* holds(
        session,
        codecs,
        "jsonb[]",
        "array[['[1]'::jsonb, '2'], ['[]', '{}']]",
        new PgArray({ lowerBounds: [1, 1], values: [[[1], 2], [[], {}]] })
      )
      yield* holds(session, codecs, "int4multirange[]", "array['{}'::int4multirange]", [[]])
      assert.strictEqual(yield* shown(session, codecs, "jsonb[]", [[[1], [2]]]), "{\"[[1], [2]]\"}")
    })))

  it("case 39: random arrays are read and written as the server does", () =>
    withSession(Effect.fnUntraced(function*(session, codecs) {
      const random = makeRandom()
      const elements: ReadonlyArray<readonly [type: string, draw: () => readonly [unknown, string]]> = [
        ["int4", () => {
          const number = random.upTo(2 ** 32 - 1) - 2 ** 31
          return [number, String(number)]
        }],
        ["numeric", () => {
          const number = `${random.upTo(1) === 0 ? "-" : ""}${1 + random.upTo(99999)}.${random.upTo(9)}${
            random.upTo(9)
          }`
          return [number, number]
        }],
        ["text", () => {
          const text = Array.from(
            { length: random.upTo(6) },
            () => ["a", "\"", "\\", ",", "{", "}", " ", "\u{1f600}", "N"][random.upTo(8)]
          )
            .join("")
          return [text, `"${text.replaceAll(/["\\]/g, "\\$&")}"`]
        }],
        ["varbit", () => {
          const bits = Array.from({ length: random.upTo(20) }, () => random.upTo(1)).join("")
          return [bits, `"${bits}"`]
        }]
      ]
      for (let round = 0; round < 200; round++) {
        const [type, draw] = elements[round % elements.length] ?? ["int4", () => [1, "1"] as const]
        const lengths = Array.from({ length: 1 + random.upTo(5) }, () => 1 + random.upTo(2))
        const shifted = random.upTo(1) === 1
        const lowerBounds = lengths.map(() => shifted ? random.upTo(20) - 10 : 1)
        const make = (dimension: number): readonly [unknown, string] => {
          if (dimension === lengths.length) return random.upTo(4) === 0 ? [null, "NULL"] : draw()
          const parts = Array.from({ length: lengths[dimension] ?? 0 }, () => make(dimension + 1))
          return [parts.map(([part]) => part), `{${parts.map(([, part]) => part).join(",")}}`]
        }
        const [values, braces] = make(0)
        const bounds = lengths.map((length, index) =>
          `[${lowerBounds[index]}:${(lowerBounds[index] ?? 0) + length - 1}]`
        )
        const literal = shifted ? `${bounds.join("")}=${braces}` : braces
        const expected = lowerBounds.some((bound) => bound !== 1) && Array.isArray(values)
          ? new PgCodecs.PgArray({ lowerBounds, values })
          : values
        const note = `seed ${seed}, round ${round}: ${type} ${literal}`
        assert.deepStrictEqual(yield* value(session, `select $1::text::${type}[]`, literal), expected, note)
        assert.strictEqual(
          yield* shown(session, codecs, `${type}[]`, expected),
          yield* value(session, `select $1::text::${type}[]::text`, literal),
          note
        )
      }
    })))
})

describe("bytes", () => {
  it("a field that is cut short, too long or damaged is a typed error, and reading stays within it", () =>
    withSession(Effect.fnUntraced(function*(session, codecs) {
      const { registry } = codecs
      const types = yield* session.query(
        "select oid, oid::regtype::text as name from pg_type where oid < 10000 and typtype in ('b', 'r', 'm') and typsend <> 0"
      )
      const random = makeRandom()
      const literals = [
        "1",
        "a",
        "{1,2}",
        "{\"(1,2)\"}",
        "(1,2)",
        "[1,2)",
        "{[1,2)}",
        "{{1},{2}}",
        "08:00:2b:01:02:03",
        "2026-01-01",
        "101",
        "true",
        "1.2.3.4",
        "1/2"
      ]
      let read = 0
      for (const { name, oid } of types.rows) {
        // The text of JSON is parsed by the driver, which lets a SyntaxError through.
        if (typeof oid !== "number" || /json/.test(String(name))) continue
        for (const literal of literals) {
          const send = yield* Effect.result(value(session, `select $1::text::${String(name)}`, literal))
          if (Result.isFailure(send)) continue
          const encoded = PgTypes.encode(send.success, oid, registry)
          if (Result.isFailure(encoded)) continue
          read++
          const bytes = encoded.success
          for (let cut = 0; cut < Math.min(bytes.length, 64); cut++) {
            PgTypes.decode(bytes.slice(0, cut), oid, 1, registry)
          }
          PgTypes.decode(new Uint8Array([...bytes, 0]), oid, 1, registry)
          for (let round = 0; round < 50; round++) {
            const damaged = bytes.slice()
            if (damaged.length > 0) damaged[random.upTo(damaged.length - 1)] = random.upTo(255)
            PgTypes.decode(damaged, oid, 1, registry)
          }
        }
      }
      assert.isAbove(read, 100, `seed ${seed}`)
      for (const type of ["int4[]", "point", "tsvector", "int4range", "\"char\"", "oidvector", "record"]) {
        const parameter = yield* Effect.fromResult(codecs.parameter(type, null))
        for (const bytes of [new Uint8Array([]), new Uint8Array(3), new Uint8Array(200).fill(255)]) {
          const decoded = PgTypes.decode(bytes, parameter.oid, 1, registry)
          assert.isTrue(Result.isFailure(decoded), `${type} of ${bytes.length} bytes`)
        }
      }
    })))

  it("a length that cannot be true allocates nothing", () =>
    withSession((_, codecs) =>
      Effect.sync(() => {
        const view = new DataView(new ArrayBuffer(60))
        // Six dimensions of 2^31 - 1 elements each, and no element.
        view.setInt32(0, 6)
        view.setInt32(8, PgTypes.OID.int4)
        for (let dimension = 0; dimension < 6; dimension++) view.setInt32(12 + dimension * 8, 2 ** 31 - 1)
        const bytes = new Uint8Array(view.buffer)
        const decoded = PgTypes.decode(bytes, PgTypes.OID.int4Array, 1, codecs.registry)
        assert.isTrue(Result.isFailure(decoded) && /parts expected/.test(decoded.failure.message))
      })
    ))
})

describe("records", () => {
  it("a record is its fields with their types, nested, in arrays, and empty", () =>
    withSession(Effect.fnUntraced(function*(session, codecs) {
      const { int4, int8, text } = PgTypes.OID
      assert.deepStrictEqual(yield* value(session, "select row(1, 'a'::text, null::int8, array[[1]])"), [
        { oid: int4, value: 1 },
        { oid: text, value: "a" },
        { oid: int8, value: null },
        { oid: PgTypes.OID.int4Array, value: [[1]] }
      ])
      assert.deepStrictEqual(yield* value(session, "select row(row(2), 'x')"), [
        { oid: 2249, value: [{ oid: int4, value: 2 }] },
        { oid: 705, value: "x" }
      ])
      assert.deepStrictEqual(yield* value(session, "select array[row(1), row(2)]"), [
        [{ oid: int4, value: 1 }],
        [{ oid: int4, value: 2 }]
      ])
      assert.deepStrictEqual(yield* value(session, "select row()"), [])
      yield* refused(session, codecs, "record", [], /no type of a parameter/)
    })))

  it("records however deep leave the session alive; beyond a hundred they stay raw", () =>
    withSession(Effect.fnUntraced(function*(session) {
      const deep = yield* value(session, `select ${"row(".repeat(300)}1${")".repeat(300)}`)
      let depth = 0
      let at = deep
      while (Array.isArray(at)) {
        depth++
        at = at[0].value
      }
      assert.strictEqual(depth, 101)
      assert.instanceOf(at, PgCodecs.PgRaw)
    })))

  it("a field of a type that has no codec is a PgRaw", () =>
    withSession(Effect.fnUntraced(function*(session) {
      yield* session.query("create type pg_temp.shade as enum ('dark')")
      const oid = yield* value(session, "select 'pg_temp.shade'::regtype::oid")
      assert.deepStrictEqual(yield* value(session, "select row('dark'::pg_temp.shade)"), [
        { oid, value: new PgCodecs.PgRaw({ oid: Number(oid), bytes: new TextEncoder().encode("dark") }) }
      ])
    })))
})

describe("types of users", () => {
  it("case 40: a composite type is an object by attribute name; dropped attributes are skipped", () =>
    withSchema("composite", (schema) => [
      `create type ${schema}.mood as enum ('sad', 'it''s ok')`,
      `create domain ${schema}.amount as numeric(10, 2) check (value >= 0)`,
      `create type ${schema}.item as (name text, gone int8, "Price" ${schema}.amount, moods ${schema}.mood[])`,
      `alter type ${schema}.item drop attribute gone`,
      `create type ${schema}."Order" as (id int8, first ${schema}.item, items ${schema}.item[], grid int4[], "__proto__" text)`
    ], (schema) =>
      withSession(
        Effect.fnUntraced(function*(session, codecs) {
          const item = { name: "a,\"b\"", Price: "1.50", moods: ["sad", null, "it's ok"] }
          const itemLiteral = `row('a,"b"', 1.5, array['sad', null, 'it''s ok']::${schema}.mood[])`
          yield* holds(session, codecs, `${schema}.item`, itemLiteral, item)
          const missing = { name: null, Price: null, moods: null }
          yield* holds(session, codecs, `${schema}.item`, "row(null, null, null)", missing)
          const order = Object.fromEntries([
            ["id", 1n],
            ["first", item],
            ["items", [item, null, missing]],
            ["grid", [[1, null], [3, 4]]],
            ["__proto__", "p"]
          ])
          const orderLiteral =
            `row(1, ${itemLiteral}, array[${itemLiteral}, null, row(null, null, null)]::${schema}.item[],
          '{{1,NULL},{3,4}}', 'p')`
          yield* holds(session, codecs, `${schema}."Order"`, orderLiteral, order)
          yield* holds(
            session,
            codecs,
            `${schema}."Order"[]`,
            `array[array[${orderLiteral}], array[null]]::${schema}."Order"[]`,
            [[order], [null]]
          )
          const item1 = `${schema}.item`
          yield* refused(session, codecs, item1, { ...missing, name: "\ud800" }, /not one that the type can hold/)
          yield* refused(session, codecs, item1, { name: null, Price: null }, /attribute moods is missing/)
          yield* refused(session, codecs, item1, { ...missing, name: undefined }, /attribute name is missing/)
          yield* refused(session, codecs, item1, { ...missing, gone: 1 }, /a key that is no attribute/)
          yield* refused(session, codecs, item1, [null, null, null], /an object of its attributes/)
          yield* refused(session, codecs, item1, "(a,,)", /an object of its attributes/)
          // As text, untyped, it is the server that reads it.
          assert.deepStrictEqual(yield* value(session, `select $1::${schema}.item`, "(a,,)"), { ...missing, name: "a" })
        }),
        { types: [`${schema}.item`, `${schema}."Order"`] }
      )))

  it("case 40: enums and domains, alone and in arrays, have the form of what they are made of", () =>
    withSchema("plain", (schema) => [
      `create type ${schema}.mood as enum ('sad', 'happy')`,
      `create domain ${schema}.moody as ${schema}.mood`,
      `create domain ${schema}.place as point`,
      `create domain ${schema}.grid as int4[][]`,
      `create type ${schema}.pair as (a int4, b ${schema}.mood)`,
      `create domain ${schema}.couple as ${schema}.pair`
    ], (schema) =>
      withSession(
        Effect.fnUntraced(function*(session, codecs) {
          yield* holds(session, codecs, `${schema}.mood`, "'happy'", "happy")
          yield* holds(session, codecs, `${schema}.mood[]`, "'{{happy,NULL},{sad,sad}}'", [["happy", null], [
            "sad",
            "sad"
          ]])
          yield* holds(session, codecs, `${schema}.moody`, "'sad'", "sad")
          yield* holds(session, codecs, `${schema}.moody[]`, "'{sad,NULL}'", ["sad", null])
          yield* holds(session, codecs, `${schema}.place`, "'(1,2)'", { x: 1, y: 2 })
          yield* holds(session, codecs, `${schema}.place[]`, "'{\"(1,2)\"}'", [{ x: 1, y: 2 }])
          yield* holds(session, codecs, `${schema}.grid`, "'{{1},{2}}'", [[1], [2]])
          yield* holds(session, codecs, `${schema}.grid[]`, "array['{{1},{2}}'::" + schema + ".grid]", [[[1], [2]]])
          yield* holds(session, codecs, `${schema}.couple`, "row(1, 'sad')", { a: 1, b: "sad" })
          yield* holds(session, codecs, `${schema}.couple[]`, `array[row(1, 'sad')::${schema}.couple]`, [{
            a: 1,
            b: "sad"
          }])
          // Which labels there are is the server's to say.
          const parameter = yield* Effect.fromResult(codecs.parameter(`${schema}.mood`, "none"))
          assert.strictEqual(sqlstate(yield* Effect.flip(session.query("select $1", [parameter]))), "22P02")
          yield* refused(session, codecs, `${schema}.mood`, 1, /a string expected/)
        }),
        { types: ["mood", "moody", "place", "grid", "couple"].map((name) => `${schema}.${name}`) }
      )))

  it("ranges over types of users, and their multiranges", () =>
    withSchema("ranges", (schema) => [
      `create type ${schema}.span as range (subtype = float8)`,
      `create domain ${schema}.height as numeric`,
      `create type ${schema}.heights as range (subtype = ${schema}.height)`
    ], (schema) =>
      withSession(
        Effect.fnUntraced(function*(session, codecs) {
          const one = { lower: PgRange.inclusive(1.5), upper: PgRange.unbounded }
          yield* holds(session, codecs, `${schema}.span`, "'[1.5,)'", one)
          yield* holds(session, codecs, `${schema}.span[]`, "'{\"[1.5,)\",empty,NULL}'", [one, PgRange.empty, null])
          yield* holds(session, codecs, `${schema}.span_multirange`, "'{[1.5,)}'", [one])
          yield* holds(session, codecs, `${schema}.heights`, "'(1.10,2]'", {
            lower: PgRange.exclusive("1.10"),
            upper: PgRange.inclusive("2")
          })
          const many = `select array['{[1,2)}'::${schema}.span_multirange, '{}']`
          const two = { lower: PgRange.inclusive(1), upper: PgRange.exclusive(2) }
          assert.deepStrictEqual(yield* value(session, many), [[two], []])
        }),
        { types: ["span", "span_multirange", "heights"].map((name) => `${schema}.${name}`) }
      )))

  it("case 40: types of installed extensions need no name, whatever schema they are in", () =>
    withSchema("extensions", (schema) => [
      `create extension if not exists hstore schema ${schema}`,
      `create extension if not exists ltree schema ${schema}`,
      `create extension if not exists citext schema ${schema}`
    ], (schema) =>
      withSession(
        Effect.fnUntraced(function*(session, codecs) {
          assert.deepStrictEqual(yield* value(session, `select 'a=>1,b=>NULL'::${schema}.hstore`), { a: "1", b: null })
          assert.deepStrictEqual(yield* value(session, `select array['a.b'::${schema}.ltree, null]`), ["a.b", null])
          assert.strictEqual(yield* value(session, `select 'a.*'::${schema}.lquery`), "a.*")
          assert.strictEqual(yield* value(session, `select 'a & b'::${schema}.ltxtquery`), "a & b")
          const tree = yield* Effect.fromResult(codecs.parameter("ltree[]", [["a.b"], [null]]))
          assert.strictEqual(yield* value(session, "select $1::text", tree), "{{a.b},{NULL}}")
          assert.deepStrictEqual(yield* value(session, `select array['Ab'::${schema}.citext]`), ["Ab"])
        }),
        { types: [`${schema}.citext`] }
      )))

  it("a type of another extension that has the same name is another type", async () => {
    const other = { url: await PostgresDatabase.open() }
    await Effect.gen(function*() {
      const owner = yield* PgConnection.make(other)
      for (
        const statement of [
          "create type vector",
          "create function vector_in(cstring) returns vector language internal immutable strict as 'textin'",
          "create function vector_out(vector) returns cstring language internal immutable strict as 'textout'",
          "create function vector_send(vector) returns bytea language internal immutable strict as 'textsend'",
          "create type vector (input = vector_in, output = vector_out, send = vector_send, like = text)",
          "alter extension plpgsql add type vector"
        ]
      ) yield* owner.query(statement)
      const codecs = yield* PgCodecs.load({ connection: other, unknown: "raw" })
      const session = yield* PgConnection.make({ ...other, types: codecs.registry })
      assert.instanceOf(yield* value(session, "select 'abcd'::vector"), PgCodecs.PgRaw)
      assert.isTrue(Result.isFailure(codecs.parameter("vector", null)))
    }).pipe(Effect.scoped, Effect.runPromise)
  })

  it("a type that the role must not look up is the server's refusal, not a type that there is not", () =>
    withSchema(
      "hidden",
      (schema) => [`create type ${schema}.mood as enum ('sad')`, "create role blind login password 'blind'"],
      (schema) =>
        Effect.gen(function*() {
          const changed = new URL(Redacted.value(url))
          changed.username = "blind"
          changed.password = "blind"
          const options = { connection: { url: Redacted.make(changed.href) }, types: [`${schema}.mood`] }
          const error = yield* Effect.flip(PgCodecs.load(options))
          assert.strictEqual(error._tag === "SqlError" && sqlstate(error), "42501")
        }).pipe(Effect.ensuring(Effect.orDie(run("drop role blind"))), Effect.runPromise)
    ))

  it("case 48: options that cannot work are refused without quoting the password", () =>
    Effect.gen(function*() {
      for (const end of ["host:port/db", "host/db?sslmode=maybe"]) {
        const exit = yield* Effect.exit(PgCodecs.load({
          connection: { url: Redacted.make(`postgres://user:hunter2@${end}`) }
        }))
        const error = Exit.isFailure(exit)
          ? Option.getOrThrow(Cause.findErrorOption(exit.cause))
          : assert.fail("loaded")
        assert.strictEqual(error._tag, "SqlError")
        assert.notInclude(inspect(exit, { depth: 20, showHidden: true }) + String(error), "hunter2")
      }
    }).pipe(Effect.runPromise))

  it("a name that is no type of the database is refused and named, and changes nothing", () =>
    Effect.gen(function*() {
      for (const name of ["no_such", "nowhere.mood", "a b c", "\"", "", "a.b.c.d.e", "mood[", "'; select 1"]) {
        const error = yield* Effect.flip(PgCodecs.load({ connection, types: ["int4", name] }))
        assert.instanceOf(error, PgCodecs.CodecConfigError, name)
        assert.strictEqual(error.type, name)
        assert.include(error.message, `type ${name}: there is no such type`)
      }
      const codecs = yield* PgCodecs.load({ connection })
      assert.instanceOf(yield* Effect.flip(codecs.refresh(["no_such"])), PgCodecs.CodecConfigError)
      yield* codecs.refresh()
      const unknown = codecs.parameter("no_such", 1)
      assert.isTrue(Result.isFailure(unknown) && unknown.failure.type === "no_such")
      assert.isTrue(Result.isFailure(PgCodecs.parameter(PgTypes.makeRegistry(), "int4", 1)))
    }).pipe(Effect.runPromise))

  it("a type whose binary form nobody knows is refused by name, and raw if that is wanted", () =>
    withSchema(
      "cube",
      (schema) => [`create extension if not exists cube schema ${schema}`],
      (schema) =>
        Effect.gen(function*() {
          const types = [`${schema}.cube`]
          const error = yield* Effect.flip(PgCodecs.load({ connection, types }))
          assert.instanceOf(error, PgCodecs.CodecConfigError)
          assert.include(error.message, "nobody knows its binary form")
          yield* Effect.promise(() =>
            withSession(
              Effect.fnUntraced(function*(session, codecs) {
                const cube = yield* value(session, `select '(1,2)'::${schema}.cube`)
                assert.instanceOf(cube, PgCodecs.PgRaw)
                assert.strictEqual(yield* shown(session, codecs, `${schema}.cube`, cube), "(1, 2)")
                assert.strictEqual(
                  yield* shown(session, codecs, `${schema}.cube[]`, [[cube], [null]]),
                  "{{\"(1, 2)\"},{NULL}}"
                )
                yield* refused(session, codecs, `${schema}.cube`, "(1,2)", /a PgRaw expected/)
                const other = new PgCodecs.PgRaw({ oid: 1, bytes: cube.bytes })
                yield* refused(session, codecs, `${schema}.cube`, other, /this PgRaw is of type 1/)
              }),
              { types, unknown: "raw" }
            )
          )
        }).pipe(Effect.runPromise)
    ))

  it("a server that is not there is the driver's error", () =>
    Effect.gen(function*() {
      const error = yield* Effect.flip(
        PgCodecs.load({ connection: { host: "127.0.0.1", port: 1, username: "nobody" } })
      )
      assert.strictEqual(error._tag, "SqlError")
    }).pipe(Effect.runPromise))
})

describe("refresh", () => {
  it("picks up types created later, by name and as PgRaw, and keeps codecs of the user's own", () =>
    withSchema("later", () => [], (schema) =>
      withSession(
        Effect.fnUntraced(function*(session, codecs) {
          yield* run(
            `create type ${schema}.pair as (a int4, b text)`,
            `create type ${schema}.other as (a int4)`,
            `create type ${schema}.mine as (a int4)`,
            `create type ${schema}.mood as enum ('sad')`
          )
          const mine = Number(yield* value(session, `select '${schema}.mine'::regtype::oid`))
          const kept = Result.succeed("mine")
          codecs.registry.register(mine, { encode: () => Result.succeed(new Uint8Array()), decode: () => kept })
          yield* codecs.refresh([`${schema}.pair`])
          assert.deepStrictEqual(yield* value(session, `select row(1, 'x')::${schema}.pair`), { a: 1, b: "x" })
          assert.instanceOf(yield* value(session, `select row(1)::${schema}.other`), PgCodecs.PgRaw)
          assert.strictEqual(yield* value(session, `select 'sad'::${schema}.mood`), "sad")
          assert.strictEqual(yield* value(session, `select row(1)::${schema}.mine`), "mine")
          assert.deepStrictEqual(yield* value(session, `select array[row(1)::${schema}.mine, null]`), ["mine", null])
          assert.deepStrictEqual(yield* value(session, `select row(row(1)::${schema}.mine)`), [{
            oid: mine,
            value: "mine"
          }])
          yield* codecs.refresh()
          assert.strictEqual(yield* value(session, `select row(1)::${schema}.mine`), "mine")
        }),
        { unknown: "raw" }
      )))

  it("calls at the same time do not undo each other", () =>
    withSchema(
      "together",
      (schema) => ["a", "b", "c"].map((name) => `create type ${schema}.${name} as (${name} int4)`),
      (schema) =>
        withSession(
          Effect.fnUntraced(function*(session, codecs) {
            const names = ["a", "b", "c"]
            yield* Effect.forEach(names, (name) => codecs.refresh([`${schema}.${name}`]), { concurrency: "unbounded" })
            for (const name of names) {
              assert.deepStrictEqual(yield* value(session, `select row(1)::${schema}.${name}`), { [name]: 1 })
            }
          }),
          { unknown: "raw" }
        )
    ))

  it("a composite altered since is a PgRecord, and its object again after refresh, in prepared statements too", () =>
    withSchema(
      "altered",
      (schema) => [`create type ${schema}.pair as (a int4, b text)`],
      (schema) =>
        withSession(
          Effect.fnUntraced(function*(session, codecs) {
            const sql = `select '(1,x)'::text::${schema}.pair as v`
            const later = `select '(1,x,t)'::text::${schema}.pair as v`
            const row = (text: string) => Effect.map(session.query(text), ({ rows }) => rows[0]?.["v"])
            assert.deepStrictEqual(yield* row(sql), { a: 1, b: "x" })
            assert.instanceOf(yield* Effect.flip(row(later)), Object)
            yield* run(`alter type ${schema}.pair add attribute c bool`)
            assert.deepStrictEqual(yield* row(later), [
              { oid: 23, value: 1 },
              { oid: 25, value: "x" },
              { oid: 16, value: true }
            ])
            yield* codecs.refresh()
            assert.deepStrictEqual(yield* row(later), { a: 1, b: "x", c: true })
          }),
          { types: [`${schema}.pair`] }
        )
    ))
})

describe("unknown: \"raw\"", () => {
  it("case 41: selecting any type of pg_type leaves the session alive", () =>
    withSchema("everything", (schema) => [
      `create extension if not exists cube schema ${schema}`,
      `create extension if not exists seg schema ${schema}`,
      `create extension if not exists isn schema ${schema}`,
      `create type ${schema}.mood as enum ('a')`,
      `create type ${schema}.pair as (a int4, b ${schema}.mood[])`,
      `create type ${schema}.span as range (subtype = ${schema}.pair)`,
      `create domain ${schema}.pairs as ${schema}.pair[]`,
      `create table ${schema}.things (id ${schema}.isbn, at ${schema}.pairs)`
    ], () =>
      withSession(
        Effect.fnUntraced(function*(session) {
          const { rows } = yield* session.query(
            "select oid, oid::regtype::text as name, typtype::text as kind from pg_type order by oid"
          )
          const literals = [
            "",
            "0",
            "1",
            "a",
            "{}",
            "{NULL}",
            "()",
            "(1,2)",
            "[1,2]",
            "(,)",
            "(,,)",
            "{1,2,3}",
            "<(1,2),3>",
            "empty",
            "{[1,2)}"
          ]
            .concat([
              "1/2",
              "1:1:",
              "2026-01-01",
              "1.2.3.4",
              "08:00:2b:01:02:03",
              "08:00:2b:01:02:03:04:05",
              "12:00+01",
              "1 day",
              "<a/>"
            ])
            .concat([
              "00000000-0000-0000-0000-000000000000",
              "pg_class",
              "pg_catalog",
              "simple",
              "+(int4,int4)",
              "abs(int4)",
              "\"C\"",
              "[0:0]={1}",
              "{{1},{2}}"
            ])
          const read = new Map<string, number>()
          const refusedBy = new Map<unknown, number>()
          for (const { kind, name } of rows) {
            yield* session.queryValues(`select null::${String(name)}, array[null::${String(name)}]`, [], false).pipe(
              Effect.catch((error) => {
                const code = sqlstate(error)
                // 42883: no binary form (aclitem); 0A000, 42704, 42809, 42P16, 42P18: a pseudo type, or one without an array.
                assert.match(
                  String(code),
                  /^(?:42883|0A000|42704|42809|42P16|42P18|42846|42804)$/,
                  `${String(name)}: ${error.message}`
                )
                refusedBy.set(code, (refusedBy.get(code) ?? 0) + 1)
                return Effect.void
              })
            )
            for (const literal of literals) {
              const result = yield* Effect.result(
                session.queryValues(`select $1::text::${String(name)}`, [literal], false)
              )
              if (Result.isSuccess(result)) {
                read.set(String(kind), (read.get(String(kind)) ?? 0) + 1)
                if (kind !== "b") break
              } else {assert.match(
                  String(sqlstate(result.failure)),
                  /^[0-9A-Z]{5}$/,
                  `${String(name)}: ${result.failure.message}`
                )}
            }
          }
          assert.isAbove(read.get("b") ?? 0, 300)
          for (const kind of ["c", "d", "e", "r", "m"]) assert.isAbove(read.get(kind) ?? 0, 0, kind)
        }),
        { unknown: "raw" }
      )))

  it("case 41: the catalogue itself can be read, its statistics and its rows as values too", () =>
    withSession(
      Effect.fnUntraced(function*(session) {
        yield* session.query("analyze pg_class")
        yield* session.query("analyze pg_proc")
        const { rows } = yield* session.query(
          `select c.oid::regclass::text as name, string_agg(quote_ident(a.attname), ', ' order by a.attnum) as columns
           from pg_class c join pg_attribute a on a.attrelid = c.oid
          where c.relkind in ('r', 'v') and a.attnum > 0 and not a.attisdropped
            and c.relnamespace in ('pg_catalog'::regnamespace, 'information_schema'::regnamespace)
            and a.atttypid not in ('aclitem'::regtype, 'aclitem[]'::regtype)
            and c.relname <> 'pg_shmem_allocations_numa' -- fails where the machine has no NUMA
          group by c.oid`
        )
        assert.isAbove(rows.length, 150)
        for (const { columns, name } of rows) {
          for (const list of [columns, "t"]) {
            const result = yield* Effect.result(
              session.query(`select ${String(list)} from ${String(name)} t limit 20`, [], false)
            )
            if (Result.isFailure(result)) {
              // A row with an aclitem in it has no binary form; some views want superuser settings.
              assert.match(
                String(sqlstate(result.failure)),
                /^(?:42883|55000|0A000)$/,
                `${String(name)}: ${result.failure.message}`
              )
            }
          }
        }
        const stats = yield* session.queryValues(
          "select most_common_vals, histogram_bounds from pg_stats where schemaname = 'pg_catalog' and tablename = 'pg_class' and attname = 'relkind'"
        )
        assert.isArray(stats[0]?.[0])
        assert.include(stats[0]?.[0], "r")
      }),
      { unknown: "raw" }
    ))

  it("a type without a binary form is the server's error and the session's business as usual", () =>
    withSession(
      Effect.fnUntraced(function*(session) {
        for (const sql of ["select null::aclitem", "select null::gtsvector", "select array['=r/postgres'::aclitem]"]) {
          assert.strictEqual(sqlstate(yield* Effect.flip(session.query(sql))), "42883", sql)
        }
      }),
      { unknown: "raw" }
    ))
})

describe("PgCodecs", () => {
  it("as a service, its registry is the client's", () =>
    Effect.gen(function*() {
      const sql = yield* PgClient.PgClient
      const codecs = yield* PgCodecs.PgCodecs
      const grid = yield* Effect.fromResult(codecs.parameter("int4[]", [[1], [2]]))
      const [row] = yield* sql`select ${grid} as grid, '0101'::bit(4) as bits, row(1) as record`
      assert.deepStrictEqual(row, { grid: [[1], [2]], bits: "0101", record: [{ oid: 23, value: 1 }] })
    }).pipe(
      Effect.provide(
        Layer.unwrap(Effect.map(PgCodecs.PgCodecs, ({ registry }) => PgClient.layer({ url, types: registry })))
          .pipe(Layer.provideMerge(PgCodecs.layer({ connection })))
      ),
      Effect.runPromise
    ))

  it("a registry needs no server, and registries do not know of each other", () => {
    const one = PgCodecs.registry()
    const other = PgCodecs.registry({ timestamps: "micros" })
    const bytes = new Uint8Array(8)
    const oid = PgTypes.OID.timestamptz
    assert.deepStrictEqual(PgTypes.decode(bytes, oid, 1, one), Result.succeed(new Date("2000-01-01T00:00:00Z")))
    assert.deepStrictEqual(PgTypes.decode(bytes, oid, 1, other), Result.succeed(946_684_800_000_000n))
    assert.strictEqual(PgTypes.arrayOidFor(829, one), 1040)
    assert.isUndefined(PgTypes.arrayOidFor(829))
  })

  it("timestamps in microseconds, alone, in arrays, ranges and composites", () =>
    withSchema(
      "micros",
      (schema) => [`create type ${schema}.moment as (at timestamptz)`],
      (schema) =>
        withSession(
          Effect.fnUntraced(function*(session, codecs) {
            yield* session.query("set timezone to 'UTC'")
            const micros = 1_000_001n
            const literal = "'1970-01-01 00:00:01.000001+00'"
            yield* holds(session, codecs, "timestamptz", literal, micros)
            yield* holds(session, codecs, "timestamptz", "'-infinity'", "-infinity")
            yield* holds(session, codecs, "timestamp[]", "'{{infinity},{1970-01-01 00:00:01.000001}}'", [["infinity"], [
              micros
            ]])
            yield* holds(session, codecs, "tstzrange", `tstzrange(${literal}, null)`, {
              lower: PgRange.inclusive(micros),
              upper: PgRange.unbounded
            })
            yield* holds(session, codecs, `${schema}.moment`, `row(${literal})`, { at: micros })
            // A Date is a parameter as before.
            assert.strictEqual(yield* value(session, "select $1", new Date(1)), 1000n)
          }),
          { timestamps: "micros", types: [`${schema}.moment`] }
        )
    ))

  it("a codec registered by the user serves arrays of any dimension, and replaces one of the package", () =>
    withSession(Effect.fnUntraced(function*(session, codecs) {
      const upper: PgTypes.Codec<string> = {
        encode: (text) => Result.succeed(new TextEncoder().encode(text.toLowerCase())),
        decode: (bytes) => Result.succeed(new TextDecoder().decode(bytes).toUpperCase())
      }
      codecs.registry.register(PgTypes.OID.text, upper)
      assert.strictEqual(yield* value(session, "select 'a'::text"), "A")
      assert.deepStrictEqual(yield* value(session, "select array['a', null]"), ["A", null])
      assert.deepStrictEqual(yield* value(session, "select '{{a},{b}}'::text[]"), [["A"], ["B"]])
      const letters = yield* Effect.fromResult(codecs.parameter("text[]", [["A"], ["B"]]))
      assert.isTrue(yield* value(session, "select $1 = '{{a},{b}}'", letters))
    })))
})

/** How SQL files are cut into statements, and what running them does (spec 9, cases 44 and 48). */
import { PgClient } from "@effect/sql-pg"
import { assert, describe, it } from "@effect/vitest"
import * as PgErrors from "@restante/pg-session/PgErrors"
import * as PgQuery from "@restante/pg-session/PgQuery"
import * as PgTransport from "@restante/pg-session/PgTransport"
import { Effect, Fiber, Result, Schedule, Schema } from "effect"
import * as Splitter from "../packages/pg-session/dist/internal/script/splitter.js"
import * as PostgresDatabase from "./PostgresDatabase.ts"

const url = await PostgresDatabase.open()

/** The statements of a text that is not refused. */
const split = (text: string) => Result.getOrThrowWith(Splitter.split(text), ({ problem }) => new Error(problem))
const texts = (text: string) => split(text).map((statement) => statement.text)

const refusal = (text: string) => {
  const result = Splitter.split(text)
  return Result.isFailure(result) ? result.failure : undefined
}

describe("the splitter", () => {
  const whole: Readonly<Record<string, string>> = {
    "a string": "select 'a;b'",
    "a string with doubled quotes": "select 'it''s; so'",
    "a string that ends in a backslash, which means nothing": "select '\\'",
    "an identifier": "select \";\"",
    "an identifier with doubled quotes": "select \"a\"\";\"\"b\"",
    "an escape string": "select E'it\\'s; so'",
    "an escape string with doubled quotes": "select e'it''s \\\\'",
    "an escape string that goes on in the next line": "select E'a'\n  -- and ; then\n 'b\\'; c'",
    "a Unicode string and identifier": "select U&'\\0061;''' as U&\"x;\"",
    "a dollar quote": "select $$ ; ' \" -- /* $$",
    "a dollar quote with a tag": "select $täg_1$ ; $$ ; $tag$ $täg_1$",
    "parameters, which are no dollar quotes": "select $1, $2",
    "an identifier with a dollar": "select a$b$c, x$$y from t",
    "a line comment": "select 1 -- no; end\n, 2",
    "a nested comment": "select 1 /* a; /* b; */ c; */ , 2",
    "parentheses": "create rule r as on insert to t do also (insert into a values (1); insert into b values (1))",
    "a function body in SQL": "create function f() returns int language sql begin atomic select 1; select 2; end",
    "a procedure that is replaced": "create or replace procedure p() begin atomic insert into t values (1); end",
    "a body with CASE": `create function f(a int) returns int begin atomic
      select case when a = 1 then 2 else case a when 3 then 4 end end; select (case when true then 1 end); end`,
    "a body in which END is a name":
      "create function f() returns int begin atomic select 1 as end; select t.end from t; end",
    "a body in which END and CASE are names without AS": `create function f(a int) returns int begin atomic
      select 1 end; select a case; select 1 case, 2 end; select case when a = 1 then 2 end end; select case a when 1 then 2 end case;
      select (select 1 end); end`,
    "an empty body": "create procedure p() begin atomic end",
    "a body in which a CASE is not the first":
      "create procedure p() begin atomic ; select 1, case when true then 1 end; end",
    "CASE outside a body": "select case when true then 1 end",
    "a function whose body is a string": "create function f() returns int as 'begin atomic; end' language sql",
    "operators": "select 1 - -1, a->>'b', a#>>'{c}', b @> c, d::int, e[1:2]"
  }
  for (const [name, statement] of Object.entries(whole)) {
    it(`case 44: leaves ${name} whole`, () => {
      assert.deepStrictEqual(texts(statement), [statement])
      assert.deepStrictEqual(texts(`select 0;${statement};\n${statement} ; select 1`), [
        "select 0",
        statement,
        statement,
        "select 1"
      ])
    })
  }

  it("skips empty statements and the comments around statements", () => {
    assert.deepStrictEqual(texts(""), [])
    assert.deepStrictEqual(texts("\ufeff ;; -- only\n; /* comments */ ;\n"), [])
    assert.deepStrictEqual(texts("-- first\nselect 1 /* in */ , 2 -- last\n;;;select 3"), [
      "select 1 /* in */ , 2",
      "select 3"
    ])
  })

  it("a BEGIN that is no body, or a body of something else, ends with its semicolon", () => {
    assert.deepStrictEqual(texts("begin; select 1; end; create function f() returns int return 1; select 2"), [
      "begin",
      "select 1",
      "end",
      "create function f() returns int return 1",
      "select 2"
    ])
  })

  it("says where statements begin, in lines and characters", () => {
    const places = split("select 1;\r\n  select '𝄞'; select 2;\rselect 3;\n\n/* é */ select 4").map(
      ({ column, index, line }) => [index, line, column]
    )
    assert.deepStrictEqual(places, [[0, 1, 1], [1, 2, 3], [2, 2, 15], [3, 3, 1], [4, 5, 9]])
  })

  const refused: Readonly<Record<string, readonly [text: string, line: number, column: number, problem: RegExp]>> = {
    "a command of psql": ["select 1;\n\\connect other\nselect 2;", 2, 1, /psql/],
    "a command of psql after a statement": ["select 1 \\gset", 1, 10, /psql/],
    "inline COPY data": ["select 1;\n copy t (a, b) from stdin;\n1\t2\n\\.\n", 2, 2, /PgCopy/],
    "COPY to the client": ["copy (select 1) to stdout", 1, 1, /PgCopy/],
    "an unterminated string": ["select 1;\nselect 'abc;\nselect 2;", 2, 8, /unterminated string/],
    "an unterminated escape string": ["select E'abc\\';", 1, 8, /unterminated string/],
    "an unterminated identifier": ["select \"abc;", 1, 8, /unterminated quoted identifier/],
    "an unterminated dollar quote": ["do $a$ begin $$ end $b$;", 1, 4, /unterminated \$a\$ string/],
    "an unterminated comment": ["select 1 /* a /* b */;", 1, 10, /unterminated comment/],
    "half of a surrogate pair": ["select 1;\nselect '\ud83d'", 2, 9, /surrogate/]
  }
  for (const [name, [text, line, column, problem]] of Object.entries(refused)) {
    it(`case 44: refuses ${name}, with its place`, () => {
      const found = refusal(text)
      assert.deepStrictEqual([found?.line, found?.column], [line, column])
      assert.match(found?.problem ?? "", problem)
    })
  }

  it("a byte order mark is no column", () => {
    assert.deepStrictEqual(split("\ufeffselect 1; select 2;\nselect 3").map(({ column, line }) => [line, column]), [
      [1, 1],
      [1, 11],
      [2, 1]
    ])
    assert.strictEqual(refusal("\ufeff\\i x")?.column, 1)
  })

  it("a script of a megabyte on one line is split", () => {
    const statement = "select '𝄞';"
    const repeated = 110_000
    const statements = split(statement.repeat(repeated))
    assert.lengthOf(statements, repeated)
    assert.strictEqual(statements.at(-1)?.column, (repeated - 1) * Array.from(statement).length + 1)
  })

  it("of a dollar quote that does not end no more is told than the beginning of its tag", () => {
    const problem = refusal(`select $${"a".repeat(62)}hunter2$ ...`)?.problem
    assert.strictEqual(problem, `unterminated $${"a".repeat(62)}... string`)
  })

  it("a script that has strings read otherwise is refused, where it says so", () => {
    for (
      const set of [
        "set standard_conforming_strings = off",
        "SET LOCAL standard_conforming_strings TO 'off'",
        "set session \"standard_conforming_strings\" = false",
        "set standard_conforming_strings to default",
        "set /* ; */ standard_conforming_strings = 0"
      ]
    ) {
      const found = refusal(`select 1;\n ${set};\nselect '\\';`)
      assert.deepStrictEqual([found?.line, found?.column], [2, 2], set)
      assert.include(found?.problem, "standard_conforming_strings")
    }
    for (
      const set of [
        "SET standard_conforming_strings = on",
        "set local standard_conforming_strings to 'on'",
        "set session standard_conforming_strings=true",
        "select 'set standard_conforming_strings = off'"
      ]
    ) assert.deepStrictEqual(texts(`${set};`), [set])
  })

  it("a COPY from or to a file of the server is a statement like others", () => {
    const statements = [
      "copy t from '/stdin'",
      "copy t to program 'cat'",
      "select 'copy t from stdin'",
      "copy \"from\" to '/stdout'"
    ]
    assert.deepStrictEqual(texts(statements.join(";\n")), statements)
  })

  it("a line of dashes after an escape string takes no longer than other lines", () => {
    const dashes = `select E'a' ${"-".repeat(100_000)}\n${"-- ".repeat(30_000)}\n, 1`
    assert.deepStrictEqual(texts(dashes), [dashes])
  })

  it("literals of many megabytes are read", () => {
    const long = "x".repeat(4_000_000)
    const statements = [
      `select '${long}'`,
      `select E'${long}\\''`,
      `select $$${long}$$`,
      `select "${long}"`,
      `select 1 /*${long}*/, 2`
    ]
    assert.deepStrictEqual(
      texts(statements.join(";")).map((text) => text.length),
      statements.map((text) => text.length)
    )
  })

  const pieces = [
    ";",
    "'a;b'",
    "''",
    "'\\'",
    "E'\\';'",
    "e'a'\n'\\';'",
    "\";\"",
    "$$;$$",
    "$a$;$$;$a$",
    "a$$b$$",
    "$1",
    "-- ;'\n",
    "/* ;'/*;*/ \" */",
    "(a;b)",
    "case",
    "end",
    "begin atomic",
    "é𝄞",
    "-",
    "/",
    "1.5e3",
    "\n",
    " "
  ]
  const significant = pieces.filter((piece) => !/^(?:[;\s]|--|\/\*)/.test(piece))

  it.prop(
    "property: statements are what was put between semicolons, at the place where they stand",
    { statements: Schema.Array(Schema.Array(Schema.Literals(pieces.filter((piece) => piece !== ";")))) },
    ({ statements }) => {
      // Words between the pieces, because a string that follows another in the next line is the same string.
      const written = statements.map((words) => ["select", ...words, "x"].join(" x "))
      const text = written.join("\n ;\t")
      const found = split(text)
      assert.deepStrictEqual(found.map((statement) => statement.text), written)
      for (const { column, line, offset, text: statement } of found) {
        assert.strictEqual(text.slice(offset, offset + statement.length), statement)
        const before = text.slice(0, offset).split("\n")
        assert.deepStrictEqual([line, column], [before.length, Array.from(before.at(-1) ?? "").length + 1])
      }
    }
  )

  it.prop(
    "property: a statement that is cut out is itself one statement",
    { words: Schema.Array(Schema.Literals([...significant, ";"])) },
    ({ words }) => {
      for (const statement of texts(words.join(" "))) assert.deepStrictEqual(texts(statement), [statement])
    }
  )

  it.prop("property: any text is either split or refused at a place in it", {
    text: Schema.String,
    words: Schema.Array(Schema.Literals(pieces))
  }, ({ text, words }) => {
    for (const given of [text, words.join(text), words.join("")]) {
      const result = Splitter.split(given)
      if (Result.isSuccess(result)) {
        for (const statement of result.success) {
          assert.strictEqual(given.slice(statement.offset).startsWith(statement.text), true)
        }
      } else assert.isAtMost(result.failure.line, given.split(/\r\n|\r|\n/).length)
    }
  })
})

const layers = {
  "a plain client": PgClient.layer({ url, maxConnections: 1 }),
  "a transport": PgTransport.layer({ url, maxConnections: 1 })
}

let schemas = 0
const names = () => {
  const schema = `script_${++schemas}`
  return { schema, count: `select count(*)::int as n from ${schema}.t` }
}

const failure = <A, R>(script: Effect.Effect<A, unknown, R>) =>
  Effect.map(Effect.flip(script), (error) => error instanceof PgQuery.PgQueryError ? error.reason : error)

const count = (text: string) =>
  Effect.gen(function*() {
    const sql = yield* PgClient.PgClient
    return yield* Effect.flatMap(PgQuery.queryOne(sql.unsafe(text)), (row) => row.getInt("n"))
  })

for (const [name, layer] of Object.entries(layers)) {
  const tagged = (tag: string) => name === "a transport" ? tag : tag.split(" ", 1)[0] ?? ""

  describe(`on ${name}`, () => {
    it("case 44: comments, strings, dollar bodies and bodies in SQL run, and each step has its line and tag", () =>
      Effect.gen(function*() {
        const { schema } = names()
        const steps = yield* PgQuery.script(`
-- A schema; of its own.
create schema ${schema};
create table ${schema}.t (id int, name text default 'a;b'); /* and ; */

create function ${schema}.f() returns int language plpgsql as $body$
begin
  return (select count(*) from ${schema}.t); -- not; here
end
$body$;
create function ${schema}.g(a int) returns int begin atomic
  select 1;
  select case when a = 1 then 2 else 3 end;
end;
insert into ${schema}.t (id) select i from generate_series(1, 3) i;
update ${schema}.t set name = E'it\\'s;' where id > 1;
select ${schema}.f(), ${schema}.g(1)
`)
        assert.deepStrictEqual(steps, [
          { index: 0, line: 3, tag: tagged("CREATE SCHEMA") },
          { index: 1, line: 4, tag: tagged("CREATE TABLE") },
          { index: 2, line: 6, tag: tagged("CREATE FUNCTION") },
          { index: 3, line: 11, tag: tagged("CREATE FUNCTION") },
          { index: 4, line: 15, tag: "INSERT 0 3" },
          { index: 5, line: 16, tag: "UPDATE 2" },
          { index: 6, line: 17, tag: "SELECT 1" }
        ])
      }).pipe(Effect.provide(layer), Effect.runPromise))

    it("case 44: the server reads each statement as the splitter does", () =>
      Effect.gen(function*() {
        const steps = yield* PgQuery.script([
          "select 'it''s; so', '\\', E'it\\'s; so', e'it''s \\\\'",
          "select E'a'\n  -- and ; then\n 'b\\'; c'",
          "select U&'\\0061;''' as U&\"x;\"",
          "select 1 as a$b$c, 2 as x$$y, $$ ; ' \" -- /* $$, $tag_1$ ; $$ ; $tag$ $tag_1$",
          "select 1 /* a; /* b; */ c; */ , 2 -- no; end\n, 3",
          "select 1 - -1, '{}'::jsonb->>'b', (array[1,2])[1:2]",
          "select case when true then 1 end as end"
        ].join(";\n"))
        assert.deepStrictEqual(steps.map(({ tag }) => tag), Array.from({ length: 7 }, () => "SELECT 1"))
      }).pipe(Effect.provide(layer), Effect.runPromise))

    it("case 44: a failure says where in the file, and single leaves nothing", () =>
      Effect.gen(function*() {
        const { schema } = names()
        const error = yield* Effect.flip(PgQuery.script(
          `create schema ${schema};\ncreate table ${schema}.t (id int);\n\n  insert into ${schema}.t\n  values ('𝄞', 1, nothing);\nselect 1;`
        ))
        assert.instanceOf(error, PgQuery.PgQueryError)
        const { reason } = error
        assert.instanceOf(reason, PgQuery.ScriptFailed)
        const { column, index, line, outcome, sqlstate, statement } = reason
        assert.deepStrictEqual({ column, index, line, outcome, sqlstate, statement }, {
          column: 19,
          index: 2,
          line: 5,
          outcome: "notApplied",
          sqlstate: "42703",
          statement: `insert into ${schema}.t values ('...', 1, nothing)`
        })
        assert.deepStrictEqual([PgErrors.from(error).outcome, PgErrors.retry(error)], ["notApplied", "no"])
        assert.strictEqual(yield* count(`select count(*)::int as n from pg_namespace where nspname = '${schema}'`), 0)
      }).pipe(Effect.provide(layer), Effect.runPromise))

    it("where the server does not say where, it is where the statement begins", () =>
      Effect.gen(function*() {
        const reason = yield* failure(PgQuery.script("select 1;\n  select 1 / 0"))
        assert.instanceOf(reason, PgQuery.ScriptFailed)
        assert.deepStrictEqual([reason.index, reason.line, reason.column, reason.sqlstate], [1, 2, 3, "22012"])
      }).pipe(Effect.provide(layer), Effect.runPromise))

    it("case 44: single joins the current transaction, and undoes no more than itself", () =>
      Effect.gen(function*() {
        const sql = yield* PgClient.PgClient
        const { count: counted, schema } = names()
        yield* PgQuery.script(`create schema ${schema}; create table ${schema}.t (id int)`)
        yield* sql.withTransaction(Effect.gen(function*() {
          yield* PgQuery.script(`insert into ${schema}.t values (1)`)
          yield* Effect.flip(PgQuery.script(`insert into ${schema}.t values (2); select 1 / 0`))
          assert.strictEqual(yield* count(counted), 1)
        }))
        assert.strictEqual(yield* count(counted), 1)
      }).pipe(Effect.provide(layer), Effect.runPromise))

    it("case 44: none allows CREATE INDEX CONCURRENTLY, which single does not", () =>
      Effect.gen(function*() {
        const { schema } = names()
        yield* PgQuery.script(`create schema ${schema}; create table ${schema}.t (id int)`)
        const text = `select 1;\ncreate index concurrently i on ${schema}.t (id);`
        assert.isTrue(PgErrors.is(yield* Effect.flip(PgQuery.script(text)), "25001"))
        assert.isTrue(PgErrors.is(yield* Effect.flip(PgQuery.script(text, { transaction: "each" })), "25001"))
        const steps = yield* PgQuery.script(text, { transaction: "none" })
        assert.deepStrictEqual(steps.map(({ tag }) => tag), ["SELECT 1", tagged("CREATE INDEX")])
      }).pipe(Effect.provide(layer), Effect.runPromise))

    it("what each and none did before a failure stays, and they say so", () =>
      Effect.gen(function*() {
        const { count: counted, schema } = names()
        yield* PgQuery.script(`create schema ${schema}; create table ${schema}.t (id int)`)
        for (const transaction of ["each", "none"] as const) {
          const before = yield* count(counted)
          const text =
            `insert into ${schema}.t values (1); insert into ${schema}.t values (1 / 0); insert into ${schema}.t values (3)`
          const reason = yield* failure(PgQuery.script(text, { transaction }))
          assert.instanceOf(reason, PgQuery.ScriptFailed)
          assert.deepStrictEqual([reason.index, reason.outcome], [1, "unknown"])
          assert.strictEqual(yield* count(counted), before + 1)
          const first = yield* failure(PgQuery.script(`select 1 / 0;`, { transaction }))
          assert.instanceOf(first, PgQuery.ScriptFailed)
          assert.strictEqual(first.outcome, "notApplied")
        }
      }).pipe(Effect.provide(layer), Effect.runPromise))

    it("none runs on one session, with transactions of the script's own", () =>
      Effect.gen(function*() {
        const { count: counted, schema } = names()
        const steps = yield* PgQuery.script(
          `set application_name = 'of a script';
           create schema ${schema};
           begin; create table ${schema}.t as select current_setting('application_name') as id; commit and chain;
           insert into ${schema}.t values ('undone'); rollback;
           start transaction; savepoint a; insert into ${schema}.t values ('undone'); rollback to a; end`,
          { transaction: "none" }
        )
        assert.lengthOf(steps, 12)
        assert.strictEqual(yield* count(counted), 1)
        assert.strictEqual(
          yield* count(`select count(*)::int as n from ${schema}.t where id = 'of a script'`),
          1
        )
      }).pipe(Effect.provide(layer), Effect.runPromise))

    it("a transaction that a script began and that failed does not go back to the pool", () =>
      Effect.gen(function*() {
        const { schema } = names()
        yield* Effect.flip(
          PgQuery.script(`begin; create schema ${schema}; select 1 / 0; commit`, { transaction: "none" })
        )
        // In the failed transaction this would be refused.
        assert.strictEqual(yield* count(`select count(*)::int as n from pg_namespace where nspname = '${schema}'`), 0)
      }).pipe(Effect.provide(layer), Effect.runPromise))

    it("case 44: transactions of the script's own are refused in single and each, with their place", () =>
      Effect.gen(function*() {
        const sql = yield* PgClient.PgClient
        const { schema } = names()
        for (
          const control of [
            "begin",
            "BEGIN WORK",
            "start transaction",
            "commit",
            "end",
            "rollback",
            "abort",
            "rollback and chain",
            "prepare transaction 'x'"
          ]
        ) {
          for (const transaction of ["single", "each"] as const) {
            const reason = yield* failure(PgQuery.script(`create schema ${schema};\n ${control};`, { transaction }))
            assert.instanceOf(reason, PgQuery.ScriptRefused)
            assert.deepStrictEqual([reason.line, reason.column], [2, 2])
          }
        }
        const unended = yield* failure(PgQuery.script("select 1;\nbegin; select 2", { transaction: "none" }))
        assert.instanceOf(unended, PgQuery.ScriptRefused)
        assert.deepStrictEqual([unended.line, unended.column], [2, 1])
        const inside = yield* failure(sql.withTransaction(PgQuery.script("begin; commit", { transaction: "none" })))
        assert.instanceOf(inside, PgQuery.Misuse)
        assert.strictEqual(inside.kind, "TransactionOpen")
        // Nothing of any of them was run.
        assert.strictEqual(yield* count(`select count(*)::int as n from pg_namespace where nspname = '${schema}'`), 0)
        // Savepoints are not transactions.
        assert.lengthOf(yield* PgQuery.script("savepoint a; select 1; rollback to a; release a"), 4)
      }).pipe(Effect.provide(layer), Effect.runPromise))

    it("what the splitter refuses runs nothing and leaves the session", () =>
      Effect.gen(function*() {
        const { schema } = names()
        const before = yield* count("select pg_backend_pid() as n")
        for (const end of ["\\i other.sql", "copy t from stdin;\n1\n\\.", "select 'x", "/* "]) {
          const reason = yield* failure(PgQuery.script(`create schema ${schema};\n${end}`, { transaction: "none" }))
          assert.instanceOf(reason, PgQuery.ScriptRefused)
          assert.strictEqual(reason.line, 2)
        }
        assert.strictEqual(yield* count(`select count(*)::int as n from pg_namespace where nspname = '${schema}'`), 0)
        assert.strictEqual(yield* count("select pg_backend_pid() as n"), before)
      }).pipe(Effect.provide(layer), Effect.runPromise))

    it("a session that is lost in the middle is a typed failure in every mode", () =>
      Effect.gen(function*() {
        for (const transaction of ["single", "each", "none"] as const) {
          const reason = yield* failure(PgQuery.script(
            "select 1;\nselect pg_terminate_backend(pg_backend_pid());\nselect 2",
            { transaction }
          ))
          assert.instanceOf(reason, PgQuery.ScriptFailed)
          assert.deepStrictEqual([reason.index, reason.line], [1, 2])
          assert.strictEqual(reason.outcome, transaction === "single" ? "notApplied" : "unknown")
          assert.strictEqual(yield* count("select 1 as n"), 1)
        }
      }).pipe(Effect.provide(layer), Effect.runPromise))

    it("an interrupted script leaves nothing of itself and its session usable", () =>
      Effect.gen(function*() {
        const { schema } = names()
        const before = yield* count("select pg_backend_pid() as n")
        for (const transaction of ["single", "none"] as const) {
          const text = transaction === "single"
            ? `create schema ${schema}; select pg_sleep(60)`
            : `begin; create schema ${schema}; select pg_sleep(60); commit`
          const running = yield* Effect.forkChild(PgQuery.script(text, { transaction }))
          yield* sleeping(before)
          yield* Fiber.interrupt(running)
          assert.strictEqual(yield* count(`select count(*)::int as n from pg_namespace where nspname = '${schema}'`), 0)
          assert.strictEqual(yield* count("select pg_backend_pid() as n"), before)
        }
      }).pipe(Effect.provide(layer), Effect.runPromise))

    it("case 48: what a string says is not in the error", () =>
      Effect.gen(function*() {
        const error = yield* Effect.flip(PgQuery.script("create role r password 'hunter2' nonsense"))
        assert.include(error.message, "`create role r password '...' nonsense`")
        assert.notInclude(`${String(error)} ${JSON.stringify(error)}`, "hunter2")
      }).pipe(Effect.provide(layer), Effect.runPromise))

    it("case 48: nor is what the server quotes of it; PgErrors has its words", () =>
      Effect.gen(function*() {
        const error = yield* Effect.flip(PgQuery.script("select 'hunter2'::int"))
        assert.strictEqual(
          error.message,
          "PgQuery: line 1, column 8, statement 0 `select '...'::int` failed with 22P02 (invalid_text_representation)"
        )
        assert.notInclude(`${String(error)} ${JSON.stringify(error)}`, "hunter2")
        assert.include(PgErrors.from(error).message, "hunter2")
      }).pipe(Effect.provide(layer), Effect.runPromise))

    it("case 44: bodies in which END and CASE are names without AS are what the server reads", () =>
      Effect.gen(function*() {
        const { schema } = names()
        const steps = yield* PgQuery.script(`create schema ${schema};
          create function ${schema}.f(a int) returns int language sql begin atomic
            select 1 end; select a case; select 1 case, 2 end; select case when a = 1 then 2 end end;
            select case a when 1 then 2 end case; end;
          create procedure ${schema}.p() language sql begin atomic end;
          select ${schema}.f(1)`)
        assert.lengthOf(steps, 4)
      }).pipe(Effect.provide(layer), Effect.runPromise))

    it("a foreign key that is checked at COMMIT is the server's own error, and leaves nothing", () =>
      Effect.gen(function*() {
        const { count: counted, schema } = names()
        yield* PgQuery.script(`create schema ${schema}; create table ${schema}.t (id int primary key,
          parent int references ${schema}.t deferrable initially deferred)`)
        const error = yield* Effect.flip(PgQuery.script(`insert into ${schema}.t values (1, 7)`))
        assert.deepStrictEqual([PgErrors.constraintKind(error), PgErrors.from(error).outcome], [
          "foreign key",
          "notApplied"
        ])
        assert.strictEqual(yield* count(counted), 0)
      }).pipe(Effect.provide(layer), Effect.runPromise))
  })
}

/** Waits until a backend sleeps. */
const sleeping = Effect.fnUntraced(
  function*(pid: number) {
    const sql = yield* PgClient.PgClient
    yield* Effect.repeat(sql`select 1 from pg_stat_activity where pid = ${pid} and wait_event = 'PgSleep'`, {
      until: (rows) => rows.length === 1,
      schedule: Schedule.spaced("10 millis")
    }).pipe(Effect.timeout("30 seconds"))
  },
  Effect.provide(PgClient.layer({ url, maxConnections: 1 }))
)

describe("the statement cache", () => {
  it("a script on a transport prepares nothing", () =>
    Effect.gen(function*() {
      yield* PgQuery.script("select 1; select 2; select 3")
      const prepared =
        "select count(*)::int as n from pg_prepared_statements where statement in ('select 1', 'select 2')"
      assert.strictEqual(yield* count(prepared), 0)
    }).pipe(Effect.provide(layers["a transport"]), Effect.runPromise))
})

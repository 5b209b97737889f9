/** What an error means, from whichever wrapper it comes (spec 10 and 11, cases 45 and 48). */
import { PgClient } from "@effect/sql-pg"
import { assert, describe, it } from "@effect/vitest"
import * as PgCopy from "@restante/pg-session/PgCopy"
import * as PgErrors from "@restante/pg-session/PgErrors"
import * as PgQuery from "@restante/pg-session/PgQuery"
import * as PgTransactionError from "@restante/pg-session/PgTransactionError"
import * as PgTransport from "@restante/pg-session/PgTransport"
import { Clock, Deferred, Effect, Fiber, Metric, Schedule } from "effect"
import { ConnectionError, SqlError, UnknownError } from "effect/sql/SqlError"
import * as TestClock from "effect/testing/TestClock"
import * as PostgresDatabase from "./PostgresDatabase.ts"

const url = await PostgresDatabase.open()

interface Fields {
  readonly code: string
  readonly [name: string]: string
}

const server = (fields: Fields) =>
  Object.assign(
    new Error(fields["message"] ?? "said the server"),
    { severity: "ERROR", severityUnlocalized: "ERROR" },
    fields
  )

const sqlError = (cause: unknown, operation = "query") =>
  new SqlError({ reason: new UnknownError({ cause, message: "PgConnection: Query failed", operation }) })

const connectionError = (cause: unknown, operation = "query") =>
  new SqlError({ reason: new ConnectionError({ cause, message: "PgConnection: Socket error", operation }) })

/** An error of each family in which a server's error can be wrapped. */
const wrappers: Readonly<Record<string, (fields: Fields) => unknown>> = {
  "the fields themselves": server,
  SqlError: (fields) => sqlError(server(fields)),
  "SqlError of a transport": (fields) =>
    connectionError(PgTransport.fromCause(new PgTransport.SessionLost({ problem: "ended" }), server(fields))),
  PgTransportError: (fields) =>
    PgTransport.fromCause(new PgTransport.Refused({ problem: "no", sqlstate: fields.code }), server(fields)),
  "PgTransportError that keeps the code only": ({ code }) =>
    new PgTransport.PgTransportError({
      reason: new PgTransport.Unreachable({ address: "a", problem: "b", attempts: 1, sqlstate: code })
    }),
  PgCopyError: (fields) =>
    PgCopy.fromCause(new PgCopy.CopyError({ sqlstate: fields.code, problem: "no" }), sqlError(server(fields))),
  PgTransactionError: (fields) =>
    Object.defineProperty(
      new PgTransactionError.PgTransactionError({
        reason: new PgTransactionError.SessionLost({ phase: "body", sqlstate: fields.code })
      }),
      "cause",
      { value: sqlError(server(fields)) }
    ),
  PgQueryError: (fields) =>
    PgQuery.fromCause(
      new PgQuery.ScriptFailed({
        index: 0,
        line: 1,
        column: 1,
        statement: "select",
        sqlstate: fields.code,
        outcome: "notApplied"
      }),
      sqlError(server(fields))
    )
}

/** Section 11's table, code by code. */
const retries: Readonly<Record<PgErrors.Retry, ReadonlyArray<string>>> = {
  transaction: ["40001", "40P01", "40000", "53000", "53200", "53300", "55006", "55P03", "26000"],
  session: ["08000", "08001", "08003", "08006", "57P01", "57P02", "57P03", "57P05", "25006"],
  no: [
    "40002",
    "40003",
    "08007",
    "08004",
    "08P01",
    "57P04",
    "28000",
    "28P01",
    "3D000",
    "53100",
    "53400",
    "58000",
    "58030",
    "XX000",
    "XX001",
    "25P02",
    "25P03",
    "25P04",
    "21000",
    "22012",
    "23505",
    "42601",
    "P0001",
    "0A000",
    "MR001"
  ]
}

describe("retry", () => {
  for (const [wrapper, wrap] of Object.entries(wrappers)) {
    it(`case 45: every code has its class, in ${wrapper}`, () => {
      for (const [retry, codes] of Object.entries(retries)) {
        for (const code of codes) {
          const view = PgErrors.from(wrap({ code }))
          assert.deepStrictEqual([code, view.sqlstate, view.retry], [code, code, retry])
        }
      }
    })

    it(`case 45: a cached plan that no longer fits is worth one more transaction, in ${wrapper}`, () => {
      // Keeping nothing but the code, nobody can tell.
      const keepsMessage = !wrapper.endsWith("only")
      const stale = { code: "0A000", message: "cached plan must not change result type" }
      const translated = { code: "0A000", message: "gecachter Plan", routine: "RevalidateCachedQuery" }
      for (const fields of [stale, translated]) {
        const { pace, retry } = PgErrors.from(wrap(fields))
        assert.deepStrictEqual([retry, pace], [keepsMessage ? "transaction" : "no", "once"])
      }
    })

    it(`case 45: a 57014 is a timeout or a cancel, in ${wrapper}`, () => {
      const cases: ReadonlyArray<readonly [Omit<Fields, "code">, PgErrors.Cancellation, PgErrors.Retry]> = [
        [{ message: "canceling statement due to statement timeout" }, { _tag: "StatementTimeout" }, "transaction"],
        [{ message: "canceling statement due to user request" }, { _tag: "Cancelled", by: "other" }, "no"],
        [{ message: "canceling statement due to user request", z: "self" }, { _tag: "Cancelled", by: "self" }, "no"],
        [{ message: "annulé", z: "timeout" }, { _tag: "StatementTimeout" }, "transaction"],
        [{ message: "annulé" }, { _tag: "Cancelled", by: "unknown" }, "no"],
        // The server's own words are better than a clock.
        [{ message: "canceling statement due to user request", z: "timeout" }, { _tag: "Cancelled", by: "other" }, "no"]
      ]
      for (const [fields, cancellation, retry] of cases) {
        const view = PgErrors.from(wrap({ code: "57014", ...fields }))
        if (wrapper.endsWith("only")) {
          assert.deepStrictEqual(view.cancellation, { _tag: "Cancelled", by: "unknown" })
        } else assert.deepStrictEqual([view.cancellation, view.retry], [cancellation, retry])
      }
    })
  }

  it("a COMMIT without an answer is never worth repeating, whatever ended it", () => {
    const error = new PgTransactionError.PgTransactionError({
      reason: new PgTransactionError.CommitOutcomeUnknown({
        cause: sqlError(server({ code: "57P01", severityUnlocalized: "FATAL" }))
      })
    })
    const { category, outcome, retry, sqlstate } = PgErrors.from(error)
    assert.deepStrictEqual({ category, outcome, retry, sqlstate }, {
      category: "transient",
      outcome: "unknown",
      retry: "no",
      sqlstate: "57P01"
    })
  })

  it("a loss without a code is worth a new session", () => {
    const errors = [
      connectionError(Object.assign(new Error("read ECONNRESET"), { code: "ECONNRESET" })),
      // Five capitals, and yet no SQLSTATE.
      connectionError(Object.assign(new Error("write EPIPE"), { code: "EPIPE" })),
      connectionError(PgTransport.fromCause(new PgTransport.SessionLost({ problem: "ended" }), undefined)),
      PgTransport.fromCause(new PgTransport.Unreachable({ address: "a", problem: "b", attempts: 3 }), undefined),
      new PgTransactionError.PgTransactionError({ reason: new PgTransactionError.SessionLost({ phase: "begin" }) }),
      PgCopy.fromCause(new PgCopy.SessionLost({ outcome: "unknown" }), undefined),
      PgQuery.fromCause(new PgQuery.NoAnswer({ millis: 1 }), undefined)
    ]
    for (const error of errors) {
      const { category, retry, sqlstate } = PgErrors.from(error)
      assert.deepStrictEqual([sqlstate, retry, category], [undefined, "session", "transient"])
    }
  })

  it("what a new session would meet again is not worth repeating", () => {
    const reasons = [
      new PgTransport.ConfigError({ problem: "p" }),
      new PgTransport.TlsError({ address: "a", problem: "p" }),
      new PgTransport.AuthError({ kind: "ServerNotVerified", problem: "p" }),
      new PgTransport.ProtocolViolation({ problem: "p" }),
      new PgTransport.Misuse({ problem: "p" })
    ]
    for (const reason of reasons) {
      assert.strictEqual(PgErrors.retry(connectionError(PgTransport.fromCause(reason, undefined))), "no")
    }
  })

  it("an error of somebody else is no error of PostgreSQL", () => {
    for (const error of [new Error("mine"), "text", 7, null, undefined, { code: "40001" }]) {
      const { outcome, retry, sqlstate } = PgErrors.from(error)
      assert.deepStrictEqual([sqlstate, retry, outcome], [undefined, "no", "unknown"])
    }
  })

  it("an error that contains itself is described all the same", () => {
    const error: { cause?: unknown; reason?: unknown } = {}
    error.cause = { reason: error, cause: server({ code: "40001" }) }
    error.reason = error
    assert.strictEqual(PgErrors.retry(error), "transaction")
  })
})

describe("outcome", () => {
  const lost = new Error("Connection closed")
  const cases: ReadonlyArray<readonly [string, unknown, PgErrors.Outcome]> = [
    ["the server answered with an error", sqlError(server({ code: "23505" })), "notApplied"],
    ["the server ended the session", sqlError(server({ code: "57P01", severityUnlocalized: "FATAL" })), "unknown"],
    [
      "the server ended the session in its own language",
      sqlError(server({ code: "57P01", severity: "FATAL", severityUnlocalized: "FATAL" })),
      "unknown"
    ],
    ["the server panicked", sqlError(server({ code: "XX000", severityUnlocalized: "PANIC" })), "unknown"],
    ["statement completion unknown", sqlError(server({ code: "40003" })), "unknown"],
    ["transaction resolution unknown", sqlError(server({ code: "08007" })), "unknown"],
    ["a statement was lost", connectionError(lost), "unknown"],
    ["the connection was refused", connectionError(lost, "connect"), "notApplied"],
    [
      "too many connections",
      sqlError(server({ code: "53300", severityUnlocalized: "FATAL" }), "connect"),
      "notApplied"
    ],
    [
      "a transport could not connect",
      PgTransport.fromCause(new PgTransport.Unreachable({ address: "a", problem: "b", attempts: 1 }), lost),
      "notApplied"
    ],
    [
      "a transaction was lost before COMMIT",
      new PgTransactionError.PgTransactionError({
        reason: new PgTransactionError.SessionLost({ phase: "body", sqlstate: "57P01" })
      }),
      "notApplied"
    ],
    [
      "the driver's COMMIT was answered with ROLLBACK",
      sqlError(new Error("COMMIT rolled back an aborted transaction"), "commit"),
      "notApplied"
    ],
    ["a row that was asked for is missing", PgQuery.fromCause(new PgQuery.NoRows(), undefined), "unknown"],
    [
      "COPY lost before its end",
      PgCopy.fromCause(new PgCopy.SessionLost({ outcome: "notApplied" }), lost),
      "notApplied"
    ],
    ["COPY lost after its end", PgCopy.fromCause(new PgCopy.SessionLost({ outcome: "unknown" }), lost), "unknown"],
    [
      "a statement that was no COPY",
      PgCopy.fromCause(new PgCopy.Misuse({ kind: "NotCopy", problem: "" }), undefined),
      "unknown"
    ],
    [
      "a COPY in the wrong direction",
      PgCopy.fromCause(new PgCopy.Misuse({ kind: "WrongDirection", problem: "" }), undefined),
      "notApplied"
    ]
  ]
  for (const [name, error, outcome] of cases) {
    it(`is ${outcome} when ${name}`, () => assert.strictEqual(PgErrors.from(error).outcome, outcome))
  }
})

describe("category", () => {
  const cases: Readonly<Record<PgErrors.Category, ReadonlyArray<string>>> = {
    transient: ["40001", "08006", "53300", "55P03", "40003"],
    security: ["28P01", "42501", "0P000", "0L000"],
    permanent: ["53100", "58030", "XX000", "57P04", "F0000", "08P01"],
    upstream: ["HV000", "38000", "39P01"],
    client: ["23505", "42601", "22012", "25P02", "P0001", "3D000", "MR001"]
  }
  for (const [category, codes] of Object.entries(cases)) {
    it(`is ${category} for ${codes.join(", ")}`, () => {
      for (const code of codes) assert.strictEqual(PgErrors.from(sqlError(server({ code }))).category, category)
    })
  }
})

describe("conditions", () => {
  it("a code of PostgreSQL has its name, and one of somebody else has none", () => {
    const named = {
      "00000": "successful_completion",
      "23505": "unique_violation",
      "57014": "query_canceled",
      XX002: "index_corrupted"
    }
    for (const [code, condition] of Object.entries(named)) {
      assert.strictEqual(PgErrors.from(server({ code })).condition, condition)
    }
    assert.isUndefined(PgErrors.from(server({ code: "MR001" })).condition)
  })

  it("the names are those by which the server's own PL/pgSQL knows the codes", () =>
    Effect.gen(function*() {
      const sql = yield* PgClient.PgClient
      const raised = (condition: string) =>
        Effect.map(
          Effect.flip(sql.unsafe(`do $$ begin raise exception using errcode = '${condition}'; end $$`)),
          (error) => PgErrors.from(error)
        )
      for (
        const condition of ["unique_violation", "deadlock_detected", "fdw_error", "lock_not_available", "disk_full"]
      ) {
        const view = yield* raised(condition)
        assert.deepStrictEqual([view.condition, view.class], [condition, view.sqlstate?.slice(0, 2)])
      }
    }).pipe(Effect.provide(PgClient.layer({ url })), Effect.runPromise))
})

/** Why a client cannot connect. */
const attempt = (layer: ReturnType<typeof PgClient.layer>) =>
  Effect.map(
    Effect.flip(Effect.provide(Effect.flatMap(PgClient.PgClient, (sql) => sql`select 1`), layer)),
    (error) => {
      const { outcome, phase, retry, sqlstate } = PgErrors.from(error)
      return { outcome, phase, retry, sqlstate }
    }
  )

describe("with a server", () => {
  it("tells everything that the server said about a violated constraint, and which kind it was", () =>
    Effect.gen(function*() {
      const sql = yield* PgClient.PgClient
      yield* sql`create schema kinds`
      yield* sql`create table kinds.parents (id int primary key)`
      yield* sql`create table kinds.children (
        id int primary key, parent int not null references kinds.parents, age int check (age > 0), during int4range,
        constraint no_overlap exclude using gist (during with &&))`
      yield* sql`insert into kinds.parents values (1)`
      yield* sql`insert into kinds.children values (1, 1, 1, '[1,5)')`
      const violations: Readonly<Record<PgErrors.ConstraintKind, string | undefined>> = {
        unique: "insert into kinds.children values (1, 1, 1, null)",
        "not null": "insert into kinds.children values (2, null, 1, null)",
        "foreign key": "insert into kinds.children values (2, 7, 1, null)",
        check: "insert into kinds.children values (2, 1, -1, null)",
        exclusion: "insert into kinds.children values (2, 1, 1, '[2,3)')",
        // Only PostgreSQL 18 raises it.
        restrict: undefined
      }
      for (const [kind, text] of Object.entries(violations)) {
        if (text === undefined) continue
        assert.strictEqual(PgErrors.constraintKind(yield* Effect.flip(sql.unsafe(text))), kind)
      }
      const error = yield* Effect.flip(sql.unsafe(violations.unique ?? ""))
      const { constraint, detail, retry, schema, severity, table } = PgErrors.from(error)
      assert.deepStrictEqual({ constraint, detail, retry, schema, severity, table }, {
        constraint: "children_pkey",
        detail: "Key (id)=(1) already exists.",
        retry: "no",
        schema: "kinds",
        severity: "ERROR",
        table: "children"
      })
      assert.strictEqual(PgErrors.constraintKind(server({ code: "23001" })), "restrict")
      assert.isUndefined(PgErrors.constraintKind(server({ code: "42601" })))
      assert.isTrue(PgErrors.is(error, "23"))
      assert.isTrue(PgErrors.is("23505")(error))
      assert.isFalse(PgErrors.is(error, "23503"))
      assert.isFalse(PgErrors.is(new Error("none"), "23"))
    }).pipe(Effect.provide(PgClient.layer({ url })), Effect.runPromise))

  it("says where in the text a mistake is", () =>
    Effect.gen(function*() {
      const sql = yield* PgClient.PgClient
      const view = PgErrors.from(yield* Effect.flip(sql.unsafe("select 'é𝄞', nothing")))
      assert.deepStrictEqual([view.condition, view.position], ["undefined_column", 14])
      const raised = PgErrors.from(
        yield* Effect.flip(sql.unsafe("do $$ begin raise exception 'no' using hint = 'h', errcode = 'MR001'; end $$"))
      )
      assert.deepStrictEqual([raised.sqlstate, raised.hint, raised.message], ["MR001", "h", "no"])
      assert.include(raised.context ?? "", "PL/pgSQL")
    }).pipe(Effect.provide(PgClient.layer({ url })), Effect.runPromise))

  it("tells the server's time limit from somebody's cancel", () =>
    Effect.gen(function*() {
      const sql = yield* PgClient.PgClient
      const limited = yield* Effect.flip(sql.withTransaction(Effect.andThen(
        sql`set local statement_timeout = '20ms'`,
        sql`select pg_sleep(60)`
      )))
      assert.isTrue(PgErrors.isStatementTimeout(limited))
      assert.isFalse(PgErrors.isCancelled(limited))
      const pid = yield* Deferred.make<unknown>()
      const victim = yield* Effect.forkChild(Effect.flip(sql.withTransaction(Effect.andThen(
        Effect.flatMap(sql`select pg_backend_pid() as pid`, (rows) => Deferred.succeed(pid, rows[0]?.["pid"])),
        sql`select pg_sleep(60)`
      ))))
      const target = yield* Deferred.await(pid)
      yield* Effect.repeat(
        sql`select pg_cancel_backend(pid) from pg_stat_activity where pid = ${target} and query = 'select pg_sleep(60)'`,
        { until: (rows) => rows.length === 1, schedule: Schedule.spaced("10 millis") }
      )
      const cancelled = yield* Fiber.join(victim)
      assert.deepStrictEqual(PgErrors.from(cancelled).cancellation, { _tag: "Cancelled", by: "other" })
    }).pipe(Effect.provide(PgClient.layer({ url })), Effect.runPromise))

  it("T25: a statement that comes after its transaction has ended was not sent, and is not worth repeating", () =>
    Effect.gen(function*() {
      const sql = yield* PgClient.PgClient
      const context = yield* sql.withTransaction(Effect.context())
      const view = PgErrors.from(yield* Effect.flip(Effect.provideContext(sql`select 1`, context)))
      const { outcome, phase, retry } = view
      assert.deepStrictEqual({ outcome, phase, retry }, { outcome: "notApplied", phase: "ended", retry: "no" })
    }).pipe(Effect.provide(PgClient.layer({ url })), Effect.runPromise))

  it("a parameter that cannot be encoded was not sent", () =>
    Effect.gen(function*() {
      const sql = yield* PgClient.PgClient
      const view = PgErrors.from(yield* Effect.flip(sql`select ${[[1]]}`))
      assert.deepStrictEqual([view.outcome, view.retry, view.category], ["notApplied", "no", "client"])
    }).pipe(Effect.provide(PgClient.layer({ url })), Effect.runPromise))

  it("a server that is not there, or does not know the database", () =>
    Effect.gen(function*() {
      const nowhere = { outcome: "notApplied", phase: "connect" } as const
      assert.deepStrictEqual(yield* attempt(PgClient.layer({ url, host: "127.0.0.1", port: 1 })), {
        ...nowhere,
        retry: "session",
        sqlstate: undefined
      })
      assert.deepStrictEqual(yield* attempt(PgClient.layer({ url, database: "nothing_here" })), {
        ...nowhere,
        retry: "no",
        sqlstate: "3D000"
      })
    }).pipe(Effect.runPromise))
})

const near = (actual: number, expected: number) => {
  assert.isAtLeast(actual, Math.floor(expected * 0.8))
  assert.isAtMost(actual, Math.ceil(expected * 1.2))
}

describe("policy", () => {
  const deadlock = sqlError(server({ code: "40P01" }))

  /** Fails with these errors one after the other, the last again and again; gives the milliseconds of each attempt. */
  const attempts = Effect.fnUntraced(function*(errors: ReadonlyArray<unknown>, options?: PgErrors.PolicyOptions) {
    const times: Array<number> = []
    const work = Effect.flatMap(Clock.currentTimeMillis, (now) => {
      times.push(now)
      return Effect.fail(errors[times.length - 1] ?? errors.at(-1))
    })
    const fiber = yield* Effect.forkChild(Effect.flip(Effect.retry(work, PgErrors.policy(options))))
    yield* TestClock.adjust("5 minutes")
    yield* Fiber.join(fiber)
    return times
  })

  it.effect("tries eight times, with delays that double from 50 ms to 5 s", () =>
    Effect.gen(function*() {
      const times = yield* attempts([deadlock])
      assert.lengthOf(times, 8)
      for (const [i, time] of times.entries()) {
        if (i > 0) near(time - (times[i - 1] ?? 0), Math.min(50 * 2 ** (i - 1), 5000))
      }
    }))

  it.effect("begins nothing after the budget", () =>
    Effect.gen(function*() {
      const times = yield* attempts([deadlock], { budget: "1 second", attempts: 100 })
      assert.isAtMost((times.at(-1) ?? 0) - (times[0] ?? 0), 1000)
      assert.isAtLeast(times.length, 4)
    }))

  it.effect("keeps to the longest delay", () =>
    Effect.gen(function*() {
      const times = yield* attempts([deadlock], { base: "1 second", max: "2 seconds", attempts: 5 })
      near((times[4] ?? 0) - (times[3] ?? 0), 2000)
    }))

  it.effect("waits ten times as long where something is scarce", () =>
    Effect.gen(function*() {
      for (const code of ["53000", "53200", "53300", "55006", "55P03"]) {
        const times = yield* attempts([sqlError(server({ code }))], { attempts: 2 })
        near((times[1] ?? 0) - (times[0] ?? 0), 500)
      }
    }))

  it.effect("repeats once after a stale prepared statement", () =>
    Effect.gen(function*() {
      assert.lengthOf(yield* attempts([sqlError(server({ code: "26000" }))]), 2)
      assert.lengthOf(
        yield* attempts([sqlError(server({ code: "26000" })), deadlock, sqlError(server({ code: "26000" }))]),
        3
      )
    }))

  it.effect("counts repetitions by where repeating may help", () =>
    Effect.gen(function*() {
      const counted = Effect.map(Metric.snapshot, (metrics) =>
        metrics.flatMap(({ attributes, id, state }) =>
          id === "restante_pg_session_retries" ? [{ retry: attributes?.["retry"], state }] : []
        ))
      yield* attempts([deadlock], { attempts: 3 })
      yield* attempts([connectionError(new Error("refused"), "connect")], { attempts: 2 })
      assert.deepStrictEqual(yield* counted, [
        { retry: "transaction", state: { count: 2, incremental: true } },
        { retry: "session", state: { count: 1, incremental: true } }
      ])
    }).pipe(Effect.provideService(Metric.MetricRegistry, new Map())))

  it.effect("does not repeat what may have been applied, unless that does no harm", () =>
    Effect.gen(function*() {
      const lost = connectionError(new Error("Connection closed"))
      assert.lengthOf(yield* attempts([lost]), 1)
      assert.lengthOf(yield* attempts([lost], { idempotent: true }), 8)
    }))

  it.effect("does not repeat what is not worth it, whatever the caller declares", () =>
    Effect.gen(function*() {
      const commit = new PgTransactionError.PgTransactionError({
        reason: new PgTransactionError.CommitOutcomeUnknown({ cause: new Error("lost") })
      })
      for (
        const error of [
          sqlError(server({ code: "23505" })),
          sqlError(server({ code: "40003" })),
          commit,
          new Error("mine")
        ]
      ) {
        assert.lengthOf(yield* attempts([error], { idempotent: true }), 1)
      }
    }))
})

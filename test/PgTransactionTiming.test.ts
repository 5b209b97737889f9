/**
 * What happens when a fiber is interrupted (I), or a session lost (L), at a given moment. Each moment is made to happen: a lock
 * held by somebody else keeps a statement running, a proxy holds or loses exactly one answer, a backend is terminated. What
 * became of it is read from the server: rows, backends, and the statements that reached it.
 */
import { PgClient } from "@effect/sql-pg"
import { assert, describe, it } from "@effect/vitest"
import * as PgErrors from "@restante/pg-session/PgErrors"
import * as PgQuery from "@restante/pg-session/PgQuery"
import * as PgTransaction from "@restante/pg-session/PgTransaction"
import * as PgTransport from "@restante/pg-session/PgTransport"
import { Cause, Context, Deferred, Effect, Exit, Fiber, Layer, Option, Schedule, type Scope, Stream } from "effect"
import { SqlClient, type SqlError } from "effect/sql"
import * as TestClock from "effect/testing/TestClock"
import * as FaultProxy from "./fixtures/pg-session/faultProxy.ts"
import * as PostgresDatabase from "./PostgresDatabase.ts"

const url = await PostgresDatabase.open()

interface Stage {
  /** The client under test, on a transport, by way of the proxy. */
  readonly sql: SqlClient.SqlClient
  readonly proxy: FaultProxy.FaultProxy
  /** Somebody else, without the proxy. */
  readonly owner: PgClient.PgClient
}

type Body<A, E> = (stage: Stage) => Effect.Effect<A, E, SqlClient.SqlClient | Scope.Scope>

const stage = <A, E, E2>(
  client: (url: FaultProxy.FaultProxy["url"]) => Layer.Layer<SqlClient.SqlClient | PgClient.PgClient, E2>,
  body: Body<A, E>
) =>
  Effect.scoped(Effect.gen(function*() {
    const proxy = yield* FaultProxy.make(url)
    const owner = yield* Effect.map(Layer.build(PostgresDatabase.ownerLayer(url)), Context.get(PgClient.PgClient))
    const services = yield* Layer.build(client(proxy.url))
    return yield* Effect.provide(body({ owner, proxy, sql: Context.get(services, SqlClient.SqlClient) }), services)
  }))

/** With a client on a transport. */
const onTransport = <A, E>(body: Body<A, E>, options: PgTransport.PoolOptions = {}) =>
  stage((url) => PgTransport.layer({ url, maxConnections: 1, ...options }), body)

const onPlain = <A, E>(body: Body<A, E>, options: PgClient.PgPoolConfig = {}) =>
  stage((url) => PgClient.layer({ url, maxConnections: 1, ...options }), body)

/** Waits, with a deadline, until something holds. */
const until = <E, R>(condition: Effect.Effect<boolean, E, R>) =>
  Effect.repeat(condition, { until: (holds) => holds, schedule: Schedule.spaced("5 millis") }).pipe(
    Effect.timeout("20 seconds")
  )

/** An empty table of one's own, looked at from outside. */
const table = Effect.fnUntraced(function*({ owner, sql }: Stage, name: string) {
  yield* owner.unsafe(`drop table if exists ${name}`)
  yield* owner.unsafe(`create table ${name} (n int)`)
  return {
    add: (n: number) => sql.unsafe(`insert into ${name} values (${n})`),
    rows: Effect.map(owner.unsafe(`select n from ${name} order by n`).values, (rows) => rows.map(([n]) => n))
  }
})

/** Keeps `select pg_advisory_xact_lock(key)` of others running until released. */
const hold = Effect.fnUntraced(function*(owner: PgClient.PgClient, key: number) {
  const held = yield* Deferred.make<void>()
  const release = yield* Deferred.make<void>()
  const holder = yield* Effect.forkChild(owner.withTransaction(Effect.gen(function*() {
    yield* owner`select pg_advisory_xact_lock(${key}::int8)`
    yield* Deferred.succeed(held, undefined)
    yield* Deferred.await(release)
  })))
  yield* Deferred.await(held)
  const waiters = Effect.map(
    owner`select count(*)::int from pg_locks where locktype = 'advisory' and not granted and objid = ${key}::int8::oid
      and database = (select oid from pg_database where datname = current_database())`.values,
    (rows) => Number(rows[0]?.[0])
  )
  return {
    /** Somebody's statement waits. */
    busy: until(Effect.map(waiters, (n) => n > 0)),
    waiters,
    release: Effect.andThen(Deferred.succeed(release, undefined), Fiber.await(holder))
  }
})

const pidOf = Effect.flatMap(
  SqlClient.SqlClient,
  (sql) => Effect.map(sql`select pg_backend_pid()`.values, (rows) => Number(rows[0]?.[0]))
)

const isAlive = (owner: PgClient.PgClient, pid: number) =>
  Effect.map(owner`select 1 from pg_stat_activity where pid = ${pid}`.values, (rows) => rows.length > 0)

const terminate = (owner: PgClient.PgClient, pid: number) => owner`select pg_terminate_backend(${pid}, 10000)`

const sent = (proxy: FaultProxy.FaultProxy, pattern: RegExp) =>
  Effect.map(proxy.statements, (statements) => statements.filter((text) => pattern.test(text)).length)

const isInterruptionOnly = (exit: Exit.Exit<unknown, unknown>) =>
  assert.isTrue(Exit.isFailure(exit) && Cause.hasInterruptsOnly(exit.cause), String(exit))

/** The one typed failure; nothing else is in the cause, no defect above all. */
const failureOf = <A, E>(exit: Exit.Exit<A, E>): E => {
  if (Exit.isSuccess(exit)) return assert.fail("succeeded")
  assert.isTrue(exit.cause.reasons.every(Cause.isFailReason), String(exit))
  const error = Cause.findErrorOption(exit.cause)
  return Option.isSome(error) ? error.value : assert.fail(`no typed failure: ${String(exit)}`)
}

const reasonOf = (error: unknown): PgTransaction.PgTransactionErrorReason =>
  error instanceof PgTransaction.PgTransactionError
    ? error.reason
    : assert.fail(`not of PgTransaction: ${String(error)}`)

const isTransactionError = (error: unknown): PgTransaction.PgTransactionError =>
  error instanceof PgTransaction.PgTransactionError ? error : assert.fail(`not of PgTransaction: ${String(error)}`)

const isLost = (error: unknown, phase: "begin" | "body") => {
  assert.deepInclude(reasonOf(error), { _tag: "SessionLost", phase })
  assert.deepInclude(PgErrors.from(error), { retry: "session", outcome: "notApplied", phase })
}

/** Writes down what a transaction was told about itself. */
const listening = Effect.gen(function*() {
  const sql = yield* SqlClient.SqlClient
  const told: Array<string> = []
  return {
    told,
    listen: Effect.andThen(
      PgTransaction.onSettled((outcome) => Effect.sync(() => void told.push(outcome))),
      sql.afterCommit(Effect.sync(() => void told.push("after commit")))
    )
  }
})

/**
 * Interrupts when the answer is already on its way: it comes within the 10 ms of grace, unless this process stands still for so
 * long. Then a cancel was sent, and the moment was missed.
 */
const interruptAtTheEnd = Effect.fnUntraced(
  function*<A, E>(proxy: FaultProxy.FaultProxy, struck: FaultProxy.Struck, fiber: Fiber.Fiber<A, E>) {
    yield* struck.reached
    const before = yield* proxy.cancels
    yield* Effect.andThen(struck.release, Effect.sync(() => fiber.interruptUnsafe()))
    const exit = yield* Fiber.await(fiber)
    return { exit, missed: (yield* proxy.cancels) > before }
  }
)

const untilNotMissed = <E, R>(attempt: (n: number) => Effect.Effect<boolean, E, R>) =>
  Effect.gen(function*() {
    for (let n = 1; n <= 20; n++) {
      if (!(yield* attempt(n))) return
    }
    assert.fail("every attempt was too late")
  })

describe("waiting", () => {
  it.live("T1: I while waiting for the pool ends at once, nothing is sent, and no session is touched", () =>
    onTransport((stage) =>
      Effect.scoped(Effect.gen(function*() {
        const { proxy, sql } = stage
        const { add, rows } = yield* table(stage, "t1")
        const tx = yield* PgTransaction.begin()
        const before = yield* proxy.statements
        let reached = false
        for (
          const waiting of [
            PgTransaction.withTransaction({}, Effect.sync(() => reached = true)),
            PgTransaction.manual({}, (tx) => tx.commit()),
            sql`select 1`
          ]
        ) {
          const fiber = yield* Effect.forkChild(Effect.asVoid<unknown, unknown, SqlClient.SqlClient>(waiting), {
            startImmediately: true
          })
          yield* Fiber.interrupt(fiber)
          isInterruptionOnly(yield* Fiber.await(fiber))
        }
        assert.isFalse(reached)
        assert.deepStrictEqual(yield* proxy.statements, before)
        assert.strictEqual(yield* proxy.cancels, 0)
        yield* tx.run(add(1))
        yield* tx.commit()
        assert.deepStrictEqual(yield* rows, [1])
        assert.strictEqual(yield* pidOf, tx.pid)
      }))
    ))

  it.live("T2: I of a statement queued in a transaction ends at once, it is never sent, and the running one goes on", () =>
    onTransport((stage) =>
      Effect.gen(function*() {
        const { owner, proxy, sql } = stage
        const { add, rows } = yield* table(stage, "t2")
        const lock = yield* hold(owner, 2)
        yield* PgTransaction.withTransaction(
          {},
          Effect.gen(function*() {
            const running = yield* Effect.forkChild(sql`select 'ran' from pg_advisory_xact_lock(2)`.values)
            yield* lock.busy
            const queued = yield* Effect.forkChild(add(99), { startImmediately: true })
            yield* Fiber.interrupt(queued)
            isInterruptionOnly(yield* Fiber.await(queued))
            assert.strictEqual(yield* lock.waiters, 1)
            assert.strictEqual(yield* proxy.cancels, 0)
            yield* lock.release
            assert.deepStrictEqual(yield* Fiber.join(running), [["ran"]])
            yield* add(1)
          })
        )
        assert.strictEqual(yield* sent(proxy, /values \(99\)/), 0)
        assert.deepStrictEqual(yield* rows, [1])
      })
    ))
})

describe("a statement outside a transaction", () => {
  it.live("T3: I of a long statement cancels it, and the session is used again", () =>
    onTransport(({ owner, proxy, sql }) =>
      Effect.gen(function*() {
        const pid = yield* pidOf
        const lock = yield* hold(owner, 3)
        const fiber = yield* Effect.forkChild(sql`select pg_advisory_xact_lock(3)`)
        yield* lock.busy
        yield* Fiber.interrupt(fiber)
        isInterruptionOnly(yield* Fiber.await(fiber))
        assert.strictEqual(yield* lock.waiters, 0)
        assert.strictEqual(yield* proxy.cancels, 1)
        assert.strictEqual(yield* pidOf, pid)
        yield* lock.release
      })
    ))

  it.live("T4: I of a statement that ends within the grace time sends no cancel, and what it did may have happened: it has", () =>
    onTransport((stage) =>
      Effect.gen(function*() {
        const { proxy } = stage
        const { add, rows } = yield* table(stage, "t4")
        yield* untilNotMissed((n) =>
          Effect.gen(function*() {
            const pid = yield* pidOf
            const struck = yield* proxy.strike(/into t4/, "holdAnswer")
            const fiber = yield* Effect.forkChild(add(n))
            yield* struck.reached
            yield* until(Effect.map(rows, (found) => found.includes(n)))
            const { exit, missed } = yield* interruptAtTheEnd(proxy, struck, fiber)
            isInterruptionOnly(exit)
            if (missed) return true
            assert.include(yield* rows, n)
            assert.strictEqual(yield* pidOf, pid)
            return false
          })
        )
      })
    ))

  it.live("T5: if it ends between the cancel's sending and arrival, the session is retired and the next statement is not hit", () =>
    onTransport((stage) =>
      Effect.gen(function*() {
        const { owner, proxy, sql } = stage
        const { add, rows } = yield* table(stage, "t5")
        const pid = yield* pidOf
        yield* proxy.cancelMode("hold")
        const struck = yield* proxy.strike(/into t5/, "holdAnswer")
        const fiber = yield* Effect.forkChild(add(1))
        yield* struck.reached
        const interrupting = yield* Effect.forkChild(Fiber.interrupt(fiber))
        yield* until(Effect.map(proxy.cancels, (n) => n === 1))
        yield* struck.release
        const lock = yield* hold(owner, 5)
        const next = yield* Effect.forkChild(
          sql`select pg_backend_pid(), 'unharmed' from pg_advisory_xact_lock(5)`.values
        )
        yield* lock.busy
        yield* proxy.deliverCancels
        yield* Fiber.join(interrupting)
        isInterruptionOnly(yield* Fiber.await(fiber))
        yield* lock.release
        const [[nextPid, word] = []] = yield* Fiber.join(next)
        assert.strictEqual(word, "unharmed")
        assert.notStrictEqual(nextPid, pid)
        yield* until(Effect.map(isAlive(owner, pid), (alive) => !alive))
        assert.deepStrictEqual(yield* rows, [1])
      }), { maxConnections: 2 }))

  it.live("T11: I of a statement on a silent server destroys the session after 5 s, and the exit is an interruption only", () =>
    onTransport(({ owner, proxy, sql }) =>
      Effect.gen(function*() {
        const pid = yield* pidOf
        const struck = yield* proxy.strike(/'t11'/, "holdAnswer")
        const fiber = yield* Effect.forkChild(sql`select 't11'`)
        yield* struck.reached
        yield* Fiber.interrupt(fiber)
        isInterruptionOnly(yield* Fiber.await(fiber))
        assert.strictEqual(yield* proxy.cancels, 1)
        assert.notStrictEqual(yield* pidOf, pid)
        yield* until(Effect.map(isAlive(owner, pid), (alive) => !alive))
      })
    ))
})

describe("interruption in a transaction", () => {
  it.live("T6: I of a statement cancels it and rolls back, nothing is kept, and the session is used again", () =>
    onTransport((stage) =>
      Effect.gen(function*() {
        const { owner, proxy, sql } = stage
        const { add, rows } = yield* table(stage, "t6")
        const { listen, told } = yield* listening
        const pid = yield* pidOf
        const lock = yield* hold(owner, 6)
        const fiber = yield* Effect.forkChild(PgTransaction.withTransaction(
          {},
          Effect.gen(function*() {
            yield* listen
            yield* add(1)
            yield* sql`select pg_advisory_xact_lock(6)`
          })
        ))
        yield* lock.busy
        yield* Fiber.interrupt(fiber)
        isInterruptionOnly(yield* Fiber.await(fiber))
        assert.deepStrictEqual(told, ["rolledBack"])
        assert.strictEqual(yield* proxy.cancels, 1)
        assert.strictEqual((yield* proxy.statements).at(-1), "ROLLBACK")
        assert.deepStrictEqual(yield* rows, [])
        assert.strictEqual(yield* pidOf, pid)
        yield* lock.release
      })
    ))

  it.live("T7: I of a body with nothing on the wire rolls back without a cancel, and the session is used again", () =>
    onTransport((stage) =>
      Effect.gen(function*() {
        const { proxy } = stage
        const { add, rows } = yield* table(stage, "t7")
        const { listen, told } = yield* listening
        const pid = yield* pidOf
        const written = yield* Deferred.make<void>()
        const fiber = yield* Effect.forkChild(PgTransaction.withTransaction(
          {},
          Effect.gen(function*() {
            yield* listen
            yield* add(1)
            yield* Deferred.succeed(written, undefined)
            return yield* Effect.never
          })
        ))
        yield* Deferred.await(written)
        yield* Fiber.interrupt(fiber)
        isInterruptionOnly(yield* Fiber.await(fiber))
        assert.deepStrictEqual(told, ["rolledBack"])
        assert.strictEqual(yield* proxy.cancels, 0)
        assert.strictEqual((yield* proxy.statements).at(-1), "ROLLBACK")
        assert.deepStrictEqual(yield* rows, [])
        assert.strictEqual(yield* pidOf, pid)
      })
    ))

  it.live("T8: I during BEGIN waits for BEGIN within `controlTimeout`, then rolls back without running the body", () =>
    onTransport(({ owner, proxy }) =>
      Effect.gen(function*() {
        const pid = yield* pidOf
        let reached = false
        const body = Effect.sync(() => reached = true)

        const held = yield* proxy.strike(/BEGIN/, "holdAnswer")
        const patient = yield* Effect.forkChild(PgTransaction.withTransaction({}, body))
        yield* held.reached
        const interrupting = yield* Effect.forkChild(Fiber.interrupt(patient), { startImmediately: true })
        yield* until(Effect.map(
          owner`select 1 from pg_stat_activity where pid = ${pid} and state = 'idle in transaction'`.values,
          (rows) => rows.length === 1
        ))
        assert.isUndefined(patient.pollUnsafe())
        yield* held.release
        yield* Fiber.join(interrupting)
        isInterruptionOnly(yield* Fiber.await(patient))
        assert.strictEqual((yield* proxy.statements).at(-1), "ROLLBACK")
        assert.strictEqual(yield* pidOf, pid)

        const impatient = PgTransaction.withTransaction({ controlTimeout: "200 millis" }, body)
        // No answer to BEGIN.
        const lost = yield* proxy.strike(/BEGIN/, "holdAnswer")
        const first = yield* Effect.forkChild(impatient)
        yield* lost.reached
        yield* Fiber.interrupt(first)
        isInterruptionOnly(yield* Fiber.await(first))
        const next = yield* pidOf
        assert.notStrictEqual(next, pid)
        // An answer to BEGIN, but none to the ROLLBACK.
        const begun = yield* proxy.strike(/BEGIN/, "holdAnswer")
        const rollback = yield* proxy.strike(/^ROLLBACK$/, "holdAnswer")
        const second = yield* Effect.forkChild(impatient)
        yield* begun.reached
        const interruptingToo = yield* Effect.forkChild(Fiber.interrupt(second), { startImmediately: true })
        yield* begun.release
        yield* rollback.reached
        yield* Fiber.join(interruptingToo)
        isInterruptionOnly(yield* Fiber.await(second))
        assert.notStrictEqual(yield* pidOf, next)
        assert.isFalse(reached)
      })
    ))

  it.live("T9: I during COMMIT lets it complete and the after-commit callbacks run; the exit is an interruption, the outcome known", () =>
    onTransport((stage) =>
      Effect.gen(function*() {
        const { proxy } = stage
        const { add, rows } = yield* table(stage, "t9")
        const { listen, told } = yield* listening
        const pid = yield* pidOf
        const held = yield* proxy.strike(/^COMMIT$/, "holdAnswer")
        const fiber = yield* Effect.forkChild(
          PgTransaction.withTransaction({}, Effect.andThen(listen, add(1)))
        )
        yield* held.reached
        yield* until(Effect.map(rows, (found) => found.length === 1))
        const interrupting = yield* Effect.forkChild(Fiber.interrupt(fiber), { startImmediately: true })
        assert.deepStrictEqual(told, [])
        yield* held.release
        yield* Fiber.join(interrupting)
        isInterruptionOnly(yield* Fiber.await(fiber))
        assert.deepStrictEqual(told, ["after commit", "committed"])
        assert.strictEqual(yield* proxy.cancels, 0)
        assert.strictEqual(yield* pidOf, pid)

        // The same through a handle.
        const heldToo = yield* proxy.strike(/^COMMIT$/, "holdAnswer")
        const manual = yield* Effect.forkChild(
          PgTransaction.manual({}, (tx) => Effect.andThen(tx.run(Effect.andThen(listen, add(2))), tx.commit()))
        )
        yield* heldToo.reached
        const interruptingToo = yield* Effect.forkChild(Fiber.interrupt(manual), { startImmediately: true })
        yield* heldToo.release
        yield* Fiber.join(interruptingToo)
        isInterruptionOnly(yield* Fiber.await(manual))
        assert.deepStrictEqual(told.slice(2), ["after commit", "committed"])
        assert.deepStrictEqual(yield* rows, [1, 2])
      })
    ))

  for (const [where, on] of [["on a transport", onTransport], ["on a plain client", onPlain]] as const) {
    it.live(`T12: I of a statement on a silent server in a transaction is an interruption only, no added defect, ${where}`, () =>
      on((stage) =>
        Effect.gen(function*() {
          const { owner, proxy, sql } = stage
          const { add, rows } = yield* table(stage, "t12")
          const { listen, told } = yield* listening
          const pid = yield* pidOf
          const struck = yield* proxy.strike(/'t12'/, "holdAnswer")
          const fiber = yield* Effect.forkChild(PgTransaction.withTransaction(
            {},
            Effect.gen(function*() {
              yield* listen
              yield* add(1)
              yield* PgTransaction.withTransaction({}, sql`select 't12'`)
            })
          ))
          yield* struck.reached
          yield* Fiber.interrupt(fiber)
          isInterruptionOnly(yield* Fiber.await(fiber))
          assert.deepStrictEqual(told, ["rolledBack"])
          assert.notStrictEqual(yield* pidOf, pid)
          yield* until(Effect.map(isAlive(owner, pid), (alive) => !alive))
          assert.deepStrictEqual(yield* rows, [])
        })
      ))
  }
})

describe("a server that does not answer", () => {
  it.live("T10: after `controlTimeout` the socket is destroyed: BEGIN SessionLost, COMMIT unknown, ROLLBACK rolled back", () =>
    onTransport((stage) =>
      Effect.gen(function*() {
        const { owner, proxy } = stage
        const { add, rows } = yield* table(stage, "t10")
        const options = { controlTimeout: "200 millis" } as const
        const attempt = Effect.fnUntraced(
          function*<A, E>(pattern: RegExp, body: Effect.Effect<A, E, SqlClient.SqlClient>) {
            const { listen, told } = yield* listening
            const pid = yield* pidOf
            const silent = yield* proxy.strike(pattern, "holdAnswer")
            const exit = yield* Effect.exit(PgTransaction.withTransaction(options, Effect.andThen(listen, body)))
            yield* silent.reached
            yield* until(Effect.map(isAlive(owner, pid), (alive) => !alive))
            assert.notStrictEqual(yield* pidOf, pid)
            return { exit, told }
          }
        )
        const begin = yield* attempt(/BEGIN/, add(1))
        isLost(failureOf(begin.exit), "begin")

        const commit = yield* attempt(/^COMMIT$/, add(2))
        assert.strictEqual(reasonOf(failureOf(commit.exit))._tag, "CommitOutcomeUnknown")
        assert.deepInclude(PgErrors.from(failureOf(commit.exit)), { retry: "no", outcome: "unknown" })
        assert.deepStrictEqual(commit.told, ["unknown"])

        const rollback = yield* attempt(/^ROLLBACK$/, Effect.andThen(add(3), Effect.fail("own")))
        assert.strictEqual(failureOf(rollback.exit), "own")
        assert.deepStrictEqual(rollback.told, ["rolledBack"])

        const release = yield* attempt(/RELEASE/, PgTransaction.withTransaction({}, add(4)))
        isLost(failureOf(release.exit), "body")
        assert.deepStrictEqual(release.told, ["rolledBack"])

        // A handle's rollback succeeds.
        const silent = yield* proxy.strike(/^ROLLBACK$/, "holdAnswer")
        yield* PgTransaction.manual(options, (tx) => Effect.andThen(tx.run(add(5)), tx.rollback()))
        yield* silent.reached
        // The COMMIT had been carried out.
        assert.deepStrictEqual(yield* rows, [2])
      })
    ))
})

describe("the default of `controlTimeout`", () => {
  it.live("T10: it is 30 s by the caller's Clock", () =>
    onTransport((stage) =>
      Effect.gen(function*() {
        const { proxy } = stage
        const { add, rows } = yield* table(stage, "t10clock")
        yield* pidOf
        const silent = yield* proxy.strike(/^COMMIT$/, "holdAnswer")
        const fiber = yield* Effect.forkChild(PgTransaction.withTransaction({}, add(1)))
        yield* silent.reached
        yield* TestClock.adjust("29 seconds")
        yield* rows
        assert.isUndefined(fiber.pollUnsafe())
        yield* TestClock.adjust("1 second")
        const exit = yield* Fiber.await(fiber)
        assert.strictEqual(reasonOf(failureOf(exit))._tag, "CommitOutcomeUnknown")
      }).pipe(Effect.provide(TestClock.layer()))
    ))

  for (const seconds of [15, 45]) {
    it.live(`T10: it counts from COMMIT also after a body of ${seconds} s`, () =>
      onTransport((stage) =>
        Effect.gen(function*() {
          const { proxy } = stage
          const { add, rows } = yield* table(stage, "t10body")
          const silent = yield* proxy.strike(/^COMMIT$/, "holdAnswer")
          const fiber = yield* Effect.forkChild(
            PgTransaction.withTransaction({}, Effect.andThen(add(1), TestClock.adjust(`${seconds} seconds`)))
          )
          yield* silent.reached
          yield* TestClock.adjust("29 seconds")
          yield* rows
          assert.isUndefined(fiber.pollUnsafe())
          yield* TestClock.adjust("1 second")
          assert.strictEqual(reasonOf(failureOf(yield* Fiber.await(fiber)))._tag, "CommitOutcomeUnknown")
        }).pipe(Effect.provide(TestClock.layer()))
      ))
  }
})

describe("after-commit callbacks", () => {
  it.live("T10: may take longer than `controlTimeout`, which ends with the answer to COMMIT", () =>
    onTransport(({ sql }) =>
      Effect.gen(function*() {
        const pid = yield* pidOf
        const called = yield* Deferred.make<void>()
        const slow = Effect.andThen(Deferred.succeed(called, undefined), Effect.sleep("1 minute"))
        const fiber = yield* Effect.forkChild(PgTransaction.withTransaction({}, sql.afterCommit(slow)))
        yield* Deferred.await(called)
        yield* TestClock.adjust("1 minute")
        yield* Fiber.join(fiber)
        assert.strictEqual(yield* pidOf, pid)
      }).pipe(Effect.provide(TestClock.layer()))
    ))
})

describe("a lost session", () => {
  it.live("T13: L in the body is a typed SessionLost, or else the body's own error, never a defect", () =>
    onTransport((stage) =>
      Effect.gen(function*() {
        const { owner, proxy, sql } = stage
        const { add, rows } = yield* table(stage, "t13")
        const suicide = Effect.flatMap(pidOf, (pid) => terminate(owner, pid))
        const attempt = <A, E>(body: Effect.Effect<A, E, SqlClient.SqlClient>) =>
          Effect.gen(function*() {
            const { listen, told } = yield* listening
            const exit = yield* Effect.exit(
              PgTransaction.withTransaction({}, Effect.andThen(listen, Effect.andThen(add(1), body)))
            )
            assert.deepStrictEqual(told, ["rolledBack"])
            return failureOf(exit)
          })

        // While a statement runs.
        const lock = yield* hold(owner, 13)
        const running = yield* Effect.forkChild(attempt(sql`select pg_advisory_xact_lock(13)`))
        yield* lock.busy
        yield* owner`
          select pg_terminate_backend(pid, 10000) from pg_locks where locktype = 'advisory' and not granted and objid = 13`
        const error = yield* Fiber.join(running)
        isLost(error, "body")
        assert.strictEqual(PgErrors.from(error).sqlstate, "57P01")
        yield* lock.release

        // Between statements.
        isLost(yield* attempt(Effect.andThen(suicide, add(2))), "body")
        // In a step, and in one of the client's own.
        isLost(yield* attempt(PgTransaction.withTransaction({}, Effect.andThen(suicide, add(2)))), "body")
        isLost(yield* attempt(sql.withTransaction(Effect.andThen(suicide, add(2)))), "body")
        // The body has an error of its own.
        assert.strictEqual(yield* attempt(Effect.andThen(suicide, Effect.fail("own"))), "own")
        assert.strictEqual(
          yield* attempt(Effect.andThen(suicide, Effect.mapError(add(2), () => "translated"))),
          "translated"
        )
        // The body takes no notice: nothing is sent.
        const commits = yield* sent(proxy, /^COMMIT$/)
        isLost(yield* attempt(Effect.andThen(suicide, Effect.ignore(add(2)))), "body")
        assert.strictEqual(yield* sent(proxy, /^COMMIT$/), commits)
        // The connection breaks.
        yield* proxy.strike(/values \(3\)/, "cutBefore")
        isLost(yield* attempt(add(3)), "body")
        // A defect of the body stays one.
        const bug = yield* Effect.exit(
          PgTransaction.withTransaction({}, Effect.andThen(suicide, Effect.die("a bug")))
        )
        assert.isTrue(Exit.isFailure(bug) && bug.cause.reasons.every(Cause.isDieReason))

        // Retry policies see it.
        let bodies = 0
        yield* PgTransaction.retrying(
          {},
          // Only a statement that fails is sure to have noticed.
          Effect.andThen(add(4), Effect.suspend(() => ++bodies === 1 ? Effect.andThen(suicide, add(5)) : Effect.void))
        )
        assert.strictEqual(bodies, 2)
        assert.deepStrictEqual(yield* rows, [4])
      })
    ))

  it.live("T13: L in the body is typed on a plain client too, which learns of it from the ROLLBACK", () =>
    onPlain((stage) =>
      Effect.gen(function*() {
        const { owner, sql } = stage
        const { add, rows } = yield* table(stage, "t13plain")
        const suicide = Effect.flatMap(pidOf, (pid) => terminate(owner, pid))
        const attempt = <A, E>(body: Effect.Effect<A, E, SqlClient.SqlClient>) =>
          Effect.map(Effect.exit(PgTransaction.withTransaction({}, Effect.andThen(add(1), body))), failureOf)
        isLost(yield* attempt(Effect.andThen(suicide, add(2))), "body")
        isLost(yield* attempt(PgTransaction.withTransaction({}, Effect.andThen(suicide, add(2)))), "body")
        isLost(yield* attempt(sql.withTransaction(Effect.andThen(suicide, add(2)))), "body")
        assert.strictEqual(yield* attempt(Effect.andThen(suicide, Effect.fail("own"))), "own")
        // The marker is asked for before COMMIT, and finds nobody there.
        const marked = yield* Effect.exit(
          PgTransaction.withTransaction({ guard: "marker" }, Effect.andThen(add(2), suicide))
        )
        isLost(failureOf(marked), "body")
        // Somebody else's loss is not this transaction's.
        const foreign = yield* attempt(
          Effect.andThen(
            owner.reserve.pipe(
              Effect.flatMap((connection) =>
                connection.executeValues("select pg_terminate_backend(pg_backend_pid())", [])
              ),
              Effect.scoped
            ),
            add(3)
          )
        )
        assert.deepInclude(foreign, { _tag: "SqlError" })
        assert.deepStrictEqual(yield* rows, [])
      })
    ))

  for (const [where, on] of [["on a transport", onTransport], ["on a plain client", onPlain]] as const) {
    it.live(`T13: L in what a handle runs is typed as soon as it is found, ${where}`, () =>
      on((stage) =>
        Effect.gen(function*() {
          const { owner, sql } = stage
          const { add, rows } = yield* table(stage, "t13handle")
          const suicide = Effect.flatMap(pidOf, (pid) => terminate(owner, pid))
          const lose = Effect.andThen(suicide, add(2))
          const uses = [
            (tx: PgTransaction.Transaction) => tx.run(lose),
            (tx: PgTransaction.Transaction) => tx.run(sql.withTransaction(lose)),
            (tx: PgTransaction.Transaction) => tx.run(PgTransaction.withTransaction({}, lose)),
            (tx: PgTransaction.Transaction) => Effect.andThen(tx.run(suicide), tx.savepoint("a"))
          ]
          for (const use of uses) {
            const exit = yield* Effect.exit(PgTransaction.manual({}, (tx) =>
              Effect.gen(function*() {
                yield* tx.run(add(1))
                isLost(
                  failureOf(yield* Effect.exit(Effect.asVoid<unknown, unknown, SqlClient.SqlClient>(use(tx)))),
                  "body"
                )
                yield* use(tx)
                return yield* tx.commit()
              })))
            isLost(failureOf(exit), "body")
          }
          // Somebody else's loss is not this transaction's.
          yield* PgTransaction.manual({}, (tx) =>
            Effect.gen(function*() {
              const foreign = owner.reserve.pipe(
                Effect.flatMap((connection) =>
                  connection.executeValues("select pg_terminate_backend(pg_backend_pid())", [])
                ),
                Effect.scoped
              )
              assert.deepInclude(failureOf(yield* Effect.exit(tx.run(foreign))), { _tag: "SqlError" })
              yield* tx.run(add(3))
              return yield* tx.commit()
            }))
          assert.deepStrictEqual(yield* rows, [3])
        })
      ))
  }

  it.live("T13: L before a COMMIT that waited for a statement of another fiber was sent: SessionLost, not unknown", () =>
    onTransport((stage) =>
      Effect.gen(function*() {
        const { owner, proxy, sql } = stage
        const { add, rows } = yield* table(stage, "t13queued")
        const { listen, told } = yield* listening
        const lock = yield* hold(owner, 113)
        const ending = yield* Deferred.make<void>()
        const fiber = yield* Effect.forkChild(PgTransaction.withTransaction(
          {},
          Effect.gen(function*() {
            yield* listen
            yield* add(1)
            yield* Effect.forkDetach(Effect.exit(sql`select pg_advisory_xact_lock(113)`), { startImmediately: true })
            yield* lock.busy
            yield* Deferred.succeed(ending, undefined)
          })
        ))
        yield* Deferred.await(ending)
        yield* owner`
          select pg_terminate_backend(pid, 10000) from pg_locks where locktype = 'advisory' and not granted and objid = 113`
        isLost(failureOf(yield* Fiber.await(fiber)), "body")
        yield* lock.release
        assert.strictEqual(yield* sent(proxy, /^COMMIT$/), 0)
        assert.deepStrictEqual(told, ["rolledBack"])
        assert.deepStrictEqual(yield* rows, [])
      })
    ))

  for (const fault of ["cutBefore", "cutAfter"] as const) {
    it.live(`T14: L during BEGIN (${fault}) is typed, and retryable with a new session`, () =>
      onTransport((stage) =>
        Effect.gen(function*() {
          const { proxy } = stage
          const { add, rows } = yield* table(stage, "t14")
          const pid = yield* pidOf
          yield* proxy.strike(/BEGIN/, fault)
          isLost(failureOf(yield* Effect.exit(PgTransaction.withTransaction({}, add(1)))), "begin")
          yield* proxy.strike(/BEGIN/, fault)
          isLost(failureOf(yield* Effect.exit(Effect.scoped(PgTransaction.begin()))), "begin")
          yield* proxy.strike(/BEGIN/, fault)
          const next = yield* PgTransaction.retrying({}, Effect.andThen(add(2), pidOf))
          assert.notStrictEqual(next, pid)
          assert.deepStrictEqual(yield* rows, [2])
          return yield* onPlain(({ proxy }) =>
            Effect.gen(function*() {
              yield* pidOf
              yield* proxy.strike(/BEGIN/, fault)
              isLost(failureOf(yield* Effect.exit(PgTransaction.withTransaction({}, pidOf))), "begin")
            })
          )
        })
      ))
  }

  it.live("T14: what fails before BEGIN is sent stays the error of connecting", () =>
    Effect.gen(function*() {
      const exit = yield* Effect.exit(PgTransaction.withTransaction({}, Effect.void)).pipe(
        Effect.provide(PgTransport.layer({ host: "127.0.0.1", port: 1, connectTimeout: "300 millis", username: "x" }))
      )
      const error = failureOf(exit)
      assert.deepInclude(error, { _tag: "SqlError" })
      assert.deepInclude(PgErrors.from(error), { phase: "connect", retry: "session", outcome: "notApplied" })
    }))

  it.live("T15: L during COMMIT, not applied: unknown, resolves to aborted, and may then be repeated", () =>
    onTransport((stage) =>
      Effect.gen(function*() {
        const { proxy } = stage
        const { add, rows } = yield* table(stage, "t15")
        const { listen, told } = yield* listening
        yield* proxy.strike(/^COMMIT$/, "cutBefore")
        const error = isTransactionError(failureOf(
          yield* Effect.exit(PgTransaction.withTransaction({ trackOutcome: true }, Effect.andThen(listen, add(1))))
        ))
        assert.strictEqual(error.reason._tag, "CommitOutcomeUnknown")
        assert.isFalse(error.isRetryable)
        assert.deepInclude(PgErrors.from(error), { retry: "no", outcome: "unknown" })
        assert.deepStrictEqual(told, ["unknown"])
        yield* until(Effect.map(PgTransaction.resolveOutcome(error), (status) => status !== "in progress"))
        assert.strictEqual(yield* PgTransaction.resolveOutcome(error), "aborted")
        assert.deepStrictEqual(yield* rows, [])

        let bodies = 0
        const body = Effect.andThen(Effect.sync(() => ++bodies), add(2))
        yield* proxy.strike(/^COMMIT$/, "cutBefore")
        yield* PgTransaction.retrying({ trackOutcome: true }, body)
        assert.strictEqual(bodies, 2)
        assert.deepStrictEqual(yield* rows, [2])

        // Nobody can tell, so nobody repeats.
        yield* proxy.strike(/^COMMIT$/, "cutBefore")
        const untracked = yield* Effect.exit(PgTransaction.retrying({}, body))
        assert.strictEqual(reasonOf(failureOf(untracked))._tag, "CommitOutcomeUnknown")
        assert.strictEqual(bodies, 3)
        assert.deepStrictEqual(yield* rows, [2])
      })
    ))

  it.live("T15: a COMMIT answered with FATAL, 40003 or 08007 is unknown too; with any other error it is definite", () =>
    onTransport((stage) =>
      Effect.gen(function*() {
        const { owner } = stage
        const { add, rows } = yield* table(stage, "t15answer")
        const { listen, told } = yield* listening
        // What happens at COMMIT is told by the row.
        yield* owner.unsafe(`
          create or replace function at_commit() returns trigger language plpgsql as $$
          begin
            if new.n = 1 then perform pg_advisory_xact_lock(15);
            elsif new.n = 2 then raise exception using errcode = '40003';
            elsif new.n = 3 then raise exception using errcode = '08007';
            elsif new.n = 4 then raise exception using errcode = '40001';
            end if;
            return null;
          end $$`)
        yield* owner.unsafe(`
          create constraint trigger at_commit after insert on t15answer deferrable initially deferred
            for each row execute function at_commit()`)
        const attempt = (n: number) =>
          Effect.map(Effect.exit(PgTransaction.withTransaction({}, Effect.andThen(listen, add(n)))), failureOf)

        const lock = yield* hold(owner, 15)
        const committing = yield* Effect.forkChild(attempt(1))
        yield* lock.busy
        yield* owner`
          select pg_terminate_backend(pid, 10000) from pg_locks where locktype = 'advisory' and not granted and objid = 15`
        const fatal = yield* Fiber.join(committing)
        yield* lock.release
        assert.strictEqual(reasonOf(fatal)._tag, "CommitOutcomeUnknown")
        assert.strictEqual(PgErrors.from(fatal).sqlstate, "57P01")
        for (const [n, code] of [[2, "40003"], [3, "08007"]] as const) {
          const error = yield* attempt(n)
          assert.strictEqual(reasonOf(error)._tag, "CommitOutcomeUnknown")
          assert.deepInclude(PgErrors.from(error), { sqlstate: code, retry: "no", outcome: "unknown" })
        }
        assert.deepStrictEqual(told.splice(0), ["unknown", "unknown", "unknown"])

        const definite = yield* attempt(4)
        assert.deepInclude(definite, { _tag: "SqlError" })
        assert.deepInclude(PgErrors.from(definite), { sqlstate: "40001", retry: "transaction", outcome: "notApplied" })
        assert.deepStrictEqual(told, ["rolledBack"])
        assert.deepStrictEqual(yield* rows, [])
      })
    ))

  it.live("T16: COMMIT applied, answer lost: unknown, no after-commit callbacks, resolves to committed, never repeated", () =>
    onTransport((stage) =>
      Effect.gen(function*() {
        const { proxy } = stage
        const { add, rows } = yield* table(stage, "t16")
        const { listen, told } = yield* listening
        const struck = yield* proxy.strike(/^COMMIT$/, "cutAfter")
        const error = isTransactionError(failureOf(
          yield* Effect.exit(PgTransaction.withTransaction({ trackOutcome: true }, Effect.andThen(listen, add(1))))
        ))
        yield* struck.reached
        assert.strictEqual(error.reason._tag, "CommitOutcomeUnknown")
        assert.deepStrictEqual(told, ["unknown"])
        assert.strictEqual(yield* PgTransaction.resolveOutcome(error), "committed")
        assert.deepStrictEqual(yield* rows, [1])

        for (const trackOutcome of [true, false]) {
          let bodies = 0
          yield* proxy.strike(/^COMMIT$/, "cutAfter")
          const exit = yield* Effect.exit(
            PgTransaction.retrying({ trackOutcome }, Effect.andThen(Effect.sync(() => ++bodies), add(2)))
          )
          assert.strictEqual(reasonOf(failureOf(exit))._tag, "CommitOutcomeUnknown")
          assert.strictEqual(bodies, 1)
        }
        // The same through a handle, and on a plain client.
        yield* proxy.strike(/^COMMIT$/, "cutAfter")
        const manual = yield* Effect.exit(
          PgTransaction.manual({}, (tx) => Effect.andThen(tx.run(add(3)), tx.commit()))
        )
        assert.strictEqual(reasonOf(failureOf(manual))._tag, "CommitOutcomeUnknown")
        assert.deepStrictEqual(yield* rows, [1, 2, 2, 3])
        yield* onPlain((plain) =>
          Effect.gen(function*() {
            yield* plain.proxy.strike(/^COMMIT$/, "cutAfter")
            const exit = yield* Effect.exit(
              PgTransaction.withTransaction({}, plain.sql.unsafe("insert into t16 values (4)"))
            )
            assert.strictEqual(reasonOf(failureOf(exit))._tag, "CommitOutcomeUnknown")
          })
        )
        assert.deepStrictEqual(yield* rows, [1, 2, 2, 3, 4])
      })
    ))

  it.live("T9 and T16: I during a COMMIT whose answer is lost is an interruption that carries the unknown outcome", () =>
    onTransport((stage) =>
      Effect.gen(function*() {
        const { proxy } = stage
        const { add, rows } = yield* table(stage, "t9and16")
        const { listen, told } = yield* listening
        const held = yield* proxy.strike(/^COMMIT$/, "holdAnswer")
        const fiber = yield* Effect.forkChild(
          PgTransaction.withTransaction({ controlTimeout: "300 millis" }, Effect.andThen(listen, add(1)))
        )
        yield* held.reached
        yield* Fiber.interrupt(fiber)
        const exit = yield* Fiber.await(fiber)
        assert.isTrue(Exit.isFailure(exit) && Cause.hasInterrupts(exit.cause) && !Cause.hasDies(exit.cause))
        const error = Exit.isFailure(exit) ? Cause.findErrorOption(exit.cause) : Option.none()
        assert.strictEqual(reasonOf(Option.getOrUndefined(error))._tag, "CommitOutcomeUnknown")
        assert.deepStrictEqual(told, ["unknown"])
        assert.deepStrictEqual(yield* rows, [1])
      })
    ))

  it.live("case 25: rolling back after the session was lost succeeds", () =>
    onTransport((stage) =>
      Effect.gen(function*() {
        const { owner } = stage
        const { add, rows } = yield* table(stage, "case25")
        const { listen, told } = yield* listening
        const value = yield* PgTransaction.manual({}, (tx) =>
          Effect.gen(function*() {
            yield* tx.run(Effect.andThen(listen, add(1)))
            yield* terminate(owner, tx.pid)
            return yield* tx.rollback("rolled back")
          }))
        assert.strictEqual(value, "rolled back")
        assert.deepStrictEqual(told, ["rolledBack"])
        const committing = yield* Effect.exit(PgTransaction.manual({}, (tx) =>
          Effect.gen(function*() {
            yield* tx.run(add(2))
            yield* terminate(owner, tx.pid)
            // Only a statement that fails is sure to have noticed.
            yield* Effect.ignore(tx.run(add(3)))
            return yield* tx.commit()
          })))
        isLost(failureOf(committing), "body")
        assert.deepStrictEqual(yield* rows, [])
      })
    ))
})

describe("timeouts", () => {
  it.live("T17: a timeout around one statement that was cancelled fails the transaction: 25P02, and the commit is refused", () =>
    onTransport((stage) =>
      Effect.gen(function*() {
        const { owner, sql } = stage
        const { add, rows } = yield* table(stage, "t17")
        const lock = yield* hold(owner, 17)
        let later: unknown
        const exit = yield* Effect.exit(PgTransaction.withTransaction(
          {},
          Effect.gen(function*() {
            yield* add(1)
            const timedOut = yield* Effect.exit(Effect.timeout(sql`select pg_advisory_xact_lock(17)`, "50 millis"))
            assert.deepInclude(failureOf(timedOut), { _tag: "TimeoutError" })
            later = failureOf(yield* Effect.exit(add(2)))
          })
        ))
        yield* lock.release
        assert.strictEqual(PgErrors.from(later).sqlstate, "25P02")
        assert.deepInclude(reasonOf(failureOf(exit)), { kind: "TransactionFailed", sqlstate: "57014" })
        assert.deepStrictEqual(yield* rows, [])
      })
    ))

  it.live("T17: one that ended within the grace time leaves the transaction good, and its effect commits", () =>
    onTransport((stage) =>
      Effect.gen(function*() {
        const { proxy } = stage
        const { add, rows } = yield* table(stage, "t17grace")
        yield* untilNotMissed((n) =>
          Effect.gen(function*() {
            let wasMissed = false
            const struck = yield* proxy.strike(/into t17grace/, "holdAnswer")
            const exit = yield* Effect.exit(PgTransaction.withTransaction(
              {},
              Effect.gen(function*() {
                const fiber = yield* Effect.forkChild(add(n))
                const { exit, missed } = yield* interruptAtTheEnd(proxy, struck, fiber)
                isInterruptionOnly(exit)
                wasMissed = missed
                yield* add(-n)
              })
            ))
            if (wasMissed) return true
            assert.isTrue(Exit.isSuccess(exit), String(exit))
            assert.includeMembers(yield* rows, [-n, n])
            return false
          })
        )
      })
    ))

  it.live("T18: a timeout around a nested transaction, or `bounded`, undoes only that step, and the outer one commits", () =>
    onTransport((stage) =>
      Effect.gen(function*() {
        const { owner, sql } = stage
        const { add, rows } = yield* table(stage, "t18")
        const lock = yield* hold(owner, 18)
        const stuck = (n: number) => Effect.andThen(add(n), sql`select pg_advisory_xact_lock(18)`)
        yield* PgTransaction.withTransaction(
          {},
          Effect.gen(function*() {
            yield* add(1)
            for (
              const step of [
                PgTransaction.bounded(stuck(2), "50 millis"),
                Effect.timeout(PgTransaction.withTransaction({}, stuck(3)), "50 millis"),
                Effect.timeout(sql.withTransaction(stuck(4)), "50 millis"),
                PgTransaction.bounded(Effect.andThen(add(5), Effect.never), "50 millis")
              ]
            ) {
              assert.deepInclude(failureOf(yield* Effect.exit(step)), { _tag: "TimeoutError" })
            }
            yield* PgTransaction.bounded(add(6), "20 seconds")
          })
        )
        yield* lock.release
        assert.deepStrictEqual(yield* rows, [1, 6])
      })
    ))

  it.live("T18: a step that was done in time is not undone because its RELEASE takes long", () =>
    onTransport((stage) =>
      Effect.gen(function*() {
        const { proxy } = stage
        const { add, rows } = yield* table(stage, "t18release")
        const held = yield* proxy.strike(/RELEASE/, "holdAnswer")
        const fiber = yield* Effect.forkChild(
          PgTransaction.withTransaction({}, PgTransaction.bounded(add(1), "10 seconds"))
        )
        yield* held.reached
        yield* TestClock.adjust("20 seconds")
        yield* held.release
        yield* Fiber.join(fiber)
        assert.deepStrictEqual(yield* rows, [1])
      }).pipe(Effect.provide(TestClock.layer()))
    ))

  it.live("T19: a row stream ended early is cancelled and fails the transaction if large; a small one leaves it good", () =>
    onTransport((stage) =>
      Effect.gen(function*() {
        const { proxy, sql } = stage
        const { add, rows } = yield* table(stage, "t19")
        const pid = yield* pidOf
        const first = (n: number) =>
          Stream.runCollect(Stream.take(sql`select repeat('x', 100) from generate_series(1, ${n})`.stream, 1))
        const large = yield* Effect.exit(
          PgTransaction.withTransaction({}, Effect.andThen(add(1), first(5_000_000)))
        )
        assert.deepInclude(reasonOf(failureOf(large)), { kind: "TransactionFailed", sqlstate: "57014" })
        assert.strictEqual(yield* proxy.cancels, 1)
        const small = yield* PgTransaction.withTransaction({}, Effect.andThen(add(2), first(3)))
        assert.strictEqual(small.length, 1)
        assert.strictEqual(yield* proxy.cancels, 1)
        assert.deepStrictEqual(yield* rows, [2])
        assert.strictEqual(yield* pidOf, pid)
      })
    ))

  it.live("T20: a late cancel that hits the next statement is somebody else's, not a timeout, and fails the transaction", () =>
    onTransport((stage) =>
      Effect.gen(function*() {
        const { owner, proxy, sql } = stage
        const { add, rows } = yield* table(stage, "t20")
        const lock = yield* hold(owner, 20)
        yield* proxy.cancelMode("late")
        let hit: unknown
        const exit = yield* Effect.exit(PgTransaction.withTransaction(
          {},
          Effect.gen(function*() {
            const struck = yield* proxy.strike(/into t20/, "holdAnswer")
            const fiber = yield* Effect.forkChild(add(1))
            yield* struck.reached
            const interrupting = yield* Effect.forkChild(Fiber.interrupt(fiber))
            yield* until(Effect.map(proxy.cancels, (n) => n === 1))
            yield* struck.release
            yield* Fiber.join(interrupting)
            const next = yield* Effect.forkChild(Effect.exit(sql`select pg_advisory_xact_lock(20)`))
            yield* lock.busy
            yield* proxy.deliverCancels
            hit = failureOf(yield* Fiber.join(next))
          })
        ))
        yield* lock.release
        assert.deepInclude(PgErrors.from(hit), { sqlstate: "57014", retry: "no" })
        assert.deepStrictEqual(PgErrors.from(hit).cancellation, { _tag: "Cancelled", by: "other" })
        assert.deepInclude(reasonOf(failureOf(exit)), { kind: "TransactionFailed", sqlstate: "57014" })
        assert.deepStrictEqual(yield* rows, [])
      })
    ))
})

describe("a multiplexed client, which is not ours", () => {
  it.live("T21: I before the flush: the statement is never sent", () =>
    onPlain((stage) =>
      Effect.gen(function*() {
        const { proxy } = stage
        const { add, rows } = yield* table(stage, "t21")
        const pid = yield* pidOf
        const fiber = yield* Effect.forkChild(add(1), { startImmediately: true })
        fiber.interruptUnsafe()
        isInterruptionOnly(yield* Fiber.await(fiber))
        // What was sent before it has come by when this has its answer.
        assert.strictEqual(yield* pidOf, pid)
        assert.strictEqual(yield* sent(proxy, /into t21/), 0)
        assert.deepStrictEqual(yield* rows, [])
      }), { multiplex: true }))

  it.live("T22: I on the wire does not cancel, and the statement may commit; therefore the layer refuses `multiplex`", () =>
    onPlain((stage) =>
      Effect.gen(function*() {
        const { owner, proxy, sql } = stage
        const { rows } = yield* table(stage, "t22")
        const lock = yield* hold(owner, 22)
        const fiber = yield* Effect.forkChild(sql`insert into t22 select 1 from pg_advisory_xact_lock(22)`)
        yield* lock.busy
        yield* Fiber.interrupt(fiber)
        isInterruptionOnly(yield* Fiber.await(fiber))
        assert.strictEqual(yield* proxy.cancels, 0)
        assert.strictEqual(yield* lock.waiters, 1)
        yield* lock.release
        yield* until(Effect.map(rows, (found) => found.length === 1))

        const misuse = failureOf(yield* Effect.exit(PgQuery.execute(sql`insert into t22 values (2)`)))
        assert.deepInclude(misuse, { _tag: "PgQueryError" })
        assert.deepStrictEqual(yield* rows, [1])

        const options: PgTransport.Options & PgTransport.PoolOptions = Object.assign({ url }, { multiplex: true })
        const refused = failureOf(yield* Effect.exit(Layer.build(PgTransport.layer(options))))
        assert.strictEqual(
          refused instanceof PgTransport.PgTransportError ? refused.reason._tag : refused._tag,
          "ConfigError"
        )
      }), { multiplex: true }))

  it.live("T23: its transactions are pinned, as in row 6, and starting one waits for the session's earlier statements", () =>
    onPlain((stage) =>
      Effect.gen(function*() {
        const { owner, proxy, sql } = stage
        const { add, rows } = yield* table(stage, "t23")
        const pid = yield* pidOf
        const earlier = yield* hold(owner, 231)
        const inside = yield* hold(owner, 232)
        const statement = yield* Effect.forkChild(sql`select 'done' from pg_advisory_xact_lock(231)`.values)
        yield* earlier.busy
        const { listen, told } = yield* listening
        const fiber = yield* Effect.forkChild(
          PgTransaction.withTransaction(
            {},
            Effect.gen(function*() {
              yield* listen
              yield* add(1)
              yield* sql`select pg_advisory_xact_lock(232)`
            })
          ),
          { startImmediately: true }
        )
        assert.strictEqual(yield* earlier.waiters, 1)
        assert.strictEqual(yield* sent(proxy, /BEGIN/), 0)
        yield* earlier.release
        assert.deepStrictEqual(yield* Fiber.join(statement), [["done"]])
        yield* inside.busy
        yield* Fiber.interrupt(fiber)
        isInterruptionOnly(yield* Fiber.await(fiber))
        assert.strictEqual(yield* proxy.cancels, 1)
        assert.deepStrictEqual(told, ["rolledBack"])
        assert.strictEqual((yield* proxy.statements).at(-1), "ROLLBACK")
        assert.deepStrictEqual(yield* rows, [])
        assert.strictEqual(yield* pidOf, pid)
        yield* inside.release
      }), { multiplex: true }))

  it.live("T24: a decode error, an oversized row or a COPY on a plain client destroys the session: SessionLost; neighbours do not know", () =>
    Effect.gen(function*() {
      const breakers = [
        "select array[[1, 2], [3, 4]]",
        "select repeat('x', 300000)",
        "copy (select 1) to stdout"
      ]
      for (const text of breakers) {
        yield* onPlain((stage) =>
          Effect.gen(function*() {
            const { sql } = stage
            const { add, rows } = yield* table(stage, "t24")
            const pid = yield* pidOf
            const exit = yield* Effect.exit(
              PgTransaction.withTransaction({}, Effect.andThen(add(1), sql.unsafe(text)))
            )
            isLost(failureOf(exit), "body")
            assert.notStrictEqual(yield* pidOf, pid)
            assert.deepStrictEqual(yield* rows, [])
          }), { maxMessageSize: 100_000 })
        yield* onPlain((stage) =>
          Effect.gen(function*() {
            const { sql } = stage
            const { add } = yield* table(stage, "t24")
            const [breaker, neighbour] = yield* Effect.all([Effect.exit(sql.unsafe(text)), Effect.exit(add(1))], {
              concurrency: "unbounded"
            })
            assert.isTrue(Exit.isFailure(breaker))
            assert.strictEqual(PgErrors.from(failureOf(neighbour)).outcome, "unknown")
          }), { multiplex: true, maxMessageSize: 100_000 })
      }
      // On a transport too the first two cost the session; a COPY does not.
      for (const text of breakers.slice(0, 2)) {
        yield* onTransport(({ sql }) =>
          Effect.gen(function*() {
            const exit = yield* Effect.exit(PgTransaction.withTransaction({}, sql.unsafe(text)))
            isLost(failureOf(exit), "body")
          }), { maxMessageSize: 100_000 })
      }
    }))
})

/** Starts work now that does something once that is over. */
const after = <A, E>(over: Deferred.Deferred<void>, effect: Effect.Effect<A, E, SqlClient.SqlClient>) =>
  Effect.forkDetach(Effect.exit(Effect.andThen(Deferred.await(over), effect)))

describe("work that outlives its transaction", () => {
  it.live("T25: what was queued before COMMIT is included; what starts later fails typed and does nothing", () =>
    onTransport((stage) =>
      Effect.gen(function*() {
        const { proxy, sql } = stage
        const { add, rows } = yield* table(stage, "t25")
        const over = yield* Deferred.make<void>()
        const [early, late, nested, command, listener] = yield* PgTransaction.withTransaction(
          {},
          Effect.gen(function*() {
            yield* add(1)
            return [
              yield* Effect.forkDetach(add(2), { startImmediately: true }),
              yield* after(over, add(3)),
              yield* after(over, PgTransaction.withTransaction({}, add(4))),
              yield* after(over, PgTransaction.savepoint("a")),
              yield* after(over, PgTransaction.onSettled(() => Effect.void))
            ] as const
          })
        )
        yield* Fiber.join(early)
        assert.deepStrictEqual(yield* rows, [1, 2])
        const before = yield* proxy.statements
        yield* Deferred.succeed(over, undefined)
        const lateError: SqlError.SqlError = failureOf(yield* Fiber.join(late))
        assert.deepInclude(PgErrors.from(lateError), { phase: "ended", retry: "no", outcome: "notApplied" })
        const nestedError = failureOf(yield* Fiber.join(nested))
        assert.deepInclude(reasonOf(nestedError), { _tag: "SessionLost", phase: "ended" })
        assert.deepInclude(PgErrors.from(nestedError), { phase: "ended", retry: "no", outcome: "notApplied" })
        for (const fiber of [command, listener]) {
          const error = failureOf(yield* Effect.flatMap(Fiber.join(fiber), Effect.exit))
          assert.deepInclude(reasonOf(error), { kind: "AlreadySettled" })
        }
        assert.deepStrictEqual(yield* proxy.statements, before)
        assert.deepStrictEqual(yield* rows, [1, 2])
        assert.deepStrictEqual(yield* sql`select 'in order'`.values, [["in order"]])
      })
    ))
})

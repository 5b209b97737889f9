/**
 * Transactions as a program uses them: options, guard, handle, savepoints, repetition. What happens when a fiber is interrupted
 * or a session lost at a given moment is in PgTransactionTiming.test.ts.
 */
import { PgClient } from "@effect/sql-pg"
import { assert, describe, it } from "@effect/vitest"
import { EmbeddedPostgres } from "@restante/embedded-postgres"
import * as PgErrors from "@restante/pg-session/PgErrors"
import * as PgTransaction from "@restante/pg-session/PgTransaction"
import * as PgTransport from "@restante/pg-session/PgTransport"
import {
  Cause,
  Context,
  Deferred,
  Effect,
  Exit,
  Fiber,
  Layer,
  Option,
  Ref,
  Schedule,
  Scope,
  Stream,
  Tracer
} from "effect"
import { SqlClient, type SqlError } from "effect/sql"
import { BeginTransaction } from "effect/sql/SqlClient"
import * as FaultProxy from "./fixtures/pg-session/faultProxy.ts"
import * as PostgresDatabase from "./PostgresDatabase.ts"

const url = await PostgresDatabase.open()

const onTransport = (options: PgTransport.PoolOptions = {}) => PgTransport.layer({ url, maxConnections: 4, ...options })
const plain = PgClient.layer({ url, maxConnections: 4 })

/** An empty table of this name, with a check that a statement can run into. */
const table = Effect.fnUntraced(function*(name: string) {
  const sql = yield* SqlClient.SqlClient
  yield* sql.unsafe(`drop table if exists ${name}`)
  yield* sql.unsafe(`create table ${name} (n int primary key check (n >= 0))`)
  const rows = Effect.map(sql.unsafe(`select n from ${name} order by n`).values, (rows) => rows.map(([n]) => n))
  const add = (n: number) => sql.unsafe(`insert into ${name} values (${n})`)
  return { add, rows }
})

const failureOf = <A, E>(exit: Exit.Exit<A, E>): E => {
  const error = Exit.isFailure(exit) ? Cause.findErrorOption(exit.cause) : Option.none()
  return Option.isSome(error) ? error.value : assert.fail(`no typed failure: ${String(exit)}`)
}

const reasonOf = (error: unknown): PgTransaction.PgTransactionErrorReason =>
  error instanceof PgTransaction.PgTransactionError
    ? error.reason
    : assert.fail(`not of PgTransaction: ${String(error)}`)

const misuseOf = (error: unknown): string => {
  const reason = reasonOf(error)
  return reason._tag === "Misuse" ? reason.kind : assert.fail(reason._tag)
}

/** The statement fails, and the body goes on as if nothing had happened. */
const ignoringFailure = (add: Effect.Effect<unknown, SqlError.SqlError>) => Effect.ignore(add)

const pidOf = Effect.gen(function*() {
  const sql = yield* SqlClient.SqlClient
  return Number((yield* sql`select pg_backend_pid()`.values)[0]?.[0])
})

/** A program with a client by way of a proxy that writes down every statement. */
const observed = <A, E>(
  use: (proxy: FaultProxy.FaultProxy) => Effect.Effect<A, E, SqlClient.SqlClient | PgTransport.PgTransport>
) =>
  Effect.scoped(
    Effect.flatMap(FaultProxy.make(url), (proxy) =>
      Effect.provide(use(proxy), PgTransport.layer({ url: proxy.url, maxConnections: 1 })))
  )

describe("options", () => {
  it.live("case 22: isolation, access and deferrable are in force inside, and absent in what comes next on the session", () =>
    Effect.gen(function*() {
      const sql = yield* SqlClient.SqlClient
      const modes = sql`
        select pg_backend_pid(), current_setting('transaction_isolation'), current_setting('transaction_read_only'),
               current_setting('transaction_deferrable')`.values
      const [outside] = yield* modes
      const pid = outside?.[0]
      assert.deepStrictEqual(outside, [pid, "serializable", "on", "on"])
      for (const isolation of ["read committed", "repeatable read", "serializable", undefined] as const) {
        for (const access of ["read write", "read only", undefined] as const) {
          for (const deferrable of [true, false, undefined]) {
            const inside = yield* PgTransaction.withTransaction({ isolation, access, deferrable }, modes)
            assert.deepStrictEqual(inside, [[
              pid,
              isolation ?? "read committed",
              access === "read only" ? "on" : "off",
              deferrable === false ? "off" : "on"
            ]])
            assert.deepStrictEqual(yield* modes, [[pid, "serializable", "on", "on"]])
          }
        }
      }
      assert.strictEqual((yield* PgTransaction.serializable(modes))[0]?.[1], "serializable")
      assert.strictEqual((yield* PgTransaction.readOnly(modes))[0]?.[2], "on")
    }).pipe(Effect.provide(onTransport({
      maxConnections: 1,
      // Defaults that are the opposite of ours, so that only what BEGIN spells out explains what is seen.
      startupParameters: {
        default_transaction_isolation: "serializable",
        default_transaction_read_only: "on",
        default_transaction_deferrable: "on"
      }
    }))))

  it.live("BEGIN is one round trip with everything in it", () =>
    observed((proxy) =>
      Effect.gen(function*() {
        const sql = yield* SqlClient.SqlClient
        yield* PgTransaction.withTransaction({ isolation: "serializable", deferrable: true }, sql`select 1`)
        const statements = yield* proxy.statements
        assert.match(
          statements[0] ?? "",
          /^\/\*restante:[0-9a-f]{32}\*\/BEGIN ISOLATION LEVEL SERIALIZABLE READ WRITE DEFERRABLE$/
        )
        assert.deepStrictEqual(statements.slice(1), ["select 1", "COMMIT"])
      })
    ))

  it.live("what is no option is refused before anything is sent", () =>
    observed((proxy) =>
      Effect.gen(function*() {
        const foreign: ReadonlyArray<unknown> = [
          { isolation: "read committed; drop table x" },
          { isolation: "toString" },
          { access: "write" },
          { guard: "sometimes" },
          { controlTimeout: 0 },
          { controlTimeout: "soon" },
          { controlTimeout: Number.NaN },
          { deferrable: "x" },
          { trackOutcome: "x" }
        ]
        for (const options of foreign) {
          const exit = yield* Effect.exit(PgTransaction.withTransaction(Object(options), Effect.void))
          assert.strictEqual(misuseOf(failureOf(exit)), "InvalidOptions", JSON.stringify(options))
        }
        assert.deepStrictEqual(yield* proxy.statements, [])
      })
    ))

  it.live("the transaction of one client is not that of another, and BEGIN's text does not get there", () =>
    Effect.gen(function*() {
      const ours = yield* SqlClient.SqlClient
      const other = yield* Effect.map(Layer.build(plain), Context.get(PgClient.PgClient))
      const outcome = yield* PgTransaction.withTransaction(
        { isolation: "serializable" },
        Effect.gen(function*() {
          const pid = yield* pidOf
          const isolation = yield* other.withTransaction(other`select current_setting('transaction_isolation')`.values)
          const inOther = PgTransaction.withTransaction({ isolation: "repeatable read" }, pidOf)
          return { pid, isolation, otherPid: yield* Effect.provideService(inOther, SqlClient.SqlClient, other) }
        })
      )
      assert.deepStrictEqual(outcome.isolation, [["read committed"]])
      assert.notStrictEqual(outcome.pid, outcome.otherPid)
      const text = "BEGIN ISOLATION LEVEL REPEATABLE READ"
      const [[level] = []] = yield* PgTransaction.withTransaction(
        {},
        other.withTransaction(other`select current_setting('transaction_isolation')`.values)
      ).pipe(Effect.provideService(BeginTransaction, text))
      assert.strictEqual(level, "repeatable read")
      assert.isFunction(ours.withTransaction)
    }).pipe(Effect.scoped, Effect.provide(onTransport())))
})

describe("nesting", () => {
  it.live("case 23: options of its own are misuse, without any it is a savepoint, and an inner failure leaves the outer one good", () =>
    Effect.gen(function*() {
      const sql = yield* SqlClient.SqlClient
      const { add, rows } = yield* table("case23")
      yield* PgTransaction.withTransaction(
        { isolation: "serializable" },
        Effect.gen(function*() {
          for (
            const options of [
              { isolation: "read committed" },
              { access: "read only" },
              { deferrable: false },
              { guard: "off" },
              { trackOutcome: true },
              { controlTimeout: "1 second" }
            ] as const
          ) {
            const exit = yield* Effect.exit(PgTransaction.withTransaction(options, add(99)))
            assert.strictEqual(misuseOf(failureOf(exit)), "OptionsInNested", JSON.stringify(options))
          }
          yield* add(1)
          yield* PgTransaction.serializable(add(2))
          const failed = yield* Effect.exit(PgTransaction.withTransaction({}, Effect.andThen(add(3), add(-1))))
          assert.strictEqual(PgErrors.from(failureOf(failed)).sqlstate, "23514")
          const own = yield* Effect.exit(PgTransaction.withTransaction({}, Effect.andThen(add(4), Effect.fail("own"))))
          assert.strictEqual(failureOf(own), "own")
          // The client's own nest either way.
          yield* sql.withTransaction(PgTransaction.withTransaction({}, sql.withTransaction(add(5))))
          yield* Effect.ignore(sql.withTransaction(Effect.andThen(add(6), Effect.fail("undo"))))
        })
      )
      assert.deepStrictEqual(yield* rows, [1, 2, 5])
    }).pipe(Effect.provide(onTransport())))

  it.live("what is no option, duration or name is misuse in a nested transaction too, not a defect", () =>
    Effect.gen(function*() {
      const sql = yield* SqlClient.SqlClient
      const soon = JSON.parse("\"soon\"")
      const checks = Effect.gen(function*() {
        for (
          const step of [
            PgTransaction.withTransaction({ controlTimeout: soon }, Effect.void),
            PgTransaction.bounded(Effect.void, soon)
          ]
        ) {
          assert.strictEqual(misuseOf(failureOf(yield* Effect.exit(step))), "InvalidOptions")
        }
        for (const name of ["null", "[]", "1"]) {
          const exit = yield* Effect.exit(PgTransaction.savepoint(JSON.parse(name)))
          assert.strictEqual(misuseOf(failureOf(exit)), "UnsafeSavepointName", name)
        }
      })
      yield* PgTransaction.withTransaction({}, checks)
      yield* sql.withTransaction(checks)
    }).pipe(Effect.provide(onTransport())))

  it.live("a step that is still open in another fiber when the outer body ends rolls everything back", () =>
    Effect.gen(function*() {
      const { add, rows } = yield* table("openstep")
      const half = yield* Deferred.make<void>()
      const rest = yield* Deferred.make<void>()
      let step: Fiber.Fiber<unknown, unknown> | undefined
      const exit = yield* Effect.exit(PgTransaction.withTransaction(
        {},
        Effect.gen(function*() {
          step = yield* Effect.forkDetach(PgTransaction.withTransaction(
            {},
            Effect.gen(function*() {
              yield* add(1)
              yield* Deferred.succeed(half, undefined)
              yield* Deferred.await(rest)
              yield* add(2)
            })
          ))
          yield* Deferred.await(half)
        })
      ))
      assert.strictEqual(misuseOf(failureOf(exit)), "Unsettled")
      assert.strictEqual(PgErrors.from(failureOf(exit)).outcome, "notApplied")
      yield* Deferred.succeed(rest, undefined)
      const late = failureOf(step === undefined ? assert.fail() : yield* Fiber.await(step))
      assert.deepInclude(PgErrors.from(late), { phase: "ended", retry: "no", outcome: "notApplied" })
      assert.deepStrictEqual(yield* rows, [])
    }).pipe(Effect.provide(onTransport())))

  it.live("in the failed state no savepoint is sent for a step", () =>
    observed((proxy) =>
      Effect.gen(function*() {
        const { add, rows } = yield* table("failedstep")
        yield* PgTransaction.withTransaction(
          {},
          Effect.gen(function*() {
            yield* PgTransaction.savepoint("a")
            yield* ignoringFailure(add(-1))
            const before = yield* proxy.statements
            for (
              const step of [PgTransaction.withTransaction({}, add(1)), PgTransaction.bounded(add(1), "20 seconds")]
            ) {
              const exit = yield* Effect.exit(step)
              assert.deepInclude(reasonOf(failureOf(exit)), { kind: "TransactionFailed", sqlstate: "23514" })
            }
            assert.deepStrictEqual(yield* proxy.statements, before)
            yield* PgTransaction.rollbackTo("a")
            yield* PgTransaction.withTransaction({}, add(2))
          })
        )
        assert.deepStrictEqual(yield* rows, [2])
      })
    ))

  it.live("siblings run one after the other, and one that waits can be interrupted", () =>
    Effect.gen(function*() {
      const { add, rows } = yield* table("siblings")
      const order: Array<string> = []
      yield* PgTransaction.withTransaction(
        {},
        Effect.gen(function*() {
          const entered = yield* Deferred.make<void>()
          const go = yield* Deferred.make<void>()
          const first = yield* Effect.forkChild(PgTransaction.withTransaction(
            {},
            Effect.gen(function*() {
              order.push("first begins")
              yield* Deferred.succeed(entered, undefined)
              yield* Deferred.await(go)
              yield* add(1)
              order.push("first ends")
            })
          ))
          yield* Deferred.await(entered)
          const second = yield* Effect.forkChild(PgTransaction.withTransaction(
            {},
            Effect.andThen(add(2), Effect.sync(() => order.push("second")))
          ))
          const third = yield* Effect.forkChild(PgTransaction.withTransaction({}, add(3)))
          yield* Effect.yieldNow
          yield* Fiber.interrupt(third)
          yield* Deferred.succeed(go, undefined)
          yield* Fiber.join(first)
          yield* Fiber.join(second)
        })
      )
      assert.deepStrictEqual(order, ["first begins", "first ends", "second"])
      assert.deepStrictEqual(yield* rows, [1, 2])
    }).pipe(Effect.provide(onTransport())))

  it.live("inside a transaction of the client's own it is a savepoint, and any option is misuse", () =>
    Effect.gen(function*() {
      const sql = yield* SqlClient.SqlClient
      const { add, rows } = yield* table("inforeign")
      yield* sql.withTransaction(Effect.gen(function*() {
        yield* PgTransaction.withTransaction({}, add(1))
        yield* Effect.ignore(PgTransaction.withTransaction({}, Effect.andThen(add(2), add(-1))))
        yield* Effect.ignore(PgTransaction.bounded(Effect.andThen(add(3), Effect.never), "10 millis"))
        yield* PgTransaction.savepoint("s")
        yield* add(4)
        yield* PgTransaction.rollbackTo("s")
        const exit = yield* Effect.exit(PgTransaction.serializable(add(5)))
        assert.strictEqual(misuseOf(failureOf(exit)), "OptionsInNested")
        const settled = yield* Effect.exit(PgTransaction.onSettled(() => Effect.void))
        assert.strictEqual(misuseOf(failureOf(settled)), "NoTransaction")
      }))
      assert.deepStrictEqual(yield* rows, [1])
    }).pipe(Effect.provide(plain)))

  it.live("a step that succeeds although a statement in it failed is undone, and the outer transaction stays good", () =>
    Effect.gen(function*() {
      const { add, rows } = yield* table("badstep")
      yield* PgTransaction.withTransaction(
        {},
        Effect.gen(function*() {
          yield* add(1)
          const exit = yield* Effect.exit(
            PgTransaction.withTransaction({}, Effect.andThen(add(2), ignoringFailure(add(-1))))
          )
          assert.deepInclude(reasonOf(failureOf(exit)), { kind: "TransactionFailed", sqlstate: "23514" })
          yield* add(3)
        })
      )
      assert.deepStrictEqual(yield* rows, [1, 3])
    }).pipe(Effect.provide(onTransport())))

  it.live("`bounded` outside a transaction and `retrying` inside one are misuse", () =>
    Effect.gen(function*() {
      const outside = yield* Effect.exit(PgTransaction.bounded(Effect.void, "1 second"))
      assert.strictEqual(misuseOf(failureOf(outside)), "NoTransaction")
      const inside = yield* Effect.exit(
        PgTransaction.withTransaction({}, PgTransaction.retrying({}, Effect.void))
      )
      assert.strictEqual(misuseOf(failureOf(inside)), "InTransaction")
    }).pipe(Effect.provide(onTransport())))
})

describe("the guard", () => {
  it.live("a statement that fails after the body has ended fails the transaction, and its SQLSTATE is known", () =>
    Effect.gen(function*() {
      const sql = yield* SqlClient.SqlClient
      const { add, rows } = yield* table("failed_late")
      const exit = yield* Effect.exit(PgTransaction.withTransaction(
        {},
        Effect.andThen(
          add(1),
          Effect.forkDetach(sql`select 1 / (0 * length(pg_sleep(0.3)::text))`, { startImmediately: true })
        )
      ))
      const reason = reasonOf(failureOf(exit))
      assert.deepInclude(reason, { _tag: "Misuse", kind: "TransactionFailed", sqlstate: "22012" })
      assert.deepStrictEqual(yield* rows, [])
    }).pipe(Effect.provide(onTransport())))

  it.live("case 24: in the failed state no COMMIT is sent, as the server's log says, and the misuse has the first error's SQLSTATE", () =>
    Effect.gen(function*() {
      const transport = yield* PgTransport.PgTransport
      const sql = yield* SqlClient.SqlClient
      const { add, rows } = yield* table("case24")
      const log: Array<string> = []
      const reader = yield* Effect.forkChild(
        Stream.runForEach(transport.notices, ({ fields }) => Effect.sync(() => log.push(fields.message ?? ""))),
        { startImmediately: true }
      )
      const exit = yield* Effect.exit(PgTransaction.withTransaction(
        {},
        Effect.gen(function*() {
          yield* add(1)
          yield* ignoringFailure(add(-1))
          yield* ignoringFailure(add(2))
        })
      ))
      const reason = reasonOf(failureOf(exit))
      assert.deepInclude(reason, { _tag: "Misuse", kind: "TransactionFailed", sqlstate: "23514" })
      assert.strictEqual(PgErrors.from(failureOf(exit)).outcome, "notApplied")
      yield* sql`select 'the end'`
      yield* Effect.repeat(Effect.sync(() => log.some((line) => line.includes("the end"))), {
        until: (seen) => seen,
        schedule: Schedule.spaced("5 millis")
      })
      yield* Fiber.interrupt(reader)
      assert.isTrue(log.some((line) => line.endsWith("ROLLBACK")), log.join("\n"))
      assert.isFalse(log.some((line) => line.endsWith("COMMIT")), log.join("\n"))
      assert.deepStrictEqual(yield* rows, [])
    }).pipe(Effect.provide(onTransport({
      maxConnections: 1,
      startupParameters: { log_statement: "all", client_min_messages: "log" }
    }))))

  it.live("a body that ended the transaction itself is found out, and only a ROLLBACK is sent", () =>
    observed((proxy) =>
      Effect.gen(function*() {
        const sql = yield* SqlClient.SqlClient
        const { add, rows } = yield* table("ended")
        for (const again of [Effect.void, sql.unsafe("BEGIN").unprepared]) {
          const before = (yield* proxy.statements).length
          const exit = yield* Effect.exit(PgTransaction.withTransaction(
            {},
            Effect.gen(function*() {
              yield* sql.unsafe("ROLLBACK").unprepared
              yield* again
            })
          ))
          assert.strictEqual(misuseOf(failureOf(exit)), "TransactionNotActive")
          const sent = (yield* proxy.statements).slice(before + 1)
          assert.strictEqual(sent.at(-1), "ROLLBACK")
          assert.notInclude(sent, "COMMIT")
        }
        // What the body committed stays, so it is not known to be undone.
        const exit = yield* Effect.exit(
          PgTransaction.withTransaction({}, Effect.andThen(add(1), sql.unsafe("COMMIT").unprepared))
        )
        assert.strictEqual(misuseOf(failureOf(exit)), "TransactionNotActive")
        assert.strictEqual(PgErrors.from(failureOf(exit)).outcome, "unknown")
        assert.deepStrictEqual(yield* rows, [1])
      })
    ))

  for (const [where, layer] of [["on a plain client", plain], ["on a transport", onTransport()]] as const) {
    it.live(`\`marker\` ${where} finds all that, and AND CHAIN, which leaves no trace in the state`, () =>
      Effect.gen(function*() {
        const sql = yield* SqlClient.SqlClient
        const { add, rows } = yield* table("marker")
        const failing = (text: string) =>
          Effect.map(
            Effect.exit(PgTransaction.withTransaction({ guard: "marker" }, sql.unsafe(text).unprepared)),
            (exit) => misuseOf(failureOf(exit))
          )
        assert.strictEqual(yield* failing("COMMIT AND CHAIN"), "TransactionNotActive")
        assert.strictEqual(yield* failing("ROLLBACK AND CHAIN"), "TransactionNotActive")
        assert.strictEqual(yield* failing("COMMIT"), "TransactionNotActive")
        const failed = yield* Effect.exit(
          PgTransaction.withTransaction({ guard: "marker" }, ignoringFailure(add(-1)))
        )
        assert.strictEqual(misuseOf(failureOf(failed)), "TransactionFailed")
        yield* PgTransaction.withTransaction({ guard: "marker" }, add(1))
        yield* PgTransaction.withTransaction(
          { guard: "marker" },
          Effect.gen(function*() {
            yield* PgTransaction.savepoint("a")
            yield* ignoringFailure(add(-1))
            yield* PgTransaction.rollbackTo("a")
            yield* add(2)
          })
        )
        assert.deepStrictEqual(yield* rows, [1, 2])
      }).pipe(Effect.provide(layer)))
  }

  it.live("`off` sends COMMIT, and a plain client's word that the server rolled back is `TransactionFailed` too", () =>
    Effect.gen(function*() {
      const { add, rows } = yield* table("off")
      const exit = yield* Effect.exit(
        PgTransaction.withTransaction({}, Effect.andThen(add(1), ignoringFailure(add(-1))))
      )
      assert.strictEqual(misuseOf(failureOf(exit)), "TransactionFailed")
      assert.deepStrictEqual(yield* rows, [])
    }).pipe(Effect.provide(plain)))

  it.live("`transport` with a plain client is misuse, and nothing is sent", () =>
    Effect.scoped(Effect.gen(function*() {
      const proxy = yield* FaultProxy.make(url)
      const exit = yield* Effect.exit(PgTransaction.withTransaction({ guard: "transport" }, Effect.void)).pipe(
        Effect.provide(PgClient.layer({ url: proxy.url }))
      )
      assert.strictEqual(misuseOf(failureOf(exit)), "GuardUnavailable")
      assert.deepStrictEqual(yield* proxy.statements, [])
    })))

  it.live("a session whose transaction cannot be ended is destroyed, so that nobody else gets into it", () =>
    Effect.gen(function*() {
      const sql = yield* SqlClient.SqlClient
      const { add, rows } = yield* table("unended")
      // The driver prepares COMMIT and ROLLBACK; without its statements the server refuses both.
      yield* PgTransaction.withTransaction({}, Effect.void)
      yield* Effect.ignore(PgTransaction.withTransaction({}, Effect.fail("prepares ROLLBACK")))
      const pid = yield* pidOf
      const own = yield* Effect.exit(PgTransaction.withTransaction(
        {},
        Effect.andThen(add(1), Effect.andThen(sql.unsafe("DEALLOCATE ALL").unprepared, Effect.fail("own")))
      ))
      assert.strictEqual(failureOf(own), "own")
      const next = yield* pidOf
      assert.notStrictEqual(next, pid)
      yield* PgTransaction.withTransaction({}, Effect.void)
      const exit = yield* Effect.exit(PgTransaction.withTransaction(
        {},
        Effect.andThen(add(2), sql.unsafe("DEALLOCATE ALL").unprepared)
      ))
      assert.strictEqual(PgErrors.from(failureOf(exit)).sqlstate, "26000")
      assert.notStrictEqual(yield* pidOf, next)
      assert.deepStrictEqual(yield* rows, [])
    }).pipe(Effect.provide(onTransport({ maxConnections: 1 }))))
})

const notActive = (error: unknown) => {
  assert.strictEqual(misuseOf(error), "TransactionNotActive")
  assert.strictEqual(PgErrors.from(error).outcome, "unknown")
}

describe("the handle", () => {
  it.live("case 26: a second settle and a run after settling are misuse and send nothing, in `manual` and `begin`", () =>
    observed((proxy) =>
      Effect.gen(function*() {
        const sql = yield* SqlClient.SqlClient
        const { add, rows } = yield* table("case26")
        const value = yield* PgTransaction.manual({}, (tx) =>
          Effect.gen(function*() {
            yield* tx.run(add(1))
            const settled = yield* tx.commit("value")
            const before = yield* proxy.statements
            assert.strictEqual(before.at(-1), "COMMIT")
            for (
              const attempt of [
                tx.commit(),
                tx.rollback(),
                tx.run(sql`select 1`),
                tx.savepoint("a"),
                tx.release("a"),
                tx.rollbackTo("a")
              ]
            ) {
              const exit = yield* Effect.exit(Effect.asVoid<unknown, unknown, never>(attempt))
              assert.strictEqual(misuseOf(failureOf(exit)), "AlreadySettled")
            }
            assert.deepStrictEqual(yield* proxy.statements, before)
            return settled
          }))
        assert.strictEqual(value, "value")
        assert.strictEqual(
          yield* PgTransaction.manual({}, (tx) => Effect.andThen(tx.run(add(2)), tx.rollback(2))),
          2
        )
        assert.deepStrictEqual(yield* rows, [1])
      })
    ))

  it.live("case 26: of two that settle at the same time one wins", () =>
    Effect.gen(function*() {
      const { add, rows } = yield* table("race")
      for (const n of [1, 2, 3]) {
        yield* Effect.scoped(Effect.gen(function*() {
          const tx = yield* PgTransaction.begin()
          yield* tx.run(add(n))
          const [commit, rollback] = yield* Effect.all([Effect.exit(tx.commit()), Effect.exit(tx.rollback())], {
            concurrency: "unbounded"
          })
          assert.notStrictEqual(Exit.isSuccess(commit), Exit.isSuccess(rollback))
          assert.strictEqual(misuseOf(failureOf(Exit.isSuccess(commit) ? rollback : commit)), "AlreadySettled")
          assert.strictEqual((yield* rows).includes(n), Exit.isSuccess(commit))
        }))
      }
    }).pipe(Effect.provide(onTransport())))

  it("case 26: forgetting to settle in `manual` does not compile", () => {
    // @ts-expect-error A bare value is no proof of a settled transaction.
    const forgot = PgTransaction.manual({}, () => Effect.succeed(1))
    // @ts-expect-error Nor is one made by hand.
    const forged = PgTransaction.manual({}, () => Effect.succeed({ value: 1 }))
    // @ts-expect-error Nor is what `run` gives.
    const ran = PgTransaction.manual({}, (tx) => tx.run(Effect.void))
    const settled = PgTransaction.manual({}, (tx) => tx.commit(1))
    assert.isTrue([forgot, forged, ran, settled].every(Effect.isEffect))
  })

  it.live("case 27: unsettled it is rolled back, and the scope that was closing successfully dies with Unsettled", () =>
    Effect.gen(function*() {
      const { add, rows } = yield* table("case27")
      const unsettled = yield* Effect.exit(Effect.scoped(Effect.gen(function*() {
        const tx = yield* PgTransaction.begin()
        yield* tx.run(add(1))
      })))
      const defect = Exit.isFailure(unsettled) ? Cause.squash(unsettled.cause) : assert.fail("closed successfully")
      assert.strictEqual(misuseOf(defect), "Unsettled")
      assert.isTrue(Exit.isFailure(unsettled) && unsettled.cause.reasons.every(Cause.isDieReason))

      const failed = yield* Effect.exit(Effect.scoped(Effect.gen(function*() {
        const tx = yield* PgTransaction.begin()
        yield* tx.run(add(2))
        return yield* Effect.fail("own")
      })))
      assert.deepStrictEqual(failed, Exit.fail("own"))

      const fiber = yield* Effect.forkChild(Effect.scoped(Effect.gen(function*() {
        const tx = yield* PgTransaction.begin()
        yield* tx.run(add(3))
        return yield* Effect.never
      })))
      yield* Effect.yieldNow
      yield* Fiber.interrupt(fiber)
      const exit = yield* Fiber.await(fiber)
      assert.isTrue(Exit.isFailure(exit) && Cause.hasInterruptsOnly(exit.cause))

      const forgotten = yield* Effect.exit(
        PgTransaction.manual({}, (tx) => Effect.andThen(tx.run(add(4)), Effect.fail("before settling")))
      )
      assert.deepStrictEqual(forgotten, Exit.fail("before settling"))
      assert.deepStrictEqual(yield* rows, [])
    }).pipe(Effect.provide(onTransport({ maxConnections: 1 }))))

  it.live("case 29: afterCommit inside `run` fires once, after the commit, and not after a rollback", () =>
    Effect.gen(function*() {
      const sql = yield* SqlClient.SqlClient
      const { add, rows } = yield* table("case29")
      const seen: Array<unknown> = []
      const look = Effect.flatMap(Effect.orDie(rows), (found) => Effect.sync(() => seen.push(found)))
      yield* Effect.scoped(Effect.gen(function*() {
        const tx = yield* PgTransaction.begin()
        yield* tx.run(Effect.andThen(add(1), sql.afterCommit(Effect.asVoid(look))))
        assert.deepStrictEqual(seen, [])
        yield* tx.commit()
        assert.deepStrictEqual(seen, [[1]])
      }))
      yield* PgTransaction.manual(
        {},
        (tx) => Effect.andThen(tx.run(Effect.andThen(add(2), sql.afterCommit(Effect.asVoid(look)))), tx.rollback())
      )
      assert.deepStrictEqual(seen, [[1]])
    }).pipe(Effect.provide(onTransport())))

  it.live("`run` lends the transaction and nothing else: services, span and nesting are those of the caller", () =>
    Effect.gen(function*() {
      const sql = yield* SqlClient.SqlClient
      const { add, rows } = yield* table("lent")
      class Mine extends Context.Service<Mine, string>()("Mine") {}
      yield* Effect.scoped(Effect.gen(function*() {
        const tx = yield* PgTransaction.begin({ isolation: "repeatable read" }).pipe(
          Effect.withSpan("opening"),
          Effect.provideService(Mine, "the opener's")
        )
        const [mine, span] = yield* tx.run(
          Effect.all([Mine, Effect.map(Effect.currentSpan, (span) => span.name)])
        ).pipe(Effect.withSpan("calling"), Effect.provideService(Mine, "the caller's"))
        assert.deepStrictEqual([mine, span], ["the caller's", "calling"])
        const pids = yield* Effect.all([tx.run(pidOf), tx.run(sql.withTransaction(pidOf)), tx.run(pidOf)])
        assert.strictEqual(new Set(pids).size, 1)
        assert.strictEqual(tx.pid, pids[0])
        assert.notStrictEqual(yield* pidOf, pids[0])
        yield* tx.run(PgTransaction.withTransaction({ isolation: "repeatable read" }, add(1)))
        yield* Effect.ignore(tx.run(sql.withTransaction(Effect.andThen(add(2), Effect.fail("undo")))))
        yield* Effect.all([tx.run(PgTransaction.withTransaction({}, add(3))), tx.run(sql.withTransaction(add(4)))], {
          concurrency: "unbounded"
        })
        assert.deepStrictEqual(yield* rows, [])
        yield* tx.commit()
      }))
      assert.deepStrictEqual(yield* rows, [1, 3, 4])
    }).pipe(Effect.provide(onTransport())))

  it.live("its commit has the guard, and the errors of one", () =>
    Effect.gen(function*() {
      const { add, rows } = yield* table("guarded")
      yield* Effect.scoped(Effect.gen(function*() {
        const tx = yield* PgTransaction.begin()
        yield* tx.run(add(1))
        yield* ignoringFailure(Effect.orDie(tx.run(Effect.ignore(add(-1)))))
        const exit = yield* Effect.exit(tx.commit())
        assert.deepInclude(reasonOf(failureOf(exit)), { kind: "TransactionFailed", sqlstate: "23514" })
      }))
      assert.deepStrictEqual(yield* rows, [])
    }).pipe(Effect.provide(onTransport({ maxConnections: 1 }))))

  it.live("begun within a transaction and not settled before its end, it has the whole rolled back, and says so", () =>
    Effect.gen(function*() {
      const sql = yield* SqlClient.SqlClient
      const { add, rows } = yield* table("unsettledinside")
      type Body = Effect.Effect<void, SqlError.SqlError | PgTransaction.PgTransactionError, SqlClient.SqlClient>
      const leave = (enclose: (body: Body) => Body) =>
        Effect.gen(function*() {
          const scope = yield* Scope.make()
          let handle: PgTransaction.Transaction | undefined
          const outer = yield* Effect.exit(PgTransaction.withTransaction(
            {},
            enclose(Effect.gen(function*() {
              handle = yield* Scope.provide(PgTransaction.begin(), scope)
              yield* handle.run(add(1))
            }))
          ))
          assert.strictEqual(misuseOf(failureOf(outer)), "Unsettled")
          assert.deepStrictEqual(yield* rows, [])
          return { scope, tx: handle ?? assert.fail() }
        })
      // In a level of the client's own too, which commits it half.
      for (const enclose of [(body: Body) => body, (body: Body) => sql.withTransaction(body)]) {
        const rolledBack = yield* leave(enclose)
        yield* rolledBack.tx.rollback()
        yield* Scope.close(rolledBack.scope, Exit.void)
        const committed = yield* leave(enclose)
        const commit = yield* Effect.exit(committed.tx.commit())
        assert.deepInclude(reasonOf(failureOf(commit)), { _tag: "SessionLost", phase: "ended" })
        const left = yield* leave(enclose)
        const closed = yield* Effect.exit(Scope.close(left.scope, Exit.void))
        assert.strictEqual(misuseOf(Exit.isFailure(closed) ? Cause.squash(closed.cause) : undefined), "Unsettled")
      }
      assert.deepStrictEqual(yield* rows, [])
    }).pipe(Effect.provide(onTransport())))

  it.live("begun within a transaction of the client's own that ended first, it does not claim to have been rolled back", () =>
    Effect.gen(function*() {
      const sql = yield* SqlClient.SqlClient
      const { add, rows } = yield* table("overtaken")
      const left = (n: number) =>
        Effect.gen(function*() {
          const scope = yield* Scope.make()
          const tx = yield* sql.withTransaction(
            Effect.tap(Scope.provide(PgTransaction.begin(), scope), (tx) => tx.run(add(n)))
          )
          return { scope, tx }
        })
      notActive(failureOf(yield* Effect.exit((yield* left(1)).tx.rollback())))
      notActive(failureOf(yield* Effect.exit((yield* left(2)).tx.commit())))
      const closed = yield* Effect.exit(Scope.close((yield* left(3)).scope, Exit.void))
      notActive(Exit.isFailure(closed) ? Cause.squash(closed.cause) : undefined)
      // What the client's transaction committed.
      assert.deepStrictEqual(yield* rows, [1, 2, 3])
    }).pipe(Effect.provide(plain)))

  it.live("committed from within a step of it, everything is rolled back", () =>
    Effect.gen(function*() {
      const { add, rows } = yield* table("commitinside")
      yield* Effect.scoped(Effect.gen(function*() {
        const tx = yield* PgTransaction.begin()
        yield* Effect.exit(tx.run(PgTransaction.withTransaction(
          {},
          Effect.gen(function*() {
            yield* add(1)
            assert.strictEqual(misuseOf(failureOf(yield* Effect.exit(tx.commit()))), "Unsettled")
          })
        )))
      }))
      assert.deepStrictEqual(yield* rows, [])
    }).pipe(Effect.provide(onTransport())))

  it.live("`run` within a step of its own transaction stays in the step, and does not wait for itself", () =>
    Effect.gen(function*() {
      const { add, rows } = yield* table("runinside")
      yield* PgTransaction.manual({}, (tx) =>
        Effect.gen(function*() {
          const step = PgTransaction.withTransaction(
            {},
            Effect.gen(function*() {
              yield* tx.run(PgTransaction.withTransaction({}, add(1)))
              yield* tx.savepoint("s")
              yield* add(2)
              yield* tx.rollbackTo("s")
              yield* tx.run(add(3))
              return yield* Effect.fail("undo")
            })
          )
          assert.strictEqual(failureOf(yield* Effect.exit(tx.run(step))), "undo")
          yield* tx.run(add(4))
          assert.strictEqual(misuseOf(failureOf(yield* Effect.exit(tx.rollbackTo("s")))), "NoSuchSavepoint")
          return yield* tx.commit()
        }))
      assert.deepStrictEqual(yield* rows, [4])
    }).pipe(Effect.timeout("20 seconds"), Effect.provide(onTransport())))

  it.live("`manual` given the proof of another handle fails with Unsettled, and rolls its own transaction back", () =>
    Effect.gen(function*() {
      const { add, rows } = yield* table("otherproof")
      const other = yield* Effect.scoped(Effect.flatMap(PgTransaction.begin(), (tx) => tx.commit(1)))
      const exit = yield* Effect.exit(PgTransaction.manual({}, (tx) => Effect.as(tx.run(add(1)), other)))
      assert.strictEqual(misuseOf(failureOf(exit)), "Unsettled")
      assert.isTrue(Exit.isFailure(exit) && exit.cause.reasons.every(Cause.isFailReason))
      assert.deepStrictEqual(yield* rows, [])
    }).pipe(Effect.provide(onTransport())))

  it.live("works on a plain client too", () =>
    Effect.gen(function*() {
      const { add, rows } = yield* table("plainhandle")
      yield* PgTransaction.manual({}, (tx) =>
        Effect.gen(function*() {
          yield* tx.run(add(1))
          assert.strictEqual(yield* tx.run(pidOf), tx.pid)
          return yield* tx.commit()
        }))
      assert.deepStrictEqual(yield* rows, [1])
    }).pipe(Effect.provide(plain)))

  it.live("is interrupted at once while it waits for a connection, and leaves nothing", () =>
    Effect.gen(function*() {
      yield* Effect.scoped(Effect.gen(function*() {
        const tx = yield* PgTransaction.begin()
        const fiber = yield* Effect.forkChild(Effect.scoped(PgTransaction.begin()), { startImmediately: true })
        yield* Effect.yieldNow
        yield* Fiber.interrupt(fiber)
        yield* tx.rollback()
      }))
      assert.isAbove(yield* pidOf, 0)
    }).pipe(Effect.provide(onTransport({ maxConnections: 1 }))))
})

describe("savepoints", () => {
  it.live("case 28: set, roll back to, release; repeated names hide each other; the failed state is left by rolling back", () =>
    Effect.gen(function*() {
      const { add, rows } = yield* table("case28")
      yield* PgTransaction.withTransaction(
        {},
        Effect.gen(function*() {
          yield* PgTransaction.savepoint("a")
          yield* add(1)
          yield* PgTransaction.savepoint("Mixed_1$")
          yield* add(2)
          yield* PgTransaction.rollbackTo("Mixed_1$")
          yield* PgTransaction.savepoint("a")
          yield* add(3)
          yield* PgTransaction.rollbackTo("a")
          yield* PgTransaction.release("a")
          // The older one again.
          yield* add(4)
          yield* ignoringFailure(add(-1))
          const refused = yield* Effect.exit(PgTransaction.savepoint("b"))
          assert.deepInclude(reasonOf(failureOf(refused)), { kind: "TransactionFailed", sqlstate: "23514" })
          const kept = yield* Effect.exit(PgTransaction.release("a"))
          assert.deepInclude(reasonOf(failureOf(kept)), { kind: "TransactionFailed", sqlstate: "23514" })
          yield* PgTransaction.rollbackTo("a")
          yield* add(5)
          yield* PgTransaction.release("a")
        })
      )
      assert.deepStrictEqual(yield* rows, [5])
    }).pipe(Effect.provide(onTransport())))

  it.live("case 28: unsafe, unknown, released and popped names are refused here, nothing is sent, and the transaction stays good", () =>
    observed((proxy) =>
      Effect.gen(function*() {
        const sql = yield* SqlClient.SqlClient
        const { add, rows } = yield* table("refused")
        yield* PgTransaction.withTransaction(
          {},
          Effect.gen(function*() {
            yield* PgTransaction.savepoint("a")
            yield* PgTransaction.savepoint("x".repeat(63))
            yield* PgTransaction.savepoint("popped")
            yield* PgTransaction.rollbackTo("a")
            yield* PgTransaction.savepoint("released")
            yield* PgTransaction.release("released")
            yield* PgTransaction.withTransaction({}, PgTransaction.savepoint("inner"))
            yield* sql.withTransaction(PgTransaction.savepoint("inner"))
            const before = yield* proxy.statements
            for (const name of ["popped", "released", "inner", "A", "never", "\"", "effect_sql_1"]) {
              for (const command of [PgTransaction.release, PgTransaction.rollbackTo]) {
                assert.strictEqual(misuseOf(failureOf(yield* Effect.exit(command(name)))), "NoSuchSavepoint")
              }
            }
            for (
              const name of ["", "1a", "a b", "a\"b", "a;b", "a\0", "ä", "a\n", "x".repeat(64), "effect_sql_1", "$a"]
            ) {
              const exit = yield* Effect.exit(PgTransaction.savepoint(name))
              assert.strictEqual(misuseOf(failureOf(exit)), "UnsafeSavepointName", JSON.stringify(name))
            }
            assert.deepStrictEqual(yield* proxy.statements, before)
            yield* add(1)
          })
        )
        assert.deepStrictEqual(yield* rows, [1])
      })
    ))

  it.live("a nested level cannot reach the savepoints outside it, and leaving it keeps them", () =>
    Effect.gen(function*() {
      const sql = yield* SqlClient.SqlClient
      const { add, rows } = yield* table("levels")
      yield* PgTransaction.withTransaction(
        {},
        Effect.gen(function*() {
          yield* PgTransaction.savepoint("a")
          yield* add(1)
          for (const nest of [PgTransaction.withTransaction({}, reachOut), sql.withTransaction(reachOut)]) {
            assert.strictEqual(yield* nest, "NoSuchSavepoint")
          }
          yield* sql.withTransaction(Effect.gen(function*() {
            yield* PgTransaction.savepoint("a")
            yield* add(2)
            yield* PgTransaction.rollbackTo("a")
          }))
          yield* PgTransaction.rollbackTo("a")
          yield* add(3)
        })
      )
      assert.deepStrictEqual(yield* rows, [3])
    }).pipe(Effect.provide(onTransport())))

  it.live("while a step is open in the level its commands are misuse, nothing is sent, and all stays good", () =>
    observed((proxy) =>
      Effect.gen(function*() {
        const { add, rows } = yield* table("steplevel")
        yield* PgTransaction.manual({}, (tx) =>
          Effect.gen(function*() {
            yield* tx.savepoint("x")
            const entered = yield* Deferred.make<void>()
            const go = yield* Deferred.make<void>()
            const step = yield* Effect.forkChild(tx.run(PgTransaction.withTransaction(
              {},
              Effect.gen(function*() {
                yield* add(1)
                yield* Deferred.succeed(entered, undefined)
                yield* Deferred.await(go)
              })
            )))
            yield* Deferred.await(entered)
            const before = yield* proxy.statements
            for (const command of [tx.savepoint("y"), tx.release("x"), tx.rollbackTo("x")]) {
              assert.strictEqual(misuseOf(failureOf(yield* Effect.exit(command))), "StepOpen")
            }
            assert.deepStrictEqual(yield* proxy.statements, before)
            yield* Deferred.succeed(go, undefined)
            yield* Fiber.join(step)
            yield* tx.rollbackTo("x")
            yield* tx.run(add(2))
            return yield* tx.commit()
          }))
        assert.deepStrictEqual(yield* rows, [2])
      })
    ))

  it.live("case 28: on a plain client the server refuses in the failed state, and the savepoint is still there to roll back to", () =>
    Effect.gen(function*() {
      const { add, rows } = yield* table("plainfailed")
      yield* PgTransaction.withTransaction(
        {},
        Effect.gen(function*() {
          yield* PgTransaction.savepoint("a")
          yield* ignoringFailure(add(-1))
          for (const command of [PgTransaction.savepoint("b"), PgTransaction.release("a")]) {
            assert.strictEqual(PgErrors.from(failureOf(yield* Effect.exit(command))).sqlstate, "25P02")
          }
          yield* PgTransaction.rollbackTo("a")
          assert.strictEqual(misuseOf(failureOf(yield* Effect.exit(PgTransaction.release("b")))), "NoSuchSavepoint")
          yield* add(1)
        })
      )
      assert.deepStrictEqual(yield* rows, [1])
    }).pipe(Effect.provide(plain)))

  it.live("the handle's are those of its transaction, and outside one there is none", () =>
    Effect.gen(function*() {
      const { add, rows } = yield* table("handlesavepoints")
      yield* PgTransaction.manual({}, (tx) =>
        Effect.gen(function*() {
          yield* tx.savepoint("a")
          yield* tx.run(add(1))
          yield* tx.rollbackTo("a")
          yield* tx.run(Effect.andThen(add(2), PgTransaction.release("a")))
          assert.strictEqual(misuseOf(failureOf(yield* Effect.exit(tx.release("a")))), "NoSuchSavepoint")
          return yield* tx.commit()
        }))
      assert.deepStrictEqual(yield* rows, [2])
      for (const command of [PgTransaction.savepoint, PgTransaction.release, PgTransaction.rollbackTo]) {
        assert.strictEqual(misuseOf(failureOf(yield* Effect.exit(command("a")))), "NoTransaction")
      }
    }).pipe(Effect.provide(plain)))
})

const reachOut = Effect.map(Effect.exit(PgTransaction.rollbackTo("a")), (exit) => misuseOf(failureOf(exit)))

const ask = (xid: string) =>
  PgTransaction.resolveOutcome(
    new PgTransaction.PgTransactionError({
      reason: new PgTransaction.CommitOutcomeUnknown({ xid, cause: new Error("lost") })
    })
  )

describe("outcomes", () => {
  it.live("case 31: a deferred constraint violated at COMMIT is the server's 23503, and rolled back", () =>
    Effect.gen(function*() {
      const sql = yield* SqlClient.SqlClient
      yield* sql`drop table if exists child31`
      yield* sql`drop table if exists parent31`
      yield* sql`create table parent31 (id int primary key)`
      yield* sql`create table child31 (id int references parent31 deferrable initially deferred)`
      const outcomes: Array<PgTransaction.Outcome> = []
      const committed: Array<string> = []
      const exit = yield* Effect.exit(PgTransaction.withTransaction(
        {},
        Effect.gen(function*() {
          yield* PgTransaction.onSettled((outcome) => Effect.sync(() => void outcomes.push(outcome)))
          yield* sql.afterCommit(Effect.sync(() => void committed.push("committed")))
          yield* sql`insert into child31 values (1)`
        })
      ))
      const error = failureOf(exit)
      assert.strictEqual(error._tag, "SqlError")
      assert.strictEqual(PgErrors.from(error).sqlstate, "23503")
      assert.strictEqual(PgErrors.from(error).outcome, "notApplied")
      assert.deepStrictEqual(outcomes, ["rolledBack"])
      assert.deepStrictEqual(committed, [])
      assert.deepStrictEqual(yield* sql`select * from child31`, [])
    }).pipe(Effect.provide(onTransport())))

  it.live("onSettled tells each level its own fate, once, after the after-commit callbacks and outside the transaction", () =>
    Effect.gen(function*() {
      const sql = yield* SqlClient.SqlClient
      const { add } = yield* table("settled")
      const told: Array<string> = []
      const tell = (name: string) =>
        PgTransaction.onSettled((outcome) => Effect.sync(() => void told.push(`${name} ${outcome}`)))
      yield* PgTransaction.withTransaction(
        {},
        Effect.gen(function*() {
          yield* tell("outer")
          yield* sql.afterCommit(Effect.sync(() => void told.push("after commit")))
          yield* PgTransaction.withTransaction({}, Effect.andThen(add(1), tell("kept")))
          yield* Effect.ignore(PgTransaction.withTransaction({}, Effect.andThen(tell("undone"), Effect.fail("undo"))))
          yield* PgTransaction.onSettled(() => Effect.die("a bug in a listener"))
          const inside = yield* pidOf
          yield* PgTransaction.onSettled(() =>
            Effect.orDie(Effect.map(
              sql`select pg_current_xact_id_if_assigned() is null`.values,
              ([row]) => void told.push(`in ${inside === 0} a transaction of its own: ${String(row?.[0])}`)
            ))
          )
          assert.deepStrictEqual(told, [])
        })
      )
      assert.deepStrictEqual(told, [
        "after commit",
        "outer committed",
        "kept committed",
        "undone rolledBack",
        "in false a transaction of its own: true"
      ])
      told.length = 0
      yield* Effect.ignore(PgTransaction.withTransaction({}, Effect.andThen(tell("failing"), Effect.fail("own"))))
      yield* Effect.exit(PgTransaction.withTransaction({}, Effect.andThen(tell("dying"), Effect.die("bug"))))
      yield* PgTransaction.manual({}, (tx) => Effect.andThen(tx.run(tell("manual")), tx.rollback()))
      yield* PgTransaction.manual({}, (tx) => Effect.andThen(tx.run(tell("manual")), tx.commit()))
      assert.deepStrictEqual(told, [
        "failing rolledBack",
        "dying rolledBack",
        "manual rolledBack",
        "manual committed"
      ])
      assert.strictEqual(misuseOf(failureOf(yield* Effect.exit(tell("outside")))), "NoTransaction")
    }).pipe(Effect.provide(onTransport({ maxConnections: 1 }))))

  it.live("onSettled in a level that is over is AlreadySettled, and is told nothing", () =>
    Effect.gen(function*() {
      const { add } = yield* table("settledlevel")
      const told: Array<string> = []
      yield* PgTransaction.withTransaction(
        {},
        Effect.gen(function*() {
          const level = yield* PgTransaction.withTransaction(
            {},
            Effect.andThen(add(1), Effect.context<SqlClient.SqlClient>())
          )
          const late = PgTransaction.onSettled((outcome) => Effect.sync(() => void told.push(outcome)))
          const exit = yield* Effect.exit(Effect.provideContext(late, level))
          assert.strictEqual(misuseOf(failureOf(exit)), "AlreadySettled")
        })
      )
      assert.deepStrictEqual(told, [])
    }).pipe(Effect.provide(onTransport())))

  it.live("an outcome that was not tracked, or is none, cannot be looked up", () =>
    Effect.gen(function*() {
      const unknown = new PgTransaction.CommitOutcomeUnknown({ cause: new Error("lost") })
      const other = new PgTransaction.SessionLost({ phase: "body" })
      for (const reason of [unknown, other]) {
        const exit = yield* Effect.exit(
          PgTransaction.resolveOutcome(new PgTransaction.PgTransactionError({ reason }))
        )
        assert.strictEqual(misuseOf(failureOf(exit)), "OutcomeNotTracked")
      }
    }).pipe(Effect.provide(plain)))

  it.live("resolveOutcome knows committed, aborted, in progress, and what the server never gave out or has forgotten", () =>
    Effect.gen(function*() {
      const sql = yield* SqlClient.SqlClient
      const xid = Effect.map(sql`select pg_current_xact_id()::text`.values, ([row]) => String(row?.[0]))
      const committed = yield* sql.withTransaction(xid)
      const aborted = yield* Effect.flip(sql.withTransaction(Effect.flatMap(Effect.orDie(xid), Effect.fail)))
      assert.strictEqual(yield* ask(committed), "committed")
      assert.strictEqual(yield* ask(String(aborted)), "aborted")
      assert.strictEqual(yield* sql.withTransaction(Effect.flatMap(xid, ask)), "in progress")
      assert.strictEqual(yield* ask(String(BigInt(committed) + 1_000_000n)), "aborted")
      assert.strictEqual(yield* ask("2"), "committed")
    }).pipe(Effect.provide(onTransport({ maxConnections: 2 }))))
})

describe("repetition", () => {
  it.live("case 30: two transactions in write skew both end, one after a repetition", () =>
    Effect.gen(function*() {
      const sql = yield* SqlClient.SqlClient
      yield* sql`drop table if exists skew`
      yield* sql`create table skew (who int primary key, on_call boolean not null)`
      yield* sql`insert into skew values (1, true), (2, true)`
      const bodies = yield* Ref.make(0)
      const both = yield* Deferred.make<void>()
      const leave = (who: number) =>
        PgTransaction.retrying(
          { isolation: "serializable" },
          Effect.gen(function*() {
            const [[n] = []] = yield* sql`select count(*)::int from skew where on_call`.values
            if ((yield* Ref.updateAndGet(bodies, (count) => count + 1)) >= 2) yield* Deferred.succeed(both, undefined)
            yield* Deferred.await(both)
            if (Number(n) < 2) return false
            yield* sql`update skew set on_call = false where who = ${who}`
            return true
          })
        )
      const left = yield* Effect.all([leave(1), leave(2)], { concurrency: "unbounded" })
      assert.notStrictEqual(left[0], left[1])
      assert.strictEqual(yield* Ref.get(bodies), 3)
      assert.deepStrictEqual(yield* sql`select count(*)::int from skew where on_call`.values, [[1]])
    }).pipe(Effect.provide(onTransport())))

  it.live("case 30: a permanent error is not repeated, nor is the body's own, and the schedule limits the rest", () =>
    Effect.gen(function*() {
      const sql = yield* SqlClient.SqlClient
      const { add } = yield* table("permanent")
      let bodies = 0
      const counted = <A, E>(effect: Effect.Effect<A, E>) => Effect.andThen(Effect.sync(() => bodies++), effect)
      const permanent = yield* Effect.exit(PgTransaction.retrying({}, counted(add(-1))))
      assert.strictEqual(PgErrors.from(failureOf(permanent)).sqlstate, "23514")
      assert.strictEqual(bodies, 1)
      bodies = 0
      assert.deepStrictEqual(
        yield* Effect.exit(PgTransaction.retrying({}, counted(Effect.fail("own")))),
        Exit.fail("own")
      )
      assert.strictEqual(bodies, 1)
      bodies = 0
      const deadlock = sql.unsafe("do $$ begin raise exception using errcode = '40P01'; end $$")
      const exit = yield* Effect.exit(
        PgTransaction.retrying({}, Schedule.max([Schedule.recurs(2), Schedule.spaced("1 millis")]), counted(deadlock))
      )
      assert.strictEqual(PgErrors.from(failureOf(exit)).sqlstate, "40P01")
      assert.strictEqual(bodies, 3)
      // A schedule of one's own does not make a permanent error worth repeating.
      bodies = 0
      yield* Effect.exit(PgTransaction.retrying({}, Schedule.recurs(5), counted(add(-1))))
      assert.strictEqual(bodies, 1)
    }).pipe(Effect.provide(onTransport())))

  it.live("an unknown outcome that the body brings from elsewhere is not looked up here, nor repeated", () =>
    Effect.gen(function*() {
      const foreign = new PgTransaction.PgTransactionError({
        // The server has never given out such an id, so that it would count as aborted.
        reason: new PgTransaction.CommitOutcomeUnknown({ xid: "99999999", cause: new Error("lost") })
      })
      let bodies = 0
      const exit = yield* Effect.exit(
        PgTransaction.retrying(
          { trackOutcome: true },
          Effect.andThen(Effect.sync(() => bodies++), Effect.fail(foreign))
        )
      )
      assert.strictEqual(failureOf(exit), foreign)
      assert.strictEqual(bodies, 1)
    }).pipe(Effect.provide(onTransport())))

  it.live("a transaction that failed on something that passes is worth repeating, and says so itself", () =>
    Effect.gen(function*() {
      const sql = yield* SqlClient.SqlClient
      const fail = (code: string) =>
        Effect.ignore(sql.unsafe(`do $$ begin raise exception using errcode = '${code}'; end $$`))
      for (const [code, retry] of [["40001", "transaction"], ["23514", "no"]] as const) {
        const error = failureOf(yield* Effect.exit(PgTransaction.withTransaction({}, fail(code))))
        assert.deepInclude(reasonOf(error), { kind: "TransactionFailed", sqlstate: code, isRetryable: retry !== "no" })
        assert.strictEqual(PgErrors.from(error).retry, retry)
      }
    }).pipe(Effect.provide(onTransport())))

  it.live("`retrying` bridges a restart of the server, and nothing is applied twice (section 10)", () =>
    Effect.gen(function*() {
      const server = yield* EmbeddedPostgres.EmbeddedPostgres
      const sql = yield* SqlClient.SqlClient
      const { add, rows } = yield* table("restart")
      let bodies = 0
      for (const [n, shutDown] of [[1, server.kill], [2, server.stop]] as const) {
        bodies = 0
        const entered = yield* Deferred.make<void>()
        const fiber = yield* Effect.forkChild(PgTransaction.retrying(
          { trackOutcome: true },
          Effect.gen(function*() {
            yield* add(n)
            if (++bodies > 1) return
            yield* Deferred.succeed(entered, undefined)
            yield* sql`select pg_sleep(60)`
          })
        ))
        yield* Deferred.await(entered)
        yield* shutDown
        yield* server.restart
        yield* Fiber.join(fiber)
        assert.isAtLeast(bodies, 2)
      }
      assert.deepStrictEqual(yield* rows, [1, 2])
    }).pipe(Effect.provide(
      Layer.unwrap(Effect.map(EmbeddedPostgres.EmbeddedPostgres, (server) => PgTransport.layer({ url: server.url })))
        .pipe(Layer.provideMerge(EmbeddedPostgres.layer()))
    )))
})

describe("restore", () => {
  it.live("gives back the typed error that a lost session hides in a transaction of the client's own", () =>
    Effect.gen(function*() {
      const sql = yield* SqlClient.SqlClient
      const killer = yield* Effect.map(Layer.build(PostgresDatabase.ownerLayer(url)), Context.get(PgClient.PgClient))
      const suicide = Effect.gen(function*() {
        const pid = yield* pidOf
        yield* killer`select pg_terminate_backend(${pid}, 5000)`
      })
      const hidden = yield* Effect.exit(sql.withTransaction(Effect.andThen(suicide, sql`select 1`)))
      assert.isTrue(Exit.isFailure(hidden) && hidden.cause.reasons.some(Cause.isDieReason))
      const restored = yield* Effect.exit(
        PgTransaction.restore(sql.withTransaction(Effect.andThen(suicide, sql`select 1`)))
      )
      assert.isTrue(Exit.isFailure(restored) && restored.cause.reasons.every(Cause.isFailReason))
      assert.deepInclude(reasonOf(failureOf(restored)), { _tag: "SessionLost", phase: "body" })
      const own = yield* Effect.exit(
        PgTransaction.restore(sql.withTransaction(Effect.andThen(suicide, Effect.fail("own"))))
      )
      assert.deepStrictEqual(own, Exit.fail("own"))
      assert.strictEqual(yield* PgTransaction.restore(sql.withTransaction(Effect.succeed(1))), 1)
      const bug = yield* Effect.exit(PgTransaction.restore(sql.withTransaction(Effect.die("bug"))))
      assert.deepStrictEqual(bug, Exit.die("bug"))
    }).pipe(Effect.scoped, Effect.provide(plain)))
})

describe("what is left behind", () => {
  it.live("no timer outlives its transaction, and spans hold no parameter", () =>
    Effect.gen(function*() {
      const sql = yield* SqlClient.SqlClient
      const spans: Array<Tracer.Span> = []
      const tracer = Tracer.make({
        span: (options) => {
          const span = new Tracer.NativeSpan(options)
          spans.push(span)
          return span
        }
      })
      const before = process.getActiveResourcesInfo().filter((name) => name === "Timeout").length
      yield* Effect.forEach(
        Array.from({ length: 20 }),
        () => PgTransaction.withTransaction({ trackOutcome: true, guard: "marker" }, sql`select ${"secret-parameter"}`),
        { discard: true }
      ).pipe(Effect.provideService(Tracer.Tracer, tracer))
      const after = process.getActiveResourcesInfo().filter((name) => name === "Timeout").length
      assert.isAtMost(after, before + 2)
      assert.isAbove(spans.length, 0)
      assert.notInclude(spans.map((span) => JSON.stringify([...span.attributes])).join(), "secret-parameter")
    }).pipe(Effect.provide(onTransport())))

  it.live("a closed scope is the end of the handle's connection too", () =>
    Effect.gen(function*() {
      const scope = yield* Scope.make()
      const tx = yield* Scope.provide(PgTransaction.begin(), scope)
      const pid = yield* tx.run(pidOf)
      yield* tx.commit()
      yield* Scope.close(scope, Exit.void)
      assert.strictEqual(yield* pidOf, pid)
    }).pipe(Effect.provide(onTransport({ maxConnections: 1 }))))
})

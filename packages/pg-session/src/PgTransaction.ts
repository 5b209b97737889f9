/**
 * Transactions with options, a guard before COMMIT, an explicit handle, named savepoints, and errors that say what became of
 * the work. Everything stands on the client's own `withTransaction`: statements, `afterCommit` and nesting work as ever.
 *
 * Whoever must know for certain whether a transaction was applied writes a key of his own in it, and after an interruption,
 * `SessionLost` or `CommitOutcomeUnknown` looks for that key before he repeats.
 */
import {
  Cause,
  Context,
  Deferred,
  Duration,
  Effect,
  Exit,
  Fiber,
  Option,
  Result,
  Schedule,
  Scope,
  Tracer
} from "effect"
import { BeginTransaction, SqlClient, type SqlError } from "./internal/driver.ts"
import * as Guard from "./internal/transaction/guard.ts"
import * as Loss from "./internal/transaction/loss.ts"
import * as Open from "./internal/transaction/open.ts"
import * as Wanted from "./internal/transaction/options.ts"
import type { Options } from "./internal/transaction/options.ts"
import * as Savepoint from "./internal/transaction/savepoint.ts"
import * as Verdict from "./internal/transaction/verdict.ts"
import * as Internals from "./internal/transport/internals.ts"
import type { Session } from "./internal/transport/session.ts"
import * as PgErrors from "./PgErrors.ts"
import { Misuse, PgTransactionError, SessionLost } from "./PgTransactionError.ts"

export type { Options } from "./internal/transaction/options.ts"
export * from "./PgTransactionError.ts"

/** What became of a transaction. `unknown`: COMMIT was sent, or on a plain client may have been, and not answered. */
export type Outcome = Open.Outcome

class Settlement<out A> {
  readonly #value: A
  constructor(value: A) {
    this.#value = value
  }
  static value<A>(settlement: Settlement<A>): A {
    return settlement.#value
  }
}

/** Proof that a transaction was committed or rolled back; only `commit` and `rollback` of a handle make one. */
export type Settled<A> = Settlement<A>

/** Ends the transaction and consumes the handle. The value is what `manual` gives. */
export interface Settle {
  (): Effect.Effect<Settled<void>, SqlError | PgTransactionError>
  <A>(value: A): Effect.Effect<Settled<A>, SqlError | PgTransactionError>
}

/**
 * An open transaction as a value. Only what goes through `run` is in it.
 *
 * - errors: `AlreadySettled` from every member once `commit` or `rollback` was called; nothing is sent then
 */
export interface Transaction {
  /** Of the session's backend, for `PgCancel`. */
  readonly pid: number
  /**
   * Runs with the transaction in context, as inside `withTransaction`: statements, COPY, `afterCommit`, nesting. Within a
   * transaction nested in this one it stays in that.
   *
   * - errors: the effect's own; if it failed because the session was lost, `SessionLost`
   */
  readonly run: <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E | PgTransactionError, R>
  /**
   * Commits, with the same guard and the same errors as the end of `withTransaction`. Whatever it answers, the transaction is
   * over. Of several that settle at the same time one wins. Not interruptible; bounded by `controlTimeout`.
   */
  readonly commit: Settle
  /**
   * Rolls back. On a lost session too this succeeds, because the server rolls back.
   *
   * - errors: `TransactionNotActive` if the handle was begun within a transaction of the client's own that has ended, with
   *   which it may have been committed
   */
  readonly rollback: Settle
  /** These three are as the functions of the same name, in `run`. */
  readonly savepoint: (name: string) => Effect.Effect<void, SqlError | PgTransactionError>
  readonly release: (name: string) => Effect.Effect<void, SqlError | PgTransactionError>
  readonly rollbackTo: (name: string) => Effect.Effect<void, SqlError | PgTransactionError>
}

/**
 * Runs `body` in a transaction: its success commits; its failure, defect or interruption rolls back, and is kept whatever the
 * ROLLBACK says. Within a transaction of the same client it is a savepoint, has the options of that transaction, and
 * waits for siblings: at most one is open in a level, the others wait, interruptibly. If it waits for one of the client's own,
 * that is the driver's lock, which is not interruptible. What is nested has to end first: if something is still open when a level
 * ends, in another fiber or as a handle, that level is rolled back and fails with `Misuse: Unsettled`. Of the client's own nested
 * transactions this is not known.
 *
 * - errors: the body's own; `SqlError` of the server, from BEGIN or from a COMMIT that it rejected, and of connecting; `Misuse`;
 *   `SessionLost`: nothing is applied; `CommitOutcomeUnknown`
 * - interruption: at once while waiting for a connection; in the body the statement is cancelled and the transaction rolled
 *   back; COMMIT is not interrupted, the exit is an interruption all the same, and `onSettled` tells which it was
 * - source: spec 4, 4.1
 */
export const withTransaction = <A, E, R>(
  options: Options,
  body: Effect.Effect<A, E, R>
): Effect.Effect<A, E | SqlError | PgTransactionError, R | SqlClient.SqlClient> =>
  Effect.flatMap(Effect.context<SqlClient.SqlClient>(), (context) => {
    const sql = Context.get(context, SqlClient.SqlClient)
    const place = Open.place(sql, context)
    return place === undefined ? outermost(sql, context, options, body) : nested(sql, place, options, body)
  })

/** `withTransaction` with `isolation: "serializable"`. */
export const serializable = <A, E, R>(
  body: Effect.Effect<A, E, R>
): Effect.Effect<A, E | SqlError | PgTransactionError, R | SqlClient.SqlClient> =>
  withTransaction({ isolation: "serializable" }, body)

/** `withTransaction` with `access: "read only"`. */
export const readOnly = <A, E, R>(
  body: Effect.Effect<A, E, R>
): Effect.Effect<A, E | SqlError | PgTransactionError, R | SqlClient.SqlClient> =>
  withTransaction({ access: "read only" }, body)

/**
 * A transaction that ends where `use` says so, and cannot be left without saying it: what `use` gives is made by `tx.commit` or
 * `tx.rollback` only. Failing before that rolls back.
 *
 * - errors: those of `use`, where a lost session is `SessionLost`; of the beginning and the end, as `withTransaction`;
 *   `Unsettled` if `use` gave the proof of some other handle and left this one open, which is rolled back
 */
export const manual = <A, E, R>(
  options: Options,
  use: (tx: Transaction) => Effect.Effect<Settled<A>, E, R>
): Effect.Effect<A, E | SqlError | PgTransactionError, R | SqlClient.SqlClient> =>
  Effect.scopedWith((scope) =>
    Effect.flatMap(Scope.provide(handle(options), scope), ({ isSettled, tx }) =>
      Effect.flatMap(
        use(tx),
        (settlement) => isSettled() ? Effect.succeed(Settlement.value(settlement)) : Effect.fail(unsettled())
      ))
  )

/**
 * A handle for a transaction whose life crosses functions; it ends with the scope at the latest. Unsettled then, it is rolled
 * back, and if the scope was closing successfully its closing dies with `Misuse: Unsettled`. On a plain client it takes one more
 * round trip, for the pid.
 *
 * Within a transaction it is a nested one, which must be settled before that ends. Trap: until then it is the open sibling, so
 * what is nested beside it, not through `run`, waits: in the same fiber for ever.
 *
 * - errors: as the beginning of `withTransaction`
 */
export const begin = (
  options: Options = {}
): Effect.Effect<Transaction, SqlError | PgTransactionError, SqlClient.SqlClient | Scope.Scope> =>
  Effect.map(handle(options), ({ tx }) => tx)

/**
 * Sets a savepoint in the transaction of the context, or rather in its innermost level: leaving the level forgets it. A name
 * that is there already is hidden until the newer one is released. It says nothing to `afterCommit` and `onSettled`; a nested
 * `withTransaction` does.
 *
 * - units: `name` matches `[A-Za-z_][A-Za-z0-9_$]*`, has at most 63 characters, does not begin with `effect_sql_`, and is quoted
 * - errors: `UnsafeSavepointName`, `NoTransaction`, `AlreadySettled`, `StepOpen`, and on a transport `TransactionFailed`: nothing
 *   was sent; `SqlError` of the server. While one of the client's own nested transactions is open in another fiber of the level,
 *   which is not known here, the savepoint ends with that
 */
export const savepoint: (name: string) => Effect.Effect<void, SqlError | PgTransactionError, SqlClient.SqlClient> =
  Savepoint.set

/**
 * Forgets a savepoint and those set after it; what they protected stays.
 *
 * - errors: `NoSuchSavepoint`, `NoTransaction`, `AlreadySettled`, `StepOpen`, and on a transport `TransactionFailed`: nothing was
 *   sent; `SqlError` of the server
 */
export const release: (name: string) => Effect.Effect<void, SqlError | PgTransactionError, SqlClient.SqlClient> =
  Savepoint.release

/**
 * Undoes what came after a savepoint, also when that failed, after which the transaction is good again. The savepoint stays.
 *
 * - errors: `NoSuchSavepoint`, `NoTransaction`, `AlreadySettled`, `StepOpen`: nothing was sent; `SqlError` of the server
 */
export const rollbackTo: (name: string) => Effect.Effect<void, SqlError | PgTransactionError, SqlClient.SqlClient> =
  Savepoint.rollbackTo

/**
 * A step of a transaction with a limit of its time: past it only the step is undone, and the transaction is as good as before.
 * Waiting for a sibling does not count. As with a nested `withTransaction`, waiting for one of the client's own is not
 * interruptible.
 *
 * - errors: `TimeoutError`; `NoTransaction`; `InvalidOptions` if `duration` is none; otherwise as a nested `withTransaction`
 */
export const bounded = <A, E, R>(
  effect: Effect.Effect<A, E, R>,
  duration: Duration.Input
): Effect.Effect<A, E | Cause.TimeoutError | SqlError | PgTransactionError, R | SqlClient.SqlClient> =>
  Effect.flatMap(Effect.context<SqlClient.SqlClient>(), (context) => {
    const sql = Context.get(context, SqlClient.SqlClient)
    const place = Open.place(sql, context)
    if (place === undefined) return misuse("NoTransaction", "`bounded` is for a step of a transaction")
    const limit = Duration.fromInput(duration)
    if (Option.isNone(limit)) return misuse("InvalidOptions", "the limit of `bounded` is not a duration")
    // The timeout is inside: outside it could strike when the step was already released into the transaction.
    return nested(sql, place, {}, Effect.timeout(effect, limit.value))
  })

/**
 * `withTransaction` that runs the whole body again, in a new transaction, while `PgErrors.retry` says that this may help and
 * nothing was applied. After `CommitOutcomeUnknown` it does so only if the transaction is looked up (`trackOutcome`) and was
 * aborted. Default schedule: `PgErrors.policy()`. A schedule of one's own decides when and how often, not what is repeated.
 *
 * - errors: `InTransaction`; the last attempt's
 */
export const retrying: {
  <A, E, R>(
    options: Options,
    body: Effect.Effect<A, E, R>
  ): Effect.Effect<A, E | SqlError | PgTransactionError, R | SqlClient.SqlClient>
  <A, E, R>(
    options: Options,
    schedule: Schedule.Schedule<unknown, NoInfer<E> | SqlError | PgTransactionError> | undefined,
    body: Effect.Effect<A, E, R>
  ): Effect.Effect<A, E | SqlError | PgTransactionError, R | SqlClient.SqlClient>
} = <A, E, R>(
  options: Options,
  ...rest:
    | readonly [body: Effect.Effect<A, E, R>]
    | readonly [
      schedule: Schedule.Schedule<unknown, E | SqlError | PgTransactionError> | undefined,
      body: Effect.Effect<A, E, R>
    ]
) => {
  const [schedule, body] = rest.length === 1 ? [undefined, rest[0]] : rest
  return Effect.flatMap(Effect.context<SqlClient.SqlClient>(), (context) => {
    const sql = Context.get(context, SqlClient.SqlClient)
    if (Open.place(sql, context) !== undefined) {
      return misuse("InTransaction", "`retrying` repeats whole transactions and so cannot be part of one")
    }
    const attempt = Effect.suspend(() => {
      // What the body failed with may be of a transaction of its own, elsewhere: not to be looked up here, nor repeated.
      let succeeded = false
      const observed = Effect.tap(body, () => Effect.sync(() => void (succeeded = true)))
      return Effect.catchIf(
        outermost(sql, context, options, observed),
        (error): error is PgTransactionError => succeeded && isTracked(error),
        (error) => Effect.flatMap(lookedUp(sql, error), Effect.fail)
      )
    })
    return attempt.pipe(
      Effect.retry({ schedule: schedule ?? PgErrors.policy(), while: mayRepeat })
    )
  })
}

/**
 * Around a transaction of the client's own `withTransaction`: if the session is lost there it ends in a defect, and the body's
 * error, if it has one, becomes a defect too. This gives back the body's error, or else fails with `SessionLost`. Beside a lost
 * session a defect of the body cannot be told from an error: it stays one if it is an `Error` without a `_tag`.
 */
export const restore = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E | PgTransactionError, R> =>
  Effect.catchCause(effect, (cause) => {
    const defect = Loss.controlDefect(cause)
    return Effect.failCause(defect !== undefined && Loss.isLoss(defect) ? Loss.restored(cause) : cause)
  })

/**
 * Tells what became of the current transaction, once it is known: after the after-commit callbacks, uninterruptibly, also when
 * the fiber ends interrupted. Within a nested transaction that is undone while the outer one commits: `rolledBack`. `f` runs
 * outside the transaction; its defects are logged.
 *
 * - errors: `NoTransaction`, also in a transaction begun by the client's own `withTransaction`; `AlreadySettled`, also where only
 *   the nested level of the context is over
 */
export const onSettled = <R>(
  f: (outcome: Outcome) => Effect.Effect<void, never, R>
): Effect.Effect<void, PgTransactionError, R | SqlClient.SqlClient> =>
  Effect.flatMap(Effect.context<R | SqlClient.SqlClient>(), (context) => {
    const sql = Context.get(context, SqlClient.SqlClient)
    const open = Open.place(sql, context)?.whole.open
    if (open === undefined) return misuse("NoTransaction", "`onSettled` needs a transaction begun by PgTransaction")
    if (open.outcome !== undefined) return levelOver
    const services = new Map(context.mapUnsafe)
    services.delete(sql.transactionService.key)
    const outside = Context.makeUnsafe<R>(services)
    const listener = {
      committed: false,
      tell: (outcome: Outcome) =>
        Effect.ignoreCause(Effect.provideContext(Effect.suspend(() => f(outcome)), outside), {
          log: "Unhandled",
          message: "Unhandled error in PgTransaction.onSettled"
        })
    }
    const registered = sql.afterCommit(Effect.sync(() => {
      listener.committed = true
    }))
    // Trap: to register in a level that is over is a defect.
    return Effect.matchCauseEffect(registered, {
      onFailure: () => levelOver,
      onSuccess: () => Effect.sync(() => void open.listeners.push(listener))
    })
  })

/**
 * Asks, on another session, what became of the transaction of a `CommitOutcomeUnknown`. `in progress`: the server has not
 * noticed yet that its client is gone; ask again. `too old`: it no longer knows.
 *
 * Where it ends: after a crash of the server an id that left no trace in the write-ahead log is given out again, and the answer
 * is about its new owner. Whoever cannot live with that looks for a key of his own.
 *
 * - errors: `OutcomeNotTracked` for any other error, and without `trackOutcome`
 */
export const resolveOutcome = (
  error: PgTransactionError
): Effect.Effect<
  "committed" | "aborted" | "in progress" | "too old",
  SqlError | PgTransactionError,
  SqlClient.SqlClient
> => Effect.flatMap(SqlClient.SqlClient, (sql) => resolve(sql, error))

// ---- the parts

const misuse = (kind: Misuse["kind"], problem: string) => Effect.fail(Loss.fail(new Misuse({ kind, problem })))

const over = misuse("AlreadySettled", "the transaction was committed or rolled back before")

const levelOver = misuse("AlreadySettled", "the transaction, or this level of it, is over")

const unsettled = () =>
  Loss.fail(
    new Misuse({
      kind: "Unsettled",
      problem: "the handle was left without commit or rollback, so the transaction was rolled back"
    })
  )

const outermost = <A, E, R>(
  sql: SqlClient.SqlClient,
  context: Context.Context<never>,
  options: Options,
  body: Effect.Effect<A, E, R>
): Effect.Effect<A, E | SqlError | PgTransactionError, R> => {
  const resolved = Wanted.resolve(options)
  if (Result.isFailure(resolved)) return Effect.fail(resolved.failure)
  const settings = resolved.success
  const internals = Internals.ofClient(sql)
  const guard = settings.guard ?? (internals === undefined ? "off" : "transport")
  if (guard === "transport" && internals === undefined) return guardUnavailable
  // Given back to the body: it may begin transactions of other clients.
  const callers = Context.get(context, BeginTransaction)
  return Effect.uninterruptibleMask((restore) => {
    const open = new Open.Open({ ...settings, guard }, context)
    const mark = internals?.mark(open)
    let ended: Exit.Exit<A, E | SqlError | PgTransactionError> | undefined
    const transaction = sql.withTransaction(
      Effect.onExitPrimitive(
        inside(sql, open, Effect.provideService(body, BeginTransaction, callers)),
        (exit) => {
          ended = exit
          open.end(exit)
          return undefined
        }
      )
    )
    const begin = `${mark?.comment ?? ""}${settings.begin}`
    return Effect.flatMap(
      Effect.exit(restore(Effect.provideService(transaction, BeginTransaction, begin))),
      (exit) => {
        open.close()
        if (open.session === undefined) mark?.withdraw()
        const verdict = Verdict.of<A, E | SqlError | PgTransactionError>(open, ended, exit)
        open.outcome = verdict.outcome
        if (open.listeners.length === 0 && !open.leftOpen) return verdict.exit
        return Effect.andThen(tell(open, verdict.outcome), verdict.exit)
      }
    )
  })
}

const tell = (open: Open.Open, outcome: Outcome): Effect.Effect<void> => {
  const told = Effect.forEach(
    open.listeners,
    ({ committed, tell }) => tell(outcome === "committed" && !committed ? "rolledBack" : outcome),
    { discard: true }
  )
  if (!open.leftOpen) return told
  // The server refused to end the transaction, as it does after DEALLOCATE ALL in the body. Nobody else may get into it. The
  // driver takes notice in the next turn; until then its pool would still lend the session.
  return open.destroy("its transaction could not be ended").pipe(Effect.andThen(Effect.yieldNow), Effect.andThen(told))
}

/** A handle, and whether it was settled. */
const handle = (options: Options) =>
  Effect.uninterruptibleMask((restore) =>
    Effect.gen(function*() {
      const outside = yield* Effect.context<SqlClient.SqlClient | Scope.Scope>()
      const sql = Context.get(outside, SqlClient.SqlClient)
      const opened = yield* Deferred.make<Opened, SqlError | PgTransactionError>()
      const settle = yield* Deferred.make<"commit" | "rollback">()
      // Trap: a transaction wrapper of our own over the client's transaction service would have another lock for siblings, and
      // nested transactions of the client would die. So this is a fiber that waits inside one of the client's.
      const parked = Effect.gen(function*() {
        const inside = yield* Effect.context()
        const whole = Open.place(sql, inside)?.whole
        const pid = whole?.open?.session?.pid ?? Number((yield* backendPid(sql))[0]?.[0])
        yield* Deferred.succeed(opened, { lent: difference(outside, inside), pid, session: whole?.open?.session })
        if ((yield* Deferred.await(settle)) === "rollback") return yield* Effect.fail(rollBack)
      })
      const fiber = yield* Effect.forkDetach(
        withTransaction(options, parked).pipe(
          Effect.catchIf((error) => error === rollBack, () => {
            const { outcome } = Open.place(sql, outside)?.whole ?? {}
            return outcome === undefined || outcome === "rolledBack"
              ? Effect.void
              : Effect.fail(Loss.fail(Verdict.overtaken()))
          }),
          Effect.onExit((exit) => Exit.isFailure(exit) ? Deferred.failCause(opened, exit.cause) : Effect.void),
          Effect.exit
        )
      )
      const { lent, pid, session } = yield* restore(Deferred.await(opened)).pipe(
        Effect.onError(() => Fiber.interrupt(fiber))
      )

      let settled = false
      const run = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E | PgTransactionError, R> =>
        Effect.suspend((): Effect.Effect<A, E | PgTransactionError, R> =>
          settled ? over : Effect.catchCause(
            Effect.updateContext(
              effect,
              (context: Context.Context<R>) => isWithin(sql, lent, context) ? context : Context.merge(context, lent)
            ),
            (cause) =>
              Effect.flatMap(
                settled || !Loss.isInCause(cause) ? Effect.succeed(false) : isGone(sql, lent, session),
                (gone) => Effect.failCause(gone ? Loss.typed(cause, "body") : cause)
              )
          )
        )
      const end = <A>(how: "commit" | "rollback", value: A) =>
        Effect.uninterruptible(Effect.suspend(() => {
          if (settled) return over
          settled = true
          return Deferred.succeed(settle, how).pipe(
            Effect.andThen(Effect.flatten(Fiber.join(fiber))),
            Effect.as(new Settlement(value))
          )
        }))
      yield* Scope.addFinalizerExit(Context.get(outside, Scope.Scope), (exit) => {
        if (settled) return Fiber.await(fiber)
        const ended = Effect.exit(end("rollback", undefined))
        if (Exit.isFailure(exit)) return ended
        return Effect.flatMap(ended, (ended) => Exit.isSuccess(ended) ? Effect.die(unsettled()) : Effect.orDie(ended))
      })
      const inside = (command: Effect.Effect<void, SqlError | PgTransactionError, SqlClient.SqlClient>) =>
        Effect.provideService(run(command), SqlClient.SqlClient, sql)
      const tx: Transaction = {
        pid,
        run,
        commit: <A>(value?: A) => end("commit", value),
        rollback: <A>(value?: A) => end("rollback", value),
        savepoint: (name) => inside(Savepoint.set(name)),
        release: (name) => inside(Savepoint.release(name)),
        rollbackTo: (name) => inside(Savepoint.rollbackTo(name))
      }
      return { tx, isSettled: () => settled }
    })
  )

const guardUnavailable = misuse(
  "GuardUnavailable",
  "`guard: \"transport\"` needs a client on a PgTransport; with a plain client use `marker`"
)

/** The body, and what is done before and after it in the transaction. */
const inside = <A, E, R>(
  sql: SqlClient.SqlClient,
  open: Open.Open,
  body: Effect.Effect<A, E, R>
): Effect.Effect<A, E | SqlError | PgTransactionError, R> =>
  Effect.withFiber((fiber) => {
    open.leave()
    const service = Context.getUnsafe(fiber.context, sql.transactionService)
    const place = Open.enter(service, open)
    // The driver keeps a copy of the context for each callback, so this one has only what it is found by.
    const hooked = Effect.provideContext(
      sql.afterCommit(Effect.sync(() => {
        open.committed = true
      })),
      Context.make(sql.transactionService, service)
    )
    const { guard, trackOutcome } = open.settings
    return trackOutcome || guard === "marker"
      ? Effect.flatMap(Effect.andThen(hooked, prepare(sql, open)), (check) => checked(place, body, check))
      : Effect.andThen(hooked, checked(place, body, undefined))
  })

/** What costs round trips before the body. Gives what is to be done after it. */
const prepare = Effect.fnUntraced(function*(sql: SqlClient.SqlClient, open: Open.Open) {
  if (open.settings.trackOutcome) {
    open.xid = String((yield* sql`select pg_current_xact_id()::text`.values)[0]?.[0])
  }
  return open.settings.guard === "marker" ? yield* Guard.leaveMarker(sql) : undefined
})

const checked = <A, E, R>(
  place: Open.Place,
  body: Effect.Effect<A, E, R>,
  check: Effect.Effect<void, SqlError | PgTransactionError> | undefined
): Effect.Effect<A, E | SqlError | PgTransactionError, R> =>
  Effect.flatMap(body, (value): Effect.Effect<A, SqlError | PgTransactionError> => {
    const refusal = Guard.refusal(place)
    if (refusal !== undefined) return Effect.fail(refusal)
    return check === undefined ? Effect.succeed(value) : Effect.as(check, value)
  })

const nested = <A, E, R>(
  sql: SqlClient.SqlClient,
  around: Open.Place,
  options: Options,
  body: Effect.Effect<A, E, R>
): Effect.Effect<A, E | SqlError | PgTransactionError, R> => {
  const { depth, level, whole } = around
  const { open } = whole
  const resolved = Wanted.resolve(options)
  if (Result.isFailure(resolved)) return Effect.fail(resolved.failure)
  if (Wanted.differ(options, resolved.success, open?.settings)) {
    return misuse(
      "OptionsInNested",
      "within a transaction there are only savepoints, and the options are those of the transaction"
    )
  }
  return level.siblings.withPermit(Effect.uninterruptibleMask((restore) => {
    if (Open.isOver(around)) return Effect.fail(Loss.fail(new SessionLost({ phase: "ended" })))
    // The server would refuse the savepoint.
    const fault = open === undefined ? undefined : Guard.fault(open)
    if (fault !== undefined) return Effect.fail(fault)
    const step = { depth: depth + 1 }
    whole.steps.add(step)
    let ended: Exit.Exit<A, E | SqlError | PgTransactionError> | undefined
    let stop = Open.noLimit
    const guarded = Effect.withFiber<A, E | SqlError | PgTransactionError, R>((fiber) => {
      const place = Open.of(Context.getUnsafe(fiber.context, sql.transactionService))
      return Effect.onExitPrimitive(checked(place, body, undefined), (exit) => {
        ended = exit
        place.level.over = true
        if (open !== undefined) stop = open.limit("the end of a savepoint")
        return undefined
      })
    })
    return Effect.flatMap(Effect.exit(restore(sql.withTransaction(guarded))), (exit) => {
      stop()
      whole.steps.delete(step)
      return Verdict.nested<A, E | SqlError | PgTransactionError>(whole, ended, exit)
    })
  }))
}

interface Opened {
  readonly lent: Context.Context<never>
  readonly pid: number
  /** Undefined where there is none to look at: the session has to be asked. */
  readonly session: Session | undefined
}

const backendPid = (sql: SqlClient.SqlClient) => sql`select pg_backend_pid()`.values

/** What the driver adds to the context of a transaction's body, but for the span: whoever runs something has his own. */
const difference = (outside: Context.Context<never>, inside: Context.Context<never>): Context.Context<never> =>
  Context.makeUnsafe(
    new Map(
      [...inside.mapUnsafe].filter(([key, service]) =>
        key !== Tracer.ParentSpanKey && outside.mapUnsafe.get(key) !== service
      )
    )
  )

/** Whether a fiber is in a level that is nested in the one that is lent. */
const isWithin = (
  sql: SqlClient.SqlClient,
  lent: Context.Context<never>,
  context: Context.Context<never>
): boolean => {
  const [connection, depth] = Context.getOrUndefined(context, sql.transactionService) ?? []
  const [lentConnection, lentDepth] = Context.getOrUndefined(lent, sql.transactionService) ?? []
  return connection !== undefined && depth !== undefined && lentDepth !== undefined &&
    connection === lentConnection && depth > lentDepth
}

/** A loss may be that of another client's session. */
const isGone = (
  sql: SqlClient.SqlClient,
  lent: Context.Context<never>,
  session: Session | undefined
): Effect.Effect<boolean> =>
  session === undefined
    ? Effect.match(
      Effect.updateContext(sql`select 1`.values, (context: Context.Context<never>) => Context.merge(context, lent)),
      { onFailure: Loss.isLoss, onSuccess: () => false }
    )
    : Effect.sync(() => session.lost !== undefined || session.fatal !== undefined)

const rollBack: unique symbol = Symbol("roll back")

const resolve = (
  sql: SqlClient.SqlClient,
  error: PgTransactionError
): Effect.Effect<"committed" | "aborted" | "in progress" | "too old", SqlError | PgTransactionError> => {
  const { reason } = error
  if (reason._tag !== "CommitOutcomeUnknown" || reason.xid === undefined) {
    return misuse("OutcomeNotTracked", "there is no transaction id to look up; use `trackOutcome`")
  }
  return Effect.updateContext(
    sql`select pg_xact_status(${reason.xid}::text::xid8)`.values,
    (context: Context.Context<never>) => Context.omit(sql.transactionService)(context)
  ).pipe(
    Effect.map((rows) => statuses[String(rows[0]?.[0])] ?? "too old"),
    // "in the future": the server lost it in a crash.
    Effect.catchIf((error) => Loss.sqlstate(error) === "22023", () => Effect.succeed("aborted" as const))
  )
}

const statuses: Readonly<Record<string, "committed" | "aborted" | "in progress">> = {
  "committed": "committed",
  "aborted": "aborted",
  "in progress": "in progress"
}

const isTracked = (error: unknown): error is PgTransactionError =>
  error instanceof PgTransactionError && error.reason._tag === "CommitOutcomeUnknown" &&
  error.reason.xid !== undefined

/** What to fail with in place of an unknown outcome: the same, unless it is now known that nothing is applied. */
const lookedUp = (sql: SqlClient.SqlClient, error: PgTransactionError): Effect.Effect<PgTransactionError> =>
  resolve(sql, error).pipe(
    Effect.repeat({ while: (status) => status === "in progress", schedule: Schedule.spaced("50 millis") }),
    Effect.retry(PgErrors.policy({ idempotent: true })),
    Effect.timeout("60 seconds"),
    Effect.map((status) => status === "aborted" ? Loss.sessionLost("commit", causeOf(error)) : error),
    Effect.orElseSucceed(() => error)
  )

/** Without the unknown outcome, which is not to be found in the chain of an error that knows it. */
const causeOf = ({ reason }: PgTransactionError): unknown =>
  reason._tag === "CommitOutcomeUnknown" ? reason.cause : undefined

const mayRepeat = (error: unknown): boolean => {
  const { outcome, retry } = PgErrors.from(error)
  return retry !== "no" && outcome === "notApplied"
}

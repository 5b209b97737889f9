/**
 * A transaction while it is open: what is known about it beside the driver. It is found by the driver's own transaction
 * service, so it is the right one whatever client, nesting or lent context a program comes from.
 */
import { Clock, Context, Duration, Effect, Semaphore } from "effect"
import type { Exit } from "effect"
import * as Transport from "../../PgTransportError.ts"
import type { Connection, SqlClient } from "../driver.ts"
import type { ServerFields } from "../serverFields.ts"
import type { Session, Watcher } from "../transport/session.ts"
import type { Settings as Resolved } from "./options.ts"

export type Outcome = "committed" | "rolledBack" | "unknown"

export interface Settings extends Resolved {
  readonly guard: "transport" | "marker" | "off"
}

interface Listener {
  committed: boolean
  readonly tell: (outcome: Outcome) => Effect.Effect<void>
}

/** What the server has until `deadline` (by the Clock, in milliseconds) to answer. */
interface Limit {
  readonly statement: string
  readonly deadline: number
  readonly idleCount: number
}

export class Open implements Watcher {
  readonly settings: Settings
  /** Undefined until BEGIN is sent, and always on a plain client. */
  session: Session | undefined
  /** BEGIN was answered. Known only with a session. */
  began = false
  xid: string | undefined
  /** Set by the driver's own after-commit hook, also when the fiber ends interrupted. */
  committed = false
  /** That of its body, which ends with it. */
  level: Level | undefined
  /** What became of it, once that is known. */
  outcome: Outcome | undefined
  readonly listeners: Array<Listener> = []
  #idleAtBegin = 0
  #sentAtEnd = -1
  #stop = noLimit
  /** Oldest first, and so the next deadline first, for all have the same time. */
  readonly #limits = new Set<Limit>()
  #watch: { readonly interruptUnsafe: () => void } | undefined
  readonly #clock: Clock.Clock
  readonly #fork: (effect: Effect.Effect<void>) => { readonly interruptUnsafe: () => void }

  constructor(settings: Settings, context: Context.Context<never>) {
    this.settings = settings
    this.#clock = Context.get(context, Clock.Clock)
    this.#fork = Effect.runForkWith(context)
  }

  readonly onSession = (session: Session): void => {
    this.session = session
    this.#stop = this.limit("BEGIN")
  }

  readonly onReady = ({ error }: { readonly error: ServerFields | undefined }): void => {
    this.leave()
    if (error !== undefined || this.session === undefined) return
    this.began = true
    this.#idleAtBegin = this.session.idleCount
    // Trap: interrupted during BEGIN, the driver sends ROLLBACK without ever coming to the body.
    this.#stop = this.limit("ROLLBACK")
  }

  readonly onLost = (): void => this.leave()

  /** The driver goes on without us: to the body, or out. */
  leave(): void {
    this.#stop()
    this.#stop = noLimit
  }

  /** The body is over; what comes is COMMIT or ROLLBACK. */
  end(body: Exit.Exit<unknown, unknown>): void {
    if (this.level !== undefined) this.level.over = true
    if (this.session !== undefined) this.#sentAtEnd = this.session.sentCount
    this.#stop = this.limit(body._tag === "Success" ? "COMMIT" : "ROLLBACK")
  }

  /** It is over: nothing of it is left running. */
  close(): void {
    this.leave()
    this.#limits.clear()
    this.#watch?.interruptUnsafe()
    this.#watch = undefined
  }

  /** The first error of this transaction if it ended as a failed one, although the session may be somebody else's by now. */
  get firstError(): ServerFields | undefined {
    const last = this.session?.lastFailure
    return last?.idleCount === this.#idleAtBegin + 1 ? last.error : undefined
  }

  /** Since BEGIN the session has been outside a transaction. */
  get endedByBody(): boolean {
    return this.session !== undefined && this.session.idleCount !== this.#idleAtBegin
  }

  /** Since the body ended nothing has been sent on the session. */
  get nothingSent(): boolean {
    return this.session?.sentCount === this.#sentAtEnd
  }

  /** The server still has the transaction open, although the driver is done with it and has given the session back. */
  get leftOpen(): boolean {
    return this.session !== undefined && this.began && this.session.lost === undefined &&
      this.session.idleCount === this.#idleAtBegin
  }

  /** Destroys the session unless the function it gives is called within `controlTimeout`. */
  limit(statement: string): () => void {
    const { session, settings } = this
    // Over, the session may be somebody else's.
    if (session === undefined || this.outcome !== undefined || !Duration.isFinite(settings.controlTimeout)) {
      return noLimit
    }
    const deadline = this.#clock.currentTimeMillisUnsafe() + Duration.toMillis(settings.controlTimeout)
    const limit = { statement, deadline, idleCount: session.idleCount }
    this.#limits.add(limit)
    // One fiber for all of them: a transaction has three at least, and starting a fiber is what costs.
    this.#watch ??= this.#fork(this.#watching)
    return () => this.#limits.delete(limit)
  }

  readonly #watching: Effect.Effect<void> = Effect.suspend(() => {
    const [next] = this.#limits
    if (next === undefined) {
      this.#watch = undefined
      return Effect.void
    }
    const left = next.deadline - this.#clock.currentTimeMillisUnsafe()
    if (left > 0) return Effect.andThen(Effect.sleep(left), this.#watching)
    this.#limits.delete(next)
    const { session, settings } = this
    // Answered in the meantime: after-commit callbacks run, and the session may be somebody else's by now.
    if (session === undefined || session.idleCount !== next.idleCount || session.lost !== undefined) {
      return this.#watching
    }
    const problem = `no answer to ${next.statement} within ${Duration.format(settings.controlTimeout)}`
    return Effect.andThen(this.destroy(problem), this.#watching)
  })

  destroy(problem: string): Effect.Effect<void> {
    return Effect.sync(() =>
      this.session?.destroy(Transport.fromCause(new Transport.SessionLost({ problem }), undefined))
    )
  }
}

export const noLimit = (): void => {}

/** One level of nesting: the transaction itself, or a savepoint of the driver. */
class Level {
  /** Names, oldest first. A name may be there twice. */
  readonly savepoints: Array<string> = []
  /** Its body has ended. Known only of levels that this package began. */
  over = false
  #siblings: Semaphore.Semaphore | undefined

  /** Siblings run one after the other. The driver has such a lock too, but waits for it uninterruptibly. */
  get siblings(): Semaphore.Semaphore {
    return this.#siblings ??= Semaphore.makeUnsafe(1)
  }
}

/** A transaction with all its levels, whoever began it. */
class Whole {
  /** Undefined in a transaction that was begun without this package. */
  open: Open | undefined
  /** That of the transaction itself. */
  readonly level = new Level()
  /** The driver has said that a transaction begun without this package is over. */
  ended = false
  /** How deep the nested transactions and handles are that are open now. Of the client's own nested ones nobody knows. */
  readonly steps = new Set<{ readonly depth: number }>()

  get outcome(): Outcome | undefined {
    return this.open === undefined ? (this.ended ? "unknown" : undefined) : this.open.outcome
  }
}

/** The driver makes a connection object of its own for each transaction. */
const wholes = new WeakMap<Connection, Whole>()
/** Of what is nested. */
const levels = new WeakMap<object, Level>()

/** Where a fiber is. */
export interface Place {
  readonly level: Level
  /** 0 is the transaction itself. */
  readonly depth: number
  readonly whole: Whole
}

/** Undefined outside a transaction of this client. */
export const place = (sql: SqlClient.SqlClient, context: Context.Context<never>): Place | undefined => {
  const service = Context.getOrUndefined(context, sql.transactionService)
  return service === undefined ? undefined : of(service)
}

export const of = (service: SqlClient.TransactionConnection.Service): Place => {
  const [connection, depth] = service
  let whole = wholes.get(connection)
  if (whole === undefined) {
    whole = new Whole()
    wholes.set(connection, whole)
  }
  if (depth === 0) return { level: whole.level, depth, whole }
  let level = levels.get(service)
  if (level === undefined) {
    level = new Level()
    levels.set(service, level)
  }
  return { level, depth, whole }
}

/** To be called inside the transaction, before its body. */
export const enter = (service: SqlClient.TransactionConnection.Service, open: Open): Place => {
  const place = of(service)
  place.whole.open = open
  open.level = place.level
  return place
}

/** Whether this level or the transaction has come to its end. From then on the session tells nothing about it. */
export const isOver = ({ level, whole }: Place): boolean =>
  level.over || whole.level.over || whole.outcome !== undefined

/** Whether something is open in this level: a nested transaction of another fiber, or a handle that was not settled. */
export const isBusy = ({ depth, whole }: Place): boolean => {
  for (const step of whole.steps) {
    if (step.depth > depth) return true
  }
  return false
}

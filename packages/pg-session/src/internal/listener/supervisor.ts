/**
 * Keeps one connection, keeps on it the channels that have subscribers, and tells subscribers when it may have missed
 * something.
 *
 * Subscribing and leaving only change what is wanted and wake the one fiber that speaks to the server. That fiber compares
 * the wanted channels with those it listens to, one at a time, so LISTEN and UNLISTEN of one channel cannot cross.
 */
import {
  Cause,
  Clock,
  DateTime,
  Deferred,
  Duration,
  Effect,
  Exit,
  Latch,
  Metric,
  Pull,
  Schedule,
  type Scope
} from "effect"
import { isSqlError, type PgConnection, type SqlError } from "../driver.ts"
import * as Chain from "../errors/chain.ts"
import * as Metrics from "../metrics.ts"
import type { Notification } from "./event.ts"
import { finalFailure } from "./failure.ts"
import { ConnectionFailed, ListenerClosed, ListenerError } from "./ListenerError.ts"
import { Mailbox } from "./mailbox.ts"
import * as Session from "./session.ts"

/** Where the connection is. */
export type State =
  | { readonly _tag: "Connecting" }
  /** Every channel that had subscribers before is listened to again. `pid` is the server process. */
  | { readonly _tag: "Connected"; readonly pid: number }
  /** The last attempt or the connection failed with `error`; the next attempt is made at `until`. */
  | { readonly _tag: "Waiting"; readonly until: DateTime.Utc; readonly error: SqlError }
  /** For good: the scope was closed, or no further attempt is made. */
  | { readonly _tag: "Closed" }

export interface Settings {
  readonly connection: PgConnection.Config
  readonly backoff: Schedule.Schedule<unknown, SqlError>
  readonly probeInterval: Duration.Duration
  readonly probeTimeout: Duration.Duration
}

export interface Supervisor {
  readonly state: Effect.Effect<State>
  readonly subscribe: (
    channel: string,
    capacity: number
  ) => Effect.Effect<Mailbox, ListenerError | SqlError, Scope.Scope>
}

interface Channel {
  /** Who gets what is notified. */
  readonly active: Set<Mailbox>
  /** Who waits for the server's confirmation. */
  readonly pending: Map<Mailbox, Deferred.Deferred<void, ListenerError | SqlError>>
}

export const make = Effect.fnUntraced(function*(settings: Settings): Effect.fn.Return<Supervisor, never, Scope.Scope> {
  const { backoff, connection, probeInterval, probeTimeout } = settings
  /** Those with subscribers, and no others. */
  const channels = new Map<string, Channel>()
  /** Those where what is wanted has changed since the fiber last looked. */
  const changed = new Set<string>()
  const wake = Latch.makeUnsafe(false)
  let state: State = { _tag: "Connecting" }
  let closed: Exit.Exit<never, ListenerError> | undefined

  const change = (name: string) => {
    changed.add(name)
    wake.openUnsafe()
  }

  const close = (exit: Exit.Exit<never, ListenerError>) => {
    if (closed !== undefined) return
    closed = exit
    state = { _tag: "Closed" }
    const ending = Array.from(channels.values())
    channels.clear()
    for (const mailbox of ending.flatMap(({ active }) => [...active])) mailbox.end(exit)
    for (const { active, pending } of ending) {
      for (const mailbox of active) mailbox.wake()
      for (const confirmed of pending.values()) Deferred.doneUnsafe(confirmed, exit)
    }
  }

  const leave = (name: string, mailbox: Mailbox) => {
    mailbox.end(Exit.fail(new ListenerError({ reason: new ListenerClosed() })))
    mailbox.wake()
    const channel = channels.get(name)
    if (channel === undefined) return
    channel.active.delete(mailbox)
    channel.pending.delete(mailbox)
    if (channel.active.size + channel.pending.size > 0) return
    channels.delete(name)
    change(name)
  }

  const subscribe: Supervisor["subscribe"] = (name, capacity) =>
    Effect.acquireRelease(
      Effect.suspend(() => {
        if (closed !== undefined) return closed
        const mailbox = new Mailbox(capacity)
        const confirmed = Deferred.makeUnsafe<void, ListenerError | SqlError>()
        const channel = channels.get(name) ?? { active: new Set(), pending: new Map() }
        channels.set(name, channel)
        channel.pending.set(mailbox, confirmed)
        change(name)
        return Deferred.await(confirmed).pipe(
          Effect.as(mailbox),
          Effect.onError(() => Effect.sync(() => leave(name, mailbox)))
        )
      }),
      (mailbox) => Effect.sync(() => leave(name, mailbox)),
      { interruptible: true }
    )

  const deliver = (received: ReadonlyArray<PgConnection.Notification>): Effect.Effect<void> =>
    Effect.flatMap(DateTime.now, (receivedAt) => {
      let dropped = 0
      const reached = new Set<Mailbox>()
      for (const { channel, payload, processId } of received) {
        const notification: Notification = { _tag: "Notification", channel, payload, pid: processId, receivedAt }
        for (const mailbox of channels.get(channel)?.active ?? []) {
          reached.add(mailbox)
          dropped += mailbox.add(notification)
        }
      }
      const wakeThem = Effect.sync(() => {
        for (const mailbox of reached) mailbox.wake()
      })
      return dropped === 0 ? wakeThem : Effect.andThen(Metric.update(Metrics.droppedNotifications, dropped), wakeThem)
    })

  /** Makes the session listen to what is wanted of this channel now. */
  const reconcile = Effect.fnUntraced(function*(session: Session.Session, name: string) {
    if (!channels.has(name)) return yield* session.unlisten(name)
    if (!session.listensTo(name)) {
      const refusal = yield* Effect.as(session.listen(name, deliver), undefined).pipe(
        Effect.catchTag("SqlError", Effect.succeed)
      )
      if (refusal !== undefined) {
        // Trap: who is told runs at once, and may subscribe again or end another's subscription. So first all is changed,
        // then all are told, each once.
        for (const confirmed of Array.from(channels.get(name)?.pending.values() ?? [])) {
          Deferred.doneUnsafe(confirmed, Exit.fail(refusal))
        }
        return
      }
    }
    const channel = channels.get(name)
    if (channel === undefined) return
    const confirmations = Array.from(channel.pending.values())
    for (const mailbox of channel.pending.keys()) {
      mailbox.interrupted("connected")
      channel.active.add(mailbox)
    }
    channel.pending.clear()
    for (const confirmed of confirmations) Deferred.doneUnsafe(confirmed, Exit.void)
  })

  /** Serves until the session is lost. `established` runs when it does again what the session before it did. */
  const serve = Effect.fnUntraced(function*(session: Session.Session, established: Effect.Effect<void>) {
    for (const [name, { active }] of channels) {
      if (active.size === 0) continue
      // A refusal here, as by a standby before it is promoted, must not cost anybody the subscription.
      yield* session.listen(name, deliver).pipe(
        Effect.catchTag("SqlError", (error) => Effect.fail(new Session.Lost({ error })))
      )
    }
    state = { _tag: "Connected", pid: session.pid }
    const mailboxes = Array.from(channels.values(), ({ active }) => [...active]).flat()
    for (const mailbox of mailboxes) mailbox.interrupted("reconnected")
    yield* established
    for (const mailbox of mailboxes) mailbox.wake()
    for (const name of channels.keys()) changed.add(name)
    while (true) {
      // Before looking, so that what changes meanwhile is seen.
      wake.closeUnsafe()
      for (const name of changed) {
        changed.delete(name)
        yield* reconcile(session, name)
      }
      const quiet = (yield* Clock.currentTimeMillis) - session.heardAt()
      const left = Duration.toMillis(probeInterval) - quiet
      yield* left <= 0
        ? session.probe
        : Effect.raceFirst(session.lost, Effect.timeoutOption(wake.await, left))
    }
  })

  const supervise = Effect.gen(function*() {
    let nextDelay = yield* Schedule.toStep(backoff)
    let connectedBefore = false
    while (true) {
      state = { _tag: "Connecting" }
      let established = false
      const onEstablished = Effect.suspend(() => {
        established = true
        return connectedBefore ? Metric.update(Metrics.listenerReconnects, 1) : Effect.void
      })
      const failure = yield* Session.open(connection, probeTimeout).pipe(
        Effect.flatMap((session) => serve(session, onEstablished)),
        Effect.scoped,
        Effect.flip
      )
      if (established) {
        connectedBefore = true
        nextDelay = yield* Schedule.toStep(backoff)
      }
      const final = isSqlError(failure) ? finalFailure(failure) : undefined
      const error = isSqlError(failure) ? failure : failure.error
      if (final !== undefined) return close(Exit.fail(new ListenerError({ reason: final })))
      const now = yield* Clock.currentTimeMillis
      const delay = yield* Pull.catchDone(
        Effect.map(nextDelay(now, error), ([, delay]) => delay),
        () => Effect.succeed(undefined)
      )
      if (delay === undefined) {
        const problem = `the back-off schedule has ended; the last error was: ${error.message}`
        return close(Exit.fail(new ListenerError({ reason: new ConnectionFailed({ problem }) })))
      }
      state = { _tag: "Waiting", until: DateTime.makeUnsafe(now + Duration.toMillis(delay)), error }
      const innermost = Chain.of(error).at(-1) ?? error
      const why = Chain.text(innermost, "message") ?? error.message
      yield* Effect.logWarning(`PgListener: no connection: ${why}; next attempt in ${Duration.format(delay)}`)
      yield* Effect.sleep(delay)
    }
  })

  yield* Effect.forkScoped(
    // A defect of a password's effect, for one: nobody may wait for a supervisor that is gone.
    Effect.onError(supervise, (cause) => Effect.sync(() => close(Exit.failCause(Cause.die(Cause.squash(cause))))))
  )
  // Runs before the fiber is interrupted, so that every subscriber gets to know the reason.
  yield* Effect.addFinalizer(() =>
    Effect.sync(() => close(Exit.fail(new ListenerError({ reason: new ListenerClosed() }))))
  )
  return { state: Effect.sync(() => state), subscribe }
})

/**
 * LISTEN that survives the loss of its connection, and NOTIFY that belongs to the transaction in which it is written.
 *
 * A listener keeps one connection of its own outside the pool and shares it among all channels. It reconnects by itself.
 * NOTIFY is not stored anywhere: whatever is notified while nobody is connected is gone. Therefore every place at which
 * notifications may be missing is an event of its own, a `Gap`, and the rule for a subscriber is: at a gap, look for
 * yourself. Who does so misses nothing.
 *
 * ```ts
 * const orders = Effect.gen(function*() {
 *   const listener = yield* PgListener.PgListener
 *   const subscription = yield* listener.subscribe("orders")
 *   yield* Stream.runForEach(subscription.stream, (event) => event._tag === "Gap" ? pollAll : poll(event.payload))
 * }).pipe(Effect.scoped)
 * ```
 *
 * A pooler in transaction mode cannot carry LISTEN: give the listener the server's own address.
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { checkConfig } from "./internal/connectionConfig.ts"
import { isMultiplexed, type PgConnection, SqlClient, type SqlError, Statement } from "./internal/driver.ts"
import type { Event } from "./internal/listener/event.ts"
import { BadOption, ListenerError, Misuse } from "./internal/listener/ListenerError.ts"
import { checkChannel, checkPayload } from "./internal/listener/names.ts"
import * as Supervisor from "./internal/listener/supervisor.ts"

export type { Event, Gap, Notification } from "./internal/listener/event.ts"
export * from "./internal/listener/ListenerError.ts"
export type { State } from "./internal/listener/supervisor.ts"

/**
 * One subscriber's events, in the order in which they happened. Several fibers may take; each event goes to one of them.
 *
 * After the scope of the subscription or of the listener has closed, what is queued can still be taken; then every member
 * fails with `ListenerClosed`. If the listener gives up for good they fail with `ConnectionFailed` in the same way.
 */
export interface Subscription {
  readonly channel: string
  /** Waits for the next event. An event is either taken or stays: interruption loses none. */
  readonly take: Effect.Effect<Event, ListenerError>
  /** Everything that is queued, perhaps nothing. Does not wait. */
  readonly takeAll: Effect.Effect<ReadonlyArray<Event>, ListenerError>
  /** The next event, or none if none came in this time by the caller's Clock. Zero looks without waiting. */
  readonly wait: (duration: Duration.Input) => Effect.Effect<Option.Option<Event>, ListenerError>
  /** `take` repeated, one event at a time, so that what is not yet processed counts against the capacity. Never just ends. */
  readonly stream: Stream.Stream<Event, ListenerError>
  /** How many notifications were dropped altogether because the subscriber was too slow. */
  readonly dropped: Effect.Effect<number>
}

export interface SubscribeOptions {
  /**
   * How many notifications may be queued; above zero, default 1,024. When one more arrives the oldest is dropped, and the
   * next event taken is `Gap("overflow")`. Gaps take no room.
   */
  readonly capacity?: number | undefined
}

export class PgListener extends Context.Service<PgListener, {
  /**
   * Subscribes to a channel for as long as the scope is open. Returns after the server has confirmed the LISTEN, so that
   * whatever is committed from then on is told; the first event is `Gap("connected")`. While there is no connection it
   * waits for one, and can be interrupted.
   *
   * The name is taken exactly as given, capitals and quotes included: `Orders` is not the channel of `LISTEN Orders`, which
   * the server folds to `orders`.
   *
   * - errors: `BadChannel` unless the name has 1 to 63 bytes in UTF-8 and no NUL; `BadOption` for an unusable capacity;
   *   `ConnectionFailed` and `ListenerClosed`; `SqlError` if the server refuses this LISTEN (25006 on a standby), which
   *   touches no other subscription
   * - source: spec 6
   */
  readonly subscribe: (
    channel: string,
    options?: SubscribeOptions
  ) => Effect.Effect<Subscription, ListenerError | SqlError, Scope.Scope>
  /** Where the connection is now. */
  readonly state: Effect.Effect<Supervisor.State>
  /** See the function `notify`. */
  readonly notify: typeof notify
  /** See the function `notifyFragment`. */
  readonly notifyFragment: typeof notifyFragment
}>()("restante/pg-session/PgListener") {}

export interface Options {
  /**
   * How to connect: what `PgConnection.make` of `@effect/sql-pg` takes, which includes the `stream` of a `PgTransport`. A
   * password that is an Effect is evaluated for each attempt. `multiplex` and `prepare` are ignored.
   */
  readonly connection: PgConnection.Config
  /**
   * The delays before the next attempts. It starts anew after each connection that came to listen to all channels; if it
   * ends, the listener gives up with `ConnectionFailed`. Default: 100 ms, doubling to 10 s, each 20 % more or less, without
   * end.
   */
  readonly backoff?: Schedule.Schedule<unknown, SqlError> | undefined
  /** After this time without a word from the server it is asked for one. Above zero; default 30 seconds. */
  readonly probeInterval?: Duration.Input | undefined
  /** A server that takes longer than this to answer a command counts as lost. Above zero; default 5 seconds. */
  readonly probeTimeout?: Duration.Input | undefined
}

const defaultBackoff = Schedule.exponential("100 millis").pipe(
  Schedule.modifyDelay(({ duration }) => Effect.succeed(Duration.min(duration, Duration.seconds(10)))),
  Schedule.jittered
)

const badOption = (problem: string) => new ListenerError({ reason: new BadOption({ problem }) })

const positive = (name: string, input: Duration.Input): Effect.Effect<Duration.Duration, ListenerError> =>
  Option.match(Option.filter(Duration.fromInput(input), (d) => Duration.isFinite(d) && Duration.isPositive(d)), {
    onNone: () => Effect.fail(badOption(`${name} is to be a finite duration above zero`)),
    onSome: Effect.succeed
  })

/**
 * Connects in the background, at once and whenever the connection is lost. It does not wait for the server and does not
 * fail because it is down: see `state`.
 *
 * - errors: `BadOption`
 */
export const make = Effect.fnUntraced(function*(
  options: Options
): Effect.fn.Return<PgListener["Service"], ListenerError, Scope.Scope> {
  // A malformed URL would look like a server that is down, and be tried for ever.
  yield* Effect.mapError(checkConfig(options.connection), ({ message }) => badOption(message))
  const supervisor = yield* Supervisor.make({
    connection: options.connection,
    backoff: options.backoff ?? defaultBackoff,
    probeInterval: yield* positive("probeInterval", options.probeInterval ?? "30 seconds"),
    probeTimeout: yield* positive("probeTimeout", options.probeTimeout ?? "5 seconds")
  })

  const subscribe: PgListener["Service"]["subscribe"] = Effect.fnUntraced(function*(channel, { capacity = 1024 } = {}) {
    yield* checkChannel(channel)
    if (!Number.isSafeInteger(capacity) || capacity < 1) {
      return yield* Effect.fail(badOption("capacity is to be an integer above zero"))
    }
    const mailbox = yield* supervisor.subscribe(channel, capacity)
    return {
      channel,
      take: mailbox.take,
      takeAll: mailbox.takeAll,
      wait: (duration) =>
        Effect.flatMap(
          Clock.currentTimeMillis,
          (now) => mailbox.takeBefore(now + Duration.toMillis(duration))
        ),
      stream: Stream.fromEffectRepeat(mailbox.take),
      dropped: Effect.sync(() => mailbox.dropped)
    }
  })

  return PgListener.of({ subscribe, state: supervisor.state, notify, notifyFragment })
})

/** See `make`. Needs no client: the connection is its own. */
export const layer = (options: Options): Layer.Layer<PgListener, ListenerError> =>
  Layer.effect(PgListener, make(options))

/**
 * A call of `pg_notify` for a statement of your own, such as `sql\`select ${fragment} from ...\``. Whatever is said of `notify`
 * holds for that statement.
 *
 * - errors: `BadChannel`, `BadPayload`
 */
export const notifyFragment = (
  channel: string,
  payload: string
): Effect.Effect<Statement.Fragment, ListenerError> =>
  Effect.andThen(checkChannel(channel), checkPayload(payload)).pipe(
    Effect.as(Statement.fragment([
      Statement.literal("pg_notify("),
      Statement.parameter(channel),
      Statement.literal("::text, "),
      Statement.parameter(payload),
      Statement.literal("::text)")
    ]))
  )

/**
 * Notifies a channel, on the client of the context and with no listener needed. Inside a transaction it is a statement of
 * that transaction: it is delivered when the transaction commits and not at all if that, or the savepoint around it, is
 * rolled back. Outside it is delivered at once. Equal notifications of one transaction are delivered once.
 *
 * - units: `channel` 1 to 63 bytes, `payload` up to 7,999 bytes, in UTF-8 and without NUL
 * - errors: `BadChannel` and `BadPayload`, and `Misuse` on a multiplexed client outside a transaction, all before anything is
 *   sent; `SqlError`
 * - source: spec 6, spec 12 (the client's own `notify` uses another connection); PostgreSQL manual, NOTIFY
 */
export const notify = (
  channel: string,
  payload: string
): Effect.Effect<void, ListenerError | SqlError, SqlClient.SqlClient> =>
  Effect.gen(function*() {
    const call = yield* notifyFragment(channel, payload)
    const sql = yield* SqlClient.SqlClient
    if (isMultiplexed(sql) && Option.isNone(yield* Effect.serviceOption(sql.transactionService))) {
      return yield* new ListenerError({ reason: new Misuse({ problem: multiplexed }) })
    }
    yield* sql`select ${call}`
  })

const multiplexed =
  "on a multiplexed client an interruption would not cancel this NOTIFY and it may be delivered; use a transaction"

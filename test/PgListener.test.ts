/**
 * PgListener against real servers: what subscribers see when everything is well, when connections are killed, links go
 * silent and servers stop, and that nothing is left behind.
 */
import { PgClient } from "@effect/sql-pg"
import { assert, describe, it } from "@effect/vitest"
import { EmbeddedPostgres } from "@restante/embedded-postgres"
import { PgListener, PgTransport } from "@restante/pg-session"
import {
  Cause,
  DateTime,
  Deferred,
  Duration,
  Effect,
  Exit,
  Fiber,
  Logger,
  Metric,
  Option,
  Redacted,
  Schedule,
  Schema,
  Scope,
  Stream
} from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import { isSqlError, type SqlError } from "effect/sql/SqlError"
import * as TestClock from "effect/testing/TestClock"
import { randomUUID } from "node:crypto"
import { writeFileSync } from "node:fs"
import { join } from "node:path"
import * as TappedSocket from "./fixtures/pg-session/tappedSocket.ts"
import { until } from "./fixtures/postgres/activity.ts"
import * as Proxy from "./fixtures/postgres/proxy.ts"
import * as PostgresDatabase from "./PostgresDatabase.ts"

const url = await PostgresDatabase.open()

const client = (options: Partial<PgClient.PgPoolConfig> = {}) => PgClient.layer({ url, maxConnections: 4, ...options })

/** A listener and the name by which the server knows its connection. */
const listening = (options: Partial<PgListener.Options> = {}) =>
  Effect.suspend(() => {
    const applicationName = `listener ${randomUUID()}`
    return Effect.map(
      PgListener.make({
        // Soon enough for a test that waits for it; the defaults are tested with a clock of their own.
        backoff: Schedule.spaced("20 millis"),
        ...options,
        connection: { url, ...options.connection, applicationName }
      }),
      (listener) => ({ listener, applicationName })
    )
  })

const quiet = Effect.provide(Logger.layer([]))

type Listener = PgListener.PgListener["Service"]

/** The server process of the connection, as soon as it is another one than before. */
const connected = (listener: Listener, before = 0) =>
  Effect.gen(function*() {
    let pid = before
    yield* until(Effect.map(listener.state, (state) => {
      if (state._tag === "Connected") pid = state.pid
      return pid !== before
    }))
    return pid
  })

const kill = (pid: number) => Effect.flatMap(PgClient.PgClient, (sql) => sql`select pg_terminate_backend(${pid})`)

/** The connections that the server knows by this name. */
const sessions = (applicationName: string) =>
  Effect.flatMap(PgClient.PgClient, (sql) =>
    Effect.map(
      sql<{ readonly pid: number }>`select pid from pg_stat_activity where application_name = ${applicationName}`,
      (rows) => rows.map(({ pid }) => pid)
    ))

/** An event without what differs from run to run. */
const plain = (event: PgListener.Event): string =>
  event._tag === "Notification"
    ? event.payload
    : event.reason === "overflow"
    ? `Gap(overflow, ${event.dropped})`
    : `Gap(${event.reason})`

const taken = (subscription: PgListener.Subscription, count: number) =>
  Effect.map(
    Effect.replicateEffect(Effect.timeout(subscription.take, "30 seconds"), count),
    (events) => events.map(plain)
  )

const reasonOf = (error: unknown): string =>
  error instanceof PgListener.ListenerError ? error.reason._tag : `no ListenerError: ${String(error)}`

const reason = <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.map(Effect.flip(effect), reasonOf)

/** One notification for each number up to this, in one transaction. */
const notifyMany = (channel: string, count: number) =>
  Effect.flatMap(
    PgClient.PgClient,
    (sql) => sql`select pg_notify(${channel}, n::text) from generate_series(1, ${count}::int4) n order by n`
  )

const numbers = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, i) => String(from + i))

const run = <A, E>(test: Effect.Effect<A, E, PgClient.PgClient | SqlClient | Scope.Scope>) =>
  test.pipe(Effect.scoped, Effect.provide(client()), quiet)

/** The URL with a part changed. */
const withDatabase = (change: (url: URL) => void): Redacted.Redacted => {
  const changed = new URL(Redacted.value(url))
  change(changed)
  return Redacted.make(changed.href)
}

/** Runs a test with a server of its own. */
const serverTest = (
  test: (server: EmbeddedPostgres.EmbeddedPostgres["Service"]) => Effect.Effect<void, unknown, Scope.Scope>
) => Effect.flatMap(EmbeddedPostgres.make(), test).pipe(Effect.scoped, quiet)

/** What a listener needs to know itself when the transport knows the rest. */
const throughTransport = (transport: PgTransport.PgTransport["Service"]) => {
  const { pathname, username } = new URL(Redacted.value(url))
  return listening({
    connection: { url: undefined, stream: transport.stream, username, database: pathname.slice(1) }
  })
}

const badChannels: ReadonlyArray<readonly [name: string, text: string]> = [
  ["empty", ""],
  ["64 bytes", "x".repeat(64)],
  ["64 bytes in 32 characters", "é".repeat(32)],
  ["a NUL", "a\0b"],
  ["half a surrogate pair", "a\uD800"]
]

describe("channels", () => {
  it.live("case 33: two channels share one connection, and leaving one keeps the other", () =>
    run(Effect.gen(function*() {
      const { applicationName, listener } = yield* listening()
      const first = yield* listener.subscribe("first")
      const secondScope = yield* Scope.make()
      const second = yield* Scope.provide(listener.subscribe("second"), secondScope)
      assert.deepStrictEqual(yield* taken(first, 1), ["Gap(connected)"])
      assert.deepStrictEqual(yield* taken(second, 1), ["Gap(connected)"])
      yield* PgListener.notify("second", "b")
      yield* PgListener.notify("first", "a")
      assert.deepStrictEqual(yield* taken(first, 1), ["a"])
      assert.deepStrictEqual(yield* taken(second, 1), ["b"])
      assert.lengthOf(yield* sessions(applicationName), 1)
      yield* Scope.close(secondScope, Exit.void)
      yield* PgListener.notify("first", "after")
      assert.deepStrictEqual(yield* taken(first, 1), ["after"])
      assert.strictEqual(yield* first.dropped, 0)
      assert.strictEqual(first.channel, "first")
    })))

  it.live("case 33: LISTEN is sent for the first subscriber of a channel and UNLISTEN for the last", () =>
    run(Effect.gen(function*() {
      const tap = TappedSocket.make(url)
      const { listener } = yield* listening({ connection: { stream: tap.stream } })
      const scopes = [yield* Scope.make(), yield* Scope.make()]
      for (const scope of scopes) yield* Scope.provide(listener.subscribe("shared"), scope)
      yield* listener.subscribe("other")
      for (const scope of scopes) yield* Scope.close(scope, Exit.void)
      yield* listener.subscribe("last")
      assert.deepStrictEqual(yield* tap.statements, [
        `LISTEN "shared"`,
        `LISTEN "other"`,
        `UNLISTEN "shared"`,
        `LISTEN "last"`
      ])
      assert.strictEqual(yield* tap.opened, 1)
    })))

  it.live("case 33: names are exact, with quotes, capitals, spaces and 63 bytes of any script", () =>
    run(Effect.gen(function*() {
      const { listener } = yield* listening()
      const names = [
        "Orders",
        "orders",
        `a"b""c`,
        "it's",
        "a b;--",
        "$1",
        "é".repeat(31) + "x",
        "通知",
        "😀".repeat(15)
      ]
      const subscriptions = yield* Effect.forEach(names, (name) => listener.subscribe(name))
      yield* Effect.forEach(names, (name) => PgListener.notify(name, `to ${name}`))
      yield* Effect.forEach(names, (name) => PgListener.notify(name, "end"))
      for (const [i, name] of names.entries()) {
        const subscription = subscriptions[i]
        assert.isDefined(subscription)
        assert.deepStrictEqual(yield* taken(subscription, 3), ["Gap(connected)", `to ${name}`, "end"])
      }
    })))

  it.live("a notification tells its channel, payload, sender and time", () =>
    run(Effect.gen(function*() {
      const sql = yield* PgClient.PgClient
      const { listener } = yield* listening()
      const subscription = yield* listener.subscribe("facts")
      yield* subscription.take
      const before = yield* DateTime.now
      const pid = yield* sql.withTransaction(Effect.gen(function*() {
        yield* PgListener.notify("facts", "")
        const rows = yield* sql<{ readonly pid: number }>`select pg_backend_pid() as pid`
        return rows[0]?.pid
      }))
      const event = yield* subscription.take
      assert(event._tag === "Notification")
      assert.deepStrictEqual([event.channel, event.payload, event.pid], ["facts", "", pid])
      assert.isTrue(DateTime.between(event.receivedAt, { minimum: before, maximum: yield* DateTime.now }))
    })))

  it.live("a name that PostgreSQL would refuse or cut is refused before anything is sent", () =>
    run(Effect.gen(function*() {
      const tap = TappedSocket.make(url)
      const { listener } = yield* listening({ connection: { stream: tap.stream } })
      const good = yield* listener.subscribe("good")
      for (const [name, channel] of badChannels) {
        assert.strictEqual(yield* reason(listener.subscribe(channel)), "BadChannel", name)
        assert.strictEqual(yield* reason(PgListener.notify(channel, "x")), "BadChannel", name)
        assert.strictEqual(yield* reason(PgListener.notifyFragment(channel, "x")), "BadChannel", name)
      }
      yield* PgListener.notify("good", "still there")
      assert.deepStrictEqual(yield* taken(good, 2), ["Gap(connected)", "still there"])
      assert.deepStrictEqual(yield* tap.statements, [`LISTEN "good"`])
    })))

  it.live("a capacity that is not a number above zero is refused", () =>
    run(Effect.gen(function*() {
      const { listener } = yield* listening()
      for (const capacity of [0, -1, 1.5, Number.NaN, Number.POSITIVE_INFINITY]) {
        assert.strictEqual(yield* reason(listener.subscribe("c", { capacity })), "BadOption", String(capacity))
      }
    })))

  // It stayed subscribed for ever: the fiber that is told first runs before the next is told.
  it.live("who is confirmed first may end the subscription of who is confirmed next", () =>
    run(Effect.gen(function*() {
      const tap = TappedSocket.make(url)
      const { listener } = yield* listening({ connection: { stream: tap.stream } })
      const next = yield* Deferred.make<Fiber.Fiber<unknown, unknown>>()
      const leave = yield* Deferred.make<void>()
      const first = yield* Effect.forkChild(
        Effect.scoped(Effect.gen(function*() {
          const subscription = yield* listener.subscribe("both")
          yield* Effect.flatMap(Deferred.await(next), Fiber.interrupt)
          yield* Deferred.await(leave)
          return plain(yield* subscription.take)
        })),
        { startImmediately: true }
      )
      const second = yield* Effect.forkChild(Effect.scoped(listener.subscribe("both")), { startImmediately: true })
      yield* Deferred.succeed(next, second)
      yield* Fiber.await(second)
      // Some round trip, so that whoever told them has come to its end.
      yield* PgListener.notify("elsewhere", "")
      yield* Deferred.succeed(leave, undefined)
      assert.strictEqual(yield* Fiber.join(first), "Gap(connected)")
      yield* listener.subscribe("last")
      assert.deepStrictEqual(yield* tap.statements, [`LISTEN "both"`, `UNLISTEN "both"`, `LISTEN "last"`])
    })))

  it.live("subscribing and leaving the same channels from many fibers never crosses", () =>
    run(Effect.gen(function*() {
      const tap = TappedSocket.make(url)
      const { applicationName, listener } = yield* listening({ connection: { stream: tap.stream } })
      const cycle = (worker: number, turn: number) =>
        Effect.scoped(Effect.gen(function*() {
          const channel = `stress ${(worker + turn) % 3}`
          // Some give up while they wait for the confirmation.
          const impatient = yield* Effect.forkChild(Effect.scoped(listener.subscribe(channel)), {
            startImmediately: true
          })
          const subscription = yield* listener.subscribe(channel)
          yield* Fiber.interrupt(impatient)
          assert.strictEqual(plain(yield* subscription.take), "Gap(connected)")
          const token = `${worker} ${turn}`
          yield* PgListener.notify(channel, token)
          // Others notify the same channel.
          yield* Effect.repeat(Effect.map(subscription.take, plain), { until: (payload) => payload === token }).pipe(
            Effect.timeout("30 seconds")
          )
        }))
      yield* Effect.forEach(
        numbers(1, 12),
        (worker) => Effect.forEach(numbers(1, 25), (turn) => cycle(Number(worker), Number(turn))),
        { concurrency: "unbounded" }
      )
      assert.lengthOf(yield* sessions(applicationName), 1)
      assert.strictEqual(yield* tap.opened, 1)
      // Nobody is left, so whatever was listened to is given up.
      yield* until(Effect.map(tap.statements, (statements) =>
        [0, 1, 2].every((n) =>
          statements.findLast((text) =>
            text.endsWith(`"stress ${n}"`)
          ) === `UNLISTEN "stress ${n}"`
        )))
      const statements = yield* tap.statements
      for (const n of [0, 1, 2]) {
        const own = statements.filter((text) =>
          text.endsWith(`"stress ${n}"`)
        )
        assert.deepStrictEqual(
          own,
          own.map((_, i) => `${i % 2 === 0 ? "" : "UN"}LISTEN "stress ${n}"`),
          "they alternate"
        )
      }
    })))
})

describe("gaps", () => {
  it.live("case 34: after the connection is killed a subscriber gets what was queued, a gap, and later notifications", () =>
    run(Effect.gen(function*() {
      const { listener } = yield* listening()
      const subscription = yield* listener.subscribe("killed")
      assert.deepStrictEqual(yield* taken(subscription, 1), ["Gap(connected)"])
      yield* notifyMany("killed", 3)
      // The second subscription is confirmed after the server has sent what came before.
      yield* listener.subscribe("marker")
      const pid = yield* connected(listener)
      yield* kill(pid)
      yield* connected(listener, pid)
      yield* PgListener.notify("killed", "later")
      assert.deepStrictEqual(yield* taken(subscription, 5), ["1", "2", "3", "Gap(reconnected)", "later"])
      assert.strictEqual(yield* subscription.dropped, 0)
    })))

  it.live("case 34: every subscriber of every channel is told, and only after all channels are listened to again", () =>
    run(Effect.gen(function*() {
      const tap = TappedSocket.make(url)
      const { listener } = yield* listening({ connection: { stream: tap.stream } })
      const channels = numbers(1, 20)
      const subscriptions = yield* Effect.forEach([...channels, ...channels], (name) => listener.subscribe(name))
      yield* Effect.forEach(subscriptions, (subscription) => subscription.take)
      yield* kill(yield* connected(listener))
      const [first] = subscriptions
      assert.isDefined(first)
      assert.deepStrictEqual(yield* taken(first, 1), ["Gap(reconnected)"])
      assert.lengthOf(yield* tap.statements, 40)
      // One has its gap, so all have.
      for (const subscription of subscriptions.slice(1)) {
        assert.deepStrictEqual((yield* subscription.takeAll).map(plain), ["Gap(reconnected)"])
      }
    })))

  it.live("losses that nobody has looked at yet are one gap, and the first event stays Gap(connected)", () =>
    run(Effect.gen(function*() {
      const { listener } = yield* listening()
      const subscription = yield* listener.subscribe("twice")
      const untouched = yield* listener.subscribe("twice")
      yield* subscription.take
      for (let pid = yield* connected(listener), times = 0; times < 2; times++) {
        yield* kill(pid)
        pid = yield* connected(listener, pid)
      }
      yield* PgListener.notify("twice", "end")
      assert.deepStrictEqual(yield* taken(subscription, 2), ["Gap(reconnected)", "end"])
      assert.deepStrictEqual(yield* taken(untouched, 2), ["Gap(connected)", "end"])
    })))

  it.live("case 35: a subscriber with capacity 4 loses the oldest and knows how many; another loses nothing", () =>
    run(Effect.gen(function*() {
      const { listener } = yield* listening()
      const small = yield* listener.subscribe("overflow", { capacity: 4 })
      const large = yield* listener.subscribe("overflow")
      yield* Effect.forEach([small, large], (subscription) => subscription.take)
      yield* notifyMany("overflow", 10)
      assert.deepStrictEqual(yield* taken(large, 10), numbers(1, 10))
      assert.deepStrictEqual(yield* taken(small, 3), ["Gap(overflow, 6)", "7", "8"])
      yield* notifyMany("overflow", 3)
      assert.deepStrictEqual(yield* taken(large, 3), numbers(1, 3))
      assert.deepStrictEqual(yield* taken(small, 5), ["Gap(overflow, 1)", "10", "1", "2", "3"])
      assert.strictEqual(yield* small.dropped, 7)
      assert.strictEqual(yield* large.dropped, 0)
    })))

  it.live("exactly as many as the capacity lose nothing", () =>
    run(Effect.gen(function*() {
      const { listener } = yield* listening()
      const small = yield* listener.subscribe("full", { capacity: 4 })
      const large = yield* listener.subscribe("full")
      yield* notifyMany("full", 4)
      yield* taken(large, 5)
      assert.deepStrictEqual((yield* small.takeAll).map(plain), ["Gap(connected)", "1", "2", "3", "4"])
    })))

  it.live("an overflow neither loses nor overtakes the first gap, and keeps the place of a later one", () =>
    run(Effect.gen(function*() {
      const { listener } = yield* listening()
      const fresh = yield* listener.subscribe("places", { capacity: 2 })
      const used = yield* listener.subscribe("places", { capacity: 2 })
      const drowned = yield* listener.subscribe("places", { capacity: 2 })
      const all = yield* listener.subscribe("places")
      yield* Effect.forEach([used, drowned, all], (subscription) => subscription.take)
      yield* notifyMany("places", 3)
      yield* taken(all, 3)
      yield* drowned.takeAll
      const pid = yield* connected(listener)
      yield* kill(pid)
      yield* connected(listener, pid)
      yield* PgListener.notify("places", "4")
      assert.deepStrictEqual(yield* taken(all, 2), ["Gap(reconnected)", "4"])
      // "2" was dropped for "4": before the connection was lost came "3", after it "4".
      assert.deepStrictEqual(yield* taken(used, 4), ["Gap(overflow, 2)", "3", "Gap(reconnected)", "4"])
      assert.deepStrictEqual(yield* taken(fresh, 4), ["Gap(connected)", "Gap(overflow, 2)", "3", "4"])
      yield* notifyMany("places", 3)
      yield* taken(all, 3)
      // Everything from before the loss, and more, is gone; the gap of the loss is not.
      assert.deepStrictEqual((yield* drowned.takeAll).map(plain), ["Gap(overflow, 2)", "Gap(reconnected)", "2", "3"])
    })))

  it.live("one slow subscriber among twenty loses the oldest, and the others get everything in order", () =>
    run(Effect.gen(function*() {
      const { listener } = yield* listening()
      const before = yield* droppedByMetric
      const slow = yield* listener.subscribe("slow", { capacity: 64 })
      const others = yield* Effect.forEach(numbers(1, 19), () => listener.subscribe("slow", { capacity: 2_000 }))
      const readers = yield* Effect.forEach(others, (subscription) => Effect.forkChild(taken(subscription, 1_001)))
      yield* notifyMany("slow", 1_000)
      for (const reader of readers) {
        assert.deepStrictEqual(yield* Fiber.join(reader), ["Gap(connected)", ...numbers(1, 1_000)])
      }
      assert.strictEqual(yield* slow.dropped, 936)
      assert.deepStrictEqual((yield* slow.takeAll).map(plain), [
        "Gap(connected)",
        "Gap(overflow, 936)",
        ...numbers(937, 1_000)
      ])
      assert.isAtLeast((yield* droppedByMetric) - before, 936)
    })))

  it.live("100 channels on one connection: killed under load, every subscriber looks again at each gap and misses nothing", () =>
    run(Effect.gen(function*() {
      const sql = yield* PgClient.PgClient
      const perChannel = 20
      const channels = numbers(0, 99)
      yield* sql`create table rows_told (id int8 generated always as identity, channel text)`
      const { applicationName, listener } = yield* listening()
      const before = yield* reconnectsByMetric
      let told = 0
      const subscriber = Effect.fnUntraced(function*(channel: string, ready: Deferred.Deferred<void>) {
        const subscription = yield* listener.subscribe(channel)
        const seen = new Set<string>()
        const gaps: Array<string> = []
        while (seen.size < perChannel || !gaps.includes("reconnected")) {
          const event = yield* subscription.take
          if (event._tag === "Notification") {
            seen.add(event.payload)
            told++
          } else {
            gaps.push(event.reason)
            const rows = yield* sql<{ readonly id: bigint }>`select id from rows_told where channel = ${channel}`
            for (const { id } of rows) seen.add(String(id))
          }
          yield* Deferred.succeed(ready, undefined)
        }
        return { seen: seen.size, gaps, dropped: yield* subscription.dropped }
      }, Effect.scoped)
      const readers = yield* Effect.forEach(
        channels,
        Effect.fnUntraced(function*(channel) {
          const ready = yield* Deferred.make<void>()
          const fiber = yield* Effect.forkScoped(subscriber(channel, ready))
          yield* Deferred.await(ready)
          return fiber
        }),
        { concurrency: "unbounded" }
      )
      assert.lengthOf(yield* sessions(applicationName), 1)
      const write = (channel: string) =>
        sql.withTransaction(Effect.gen(function*() {
          const rows = yield* sql<{ readonly id: bigint }>`
            insert into rows_told (channel) values (${channel}) returning id`
          yield* PgListener.notify(channel, String(rows[0]?.id))
        }))
      let written = 0
      const writers = yield* Effect.forkChild(Effect.forEach(
        Array.from({ length: perChannel }, () => channels).flat(),
        (channel) => Effect.tap(write(channel), Effect.sync(() => written++)),
        { concurrency: 3, discard: true }
      ))
      let pid = yield* connected(listener)
      for (const share of [0.2, 0.5, 0.8]) {
        yield* until(Effect.sync(() => written >= share * perChannel * channels.length))
        yield* kill(pid)
        pid = yield* connected(listener, pid)
      }
      yield* Fiber.join(writers)
      for (const reader of readers) {
        const { dropped, gaps, seen } = yield* Effect.timeout(Fiber.join(reader), "30 seconds")
        assert.strictEqual(seen, perChannel)
        assert.strictEqual(gaps[0], "connected")
        assert.include(gaps, "reconnected")
        assert.strictEqual(dropped, 0)
      }
      assert.isAbove(told, 0, "not everything was found by looking")
      assert.strictEqual((yield* reconnectsByMetric) - before, 3)
      assert.lengthOf(yield* sessions(applicationName), 1)
    })))
})

const counted = (id: string) =>
  Effect.map(Metric.snapshot, (metrics) => {
    const metric = metrics.find((metric) => metric.id === id)
    return metric?.type === "Counter" ? Number(metric.state.count) : 0
  })
const droppedByMetric = counted("restante_pg_session_dropped_notifications")
const reconnectsByMetric = counted("restante_pg_session_listener_reconnects")

describe("taking", () => {
  it.live("case 36: takeAll of nothing is empty, and wait gives nothing when the time is up", () =>
    run(Effect.gen(function*() {
      const { listener } = yield* listening()
      const subscription = yield* listener.subscribe("waits")
      assert.deepStrictEqual((yield* subscription.takeAll).map(plain), ["Gap(connected)"])
      assert.deepStrictEqual(yield* subscription.takeAll, [])
      assert.deepStrictEqual(yield* subscription.wait("10 millis"), Option.none())
      assert.deepStrictEqual(yield* subscription.wait(0), Option.none())
      const waiting = yield* Effect.forkChild(subscription.wait("30 seconds"), { startImmediately: true })
      yield* PgListener.notify("waits", "came")
      assert.deepStrictEqual(Option.map(yield* Fiber.join(waiting), plain), Option.some("came"))
      yield* PgListener.notify("waits", "again")
      yield* PgListener.notify("waits", "more")
      assert.deepStrictEqual(Option.map(yield* subscription.wait("30 seconds"), plain), Option.some("again"))
      assert.deepStrictEqual(Option.map(yield* subscription.wait("30 seconds"), plain), Option.some("more"))
      const patient = yield* Effect.forkChild(subscription.wait(Duration.infinity), { startImmediately: true })
      yield* PgListener.notify("waits", "last")
      assert.deepStrictEqual(Option.map(yield* Fiber.join(patient), plain), Option.some("last"))
    })))

  it.live("case 36: after the subscription's scope is closed the queue is drained, then ListenerClosed", () =>
    run(Effect.gen(function*() {
      const { listener } = yield* listening()
      const scope = yield* Scope.make()
      const subscription = yield* Scope.provide(listener.subscribe("closing"), scope)
      const other = yield* listener.subscribe("closing")
      yield* notifyMany("closing", 3)
      yield* taken(other, 4)
      yield* Scope.close(scope, Exit.void)
      yield* PgListener.notify("closing", "too late")
      yield* taken(other, 1)
      assert.deepStrictEqual(yield* taken(subscription, 2), ["Gap(connected)", "1"])
      assert.deepStrictEqual((yield* subscription.takeAll).map(plain), ["2", "3"])
      assert.strictEqual(yield* reason(subscription.take), "ListenerClosed")
      assert.strictEqual(yield* reason(subscription.takeAll), "ListenerClosed")
      assert.strictEqual(yield* reason(subscription.wait("30 seconds")), "ListenerClosed")
      assert.strictEqual(yield* reason(Stream.runDrain(subscription.stream)), "ListenerClosed")
    })))

  it.live("case 36: closing the listener ends every subscription, those who wait included", () =>
    run(Effect.gen(function*() {
      const scope = yield* Scope.make()
      const { listener } = yield* Scope.provide(listening(), scope)
      const waiter = yield* listener.subscribe("ending")
      const full = yield* listener.subscribe("ending")
      yield* waiter.take
      yield* PgListener.notify("ending", "queued")
      yield* taken(waiter, 1)
      const taking = yield* Effect.forkChild(reason(waiter.take), { startImmediately: true })
      const waiting = yield* Effect.forkChild(reason(waiter.wait("1 hour")), { startImmediately: true })
      yield* Scope.close(scope, Exit.void)
      assert.strictEqual(yield* Fiber.join(taking), "ListenerClosed")
      assert.strictEqual(yield* Fiber.join(waiting), "ListenerClosed")
      assert.deepStrictEqual(yield* taken(full, 2), ["Gap(connected)", "queued"])
      assert.strictEqual(yield* reason(full.take), "ListenerClosed")
      assert.strictEqual(yield* reason(listener.subscribe("ending")), "ListenerClosed")
      assert.deepStrictEqual(yield* listener.state, { _tag: "Closed" })
    })))

  it.live("an interrupted take loses nothing, and of several takers each gets its own event", () =>
    run(Effect.gen(function*() {
      const { listener } = yield* listening()
      const subscription = yield* listener.subscribe("takers")
      yield* subscription.take
      const gone = yield* Effect.forkChild(subscription.take, { startImmediately: true })
      yield* Fiber.interrupt(gone)
      const takers = yield* Effect.forEach(
        numbers(1, 5),
        () => Effect.forkChild(taken(subscription, 20), { startImmediately: true })
      )
      yield* notifyMany("takers", 100)
      const events = (yield* Effect.forEach(takers, Fiber.join)).flat()
      assert.deepStrictEqual(events.toSorted((a, b) => Number(a) - Number(b)), numbers(1, 100))
    })))

  it.live("a stream gives the events in order, and takes no more than it gives", () =>
    run(Effect.gen(function*() {
      const { listener } = yield* listening()
      const subscription = yield* listener.subscribe("stream")
      yield* notifyMany("stream", 5)
      const events = yield* Stream.runCollect(Stream.take(subscription.stream, 3))
      assert.deepStrictEqual(events.map(plain), ["Gap(connected)", "1", "2"])
      assert.deepStrictEqual(yield* taken(subscription, 3), ["3", "4", "5"])
    })))
})

describe("notify", () => {
  it.live("case 37: in a transaction it is delivered after the commit only, with a pool of one", () =>
    run(Effect.gen(function*() {
      const { listener } = yield* listening()
      const subscription = yield* listener.subscribe("commit")
      yield* subscription.take
      yield* Effect.gen(function*() {
        const single = yield* PgClient.PgClient
        yield* single.withTransaction(Effect.gen(function*() {
          yield* PgListener.notify("commit", "inside")
          yield* Effect.provide(PgListener.notify("commit", "outside"), client({ maxConnections: 1 }))
          assert.deepStrictEqual(yield* taken(subscription, 1), ["outside"])
          assert.deepStrictEqual(yield* subscription.takeAll, [])
        }))
      }).pipe(Effect.provide(client({ maxConnections: 1 })))
      assert.deepStrictEqual(yield* taken(subscription, 1), ["inside"])
    })))

  it.live("case 37: nothing is delivered of what was rolled back, to the begin or to a savepoint", () =>
    run(Effect.gen(function*() {
      const { listener } = yield* listening()
      const subscription = yield* listener.subscribe("rollback")
      yield* subscription.take
      yield* Effect.gen(function*() {
        const sql = yield* PgClient.PgClient
        const undone = sql.withTransaction(
          Effect.andThen(listener.notify("rollback", "undone"), Effect.fail("on purpose"))
        )
        assert.strictEqual(yield* Effect.flip(undone), "on purpose")
        yield* sql.withTransaction(Effect.gen(function*() {
          yield* PgListener.notify("rollback", "kept 1")
          assert.strictEqual(yield* Effect.flip(undone), "on purpose")
          yield* PgListener.notify("rollback", "kept 2")
        }))
        yield* PgListener.notify("rollback", "end")
      }).pipe(Effect.provide(client({ maxConnections: 1 })))
      assert.deepStrictEqual(yield* taken(subscription, 3), ["kept 1", "kept 2", "end"])
    })))

  it.live("case 37: 7,999 bytes are delivered; 8,000 bytes, a NUL and half a surrogate pair are refused", () =>
    run(Effect.gen(function*() {
      const sql = yield* PgClient.PgClient
      const { listener } = yield* listening()
      const subscription = yield* listener.subscribe("size")
      yield* subscription.take
      yield* sql.withTransaction(Effect.gen(function*() {
        for (const payload of ["x".repeat(8_000), "é".repeat(4_000), "secret\0", "secret\uDC00"]) {
          const error = yield* Effect.flip(PgListener.notify("size", payload))
          assert.strictEqual(reasonOf(error), "BadPayload")
          assert.notInclude(`${error.message} ${JSON.stringify(error)}`, payload.slice(0, 6))
          assert.strictEqual(yield* reason(PgListener.notifyFragment("size", payload)), "BadPayload")
        }
        // The transaction is as good as before, because nothing was sent.
        yield* PgListener.notify("size", "x".repeat(7_999))
      }))
      yield* PgListener.notify("size", "é".repeat(3_999))
      assert.deepStrictEqual(yield* taken(subscription, 2), ["x".repeat(7_999), "é".repeat(3_999)])
    })))

  it.live("a fragment notifies from within a statement of one's own", () =>
    run(Effect.gen(function*() {
      const sql = yield* PgClient.PgClient
      const { listener } = yield* listening()
      const subscription = yield* listener.subscribe(`it's "here"`)
      yield* subscription.take
      const call = yield* listener.notifyFragment(`it's "here"`, `$1 it's '; --`)
      yield* sql`select ${call} where ${"no"} = 'yes'`
      yield* sql`with told as (select ${call}) select ${1}::int4 as n from told`
      yield* PgListener.notify(`it's "here"`, "end")
      assert.deepStrictEqual(yield* taken(subscription, 2), [`$1 it's '; --`, "end"])
    })))

  it.live("case 47: on a multiplexed client it is misuse outside a transaction, and works inside", () =>
    run(Effect.gen(function*() {
      const { listener } = yield* listening()
      const subscription = yield* listener.subscribe("multiplexed")
      yield* subscription.take
      yield* Effect.gen(function*() {
        const sql = yield* PgClient.PgClient
        assert.strictEqual(yield* reason(PgListener.notify("multiplexed", "outside")), "Misuse")
        yield* sql.withTransaction(PgListener.notify("multiplexed", "inside"))
      }).pipe(Effect.provide(client({ multiplex: true })))
      assert.deepStrictEqual(yield* taken(subscription, 1), ["inside"])
    })))

  it.live("a plain program notifies without a listener", () =>
    PgListener.notify("nobody", "listens").pipe(Effect.provide(client())))
})

describe("connection", () => {
  it.live("the layer provides the service and leaves nothing open", () =>
    run(Effect.gen(function*() {
      const tap = TappedSocket.make(url)
      const applicationName = `listener ${randomUUID()}`
      yield* Effect.gen(function*() {
        const listener = yield* PgListener.PgListener
        yield* Effect.forEach(numbers(1, 10), (name) => listener.subscribe(name))
        assert.lengthOf(yield* sessions(applicationName), 1)
      }).pipe(
        Effect.scoped,
        Effect.provide(PgListener.layer({ connection: { url, applicationName, stream: tap.stream } }))
      )
      assert.strictEqual(yield* tap.opened, 1)
      yield* until(Effect.map(tap.open, (open) => open === 0))
      yield* until(Effect.map(sessions(applicationName), (pids) => pids.length === 0))
    })))

  it.live("closing leaves nothing open at any moment: while connecting, while listening, without a channel", () =>
    run(Effect.gen(function*() {
      const tap = TappedSocket.make(url)
      yield* Effect.forEach(numbers(1, 40), (n) =>
        Effect.scoped(Effect.gen(function*() {
          const { listener } = yield* listening({ connection: { stream: tap.stream } })
          yield* Effect.forkScoped(Effect.forEach(numbers(1, 20), (name) => listener.subscribe(name)))
          // A different moment each time.
          yield* Effect.repeat(Effect.yieldNow, { times: Number(n) * 5 })
          if (Number(n) % 4 === 0) yield* until(Effect.map(tap.statements, (all) => all.length > Number(n)))
        })), { concurrency: 4 })
      yield* Effect.scoped(
        Effect.flatMap(listening({ connection: { stream: tap.stream } }), ({ listener }) => connected(listener))
      )
      yield* until(Effect.map(tap.open, (open) => open === 0))
      yield* until(Effect.map(
        Effect.flatMap(PgClient.PgClient, (sql) =>
          sql`select from pg_stat_activity
               where datname = current_database() and application_name like 'listener %'`),
        (rows) => rows.length === 0
      ))
    })))

  it.live("building it does not wait for the server; subscribing does, and can be interrupted", () =>
    run(Effect.gen(function*() {
      const { listener } = yield* listening({ connection: { url: Redacted.make("postgres://u:p@127.0.0.1:1/db") } })
      const subscribing = yield* Effect.forkChild(Effect.scoped(listener.subscribe("down")))
      yield* until(Effect.map(listener.state, (state) => state._tag === "Waiting"))
      yield* Fiber.interrupt(subscribing)
      assert.isTrue(Exit.hasInterrupts(yield* Fiber.await(subscribing)))
    })))

  it.live("a half-open link counts as lost when the server does not answer, and is replaced", () =>
    run(Effect.gen(function*() {
      const proxy = yield* Proxy.make(url)
      const tap = TappedSocket.make(proxy.url)
      const { listener } = yield* listening({
        connection: { stream: tap.stream, connectTimeout: "300 millis" },
        probeInterval: "100 millis",
        probeTimeout: "300 millis"
      })
      const subscription = yield* listener.subscribe("half open")
      yield* subscription.take
      yield* proxy.silence
      yield* until(Effect.map(
        listener.state,
        (state) => state._tag === "Waiting" && state.error.message.includes("not answered in time")
      ))
      // The driver alone would go on waiting for the answer; the socket is closed before the next attempt.
      assert.strictEqual(yield* tap.open, 0)
      yield* PgListener.notify("half open", "lost")
      yield* proxy.heal
      assert.deepStrictEqual(yield* taken(subscription, 1), ["Gap(reconnected)"])
      yield* PgListener.notify("half open", "heard")
      assert.deepStrictEqual(yield* taken(subscription, 1), ["heard"])
    })))

  it.live("a quiet link that answers is kept", () =>
    run(Effect.gen(function*() {
      const { applicationName, listener } = yield* listening({ probeInterval: "20 millis" })
      const subscription = yield* listener.subscribe("quiet")
      const pid = yield* connected(listener)
      const sql = yield* PgClient.PgClient
      // The probe is the last statement that the session has run.
      yield* until(Effect.map(
        sql`select from pg_stat_activity
             where application_name = ${applicationName} and query = 'SELECT 1' and state = 'idle'`,
        (rows) => rows.length === 1
      ))
      assert.strictEqual(yield* connected(listener), pid)
      yield* PgListener.notify("quiet", "end")
      assert.deepStrictEqual(yield* taken(subscription, 2), ["Gap(connected)", "end"])
    })))

  it.live("a loss without a channel is found by the probe, and by the next to subscribe", () =>
    run(Effect.gen(function*() {
      const { listener: probing } = yield* listening({ probeInterval: "50 millis" })
      const first = yield* connected(probing)
      yield* kill(first)
      yield* connected(probing, first)
      const { listener } = yield* listening()
      yield* kill(yield* connected(listener))
      const subscription = yield* listener.subscribe("after")
      yield* PgListener.notify("after", "heard")
      assert.deepStrictEqual(yield* taken(subscription, 2), ["Gap(connected)", "heard"])
    })))

  it.live("closing on a silent link does not wait for the server, whatever is under way", () =>
    run(Effect.gen(function*() {
      const proxy = yield* Proxy.make(url)
      const tap = TappedSocket.make(proxy.url)
      const scope = yield* Scope.make()
      const { listener } = yield* Scope.provide(
        listening({ connection: { stream: tap.stream }, probeTimeout: "1 hour" }),
        scope
      )
      yield* listener.subscribe("before")
      yield* proxy.silence
      const subscribing = yield* Effect.forkChild(reason(Effect.scoped(listener.subscribe("silent"))))
      yield* until(Effect.map(tap.statements, (statements) => statements.includes(`LISTEN "silent"`)))
      yield* Scope.close(scope, Exit.void)
      assert.strictEqual(yield* Fiber.join(subscribing), "ListenerClosed")
      // Neither an UNLISTEN nor a cancel was tried: it would have waited for an answer.
      assert.strictEqual(yield* tap.open, 0)
      assert.strictEqual(yield* tap.opened, 1)
      assert.deepStrictEqual(yield* tap.statements, [`LISTEN "before"`, `LISTEN "silent"`])
    })))

  it.effect("back-off doubles from 100 ms to 10 s, each 20 % more or less, without end", () =>
    Effect.gen(function*() {
      const listener = yield* PgListener.make({
        connection: { url: Redacted.make("postgres://u:p@127.0.0.1:1/db") }
      })
      for (const delay of [100, 200, 400, 800, 1_600, 3_200, 6_400, 10_000, 10_000, 10_000, 10_000]) {
        // Connecting is real; only then is there something for the clock to move on to.
        let state = yield* listener.state
        while (state._tag !== "Waiting") {
          yield* Effect.promise(() => new Promise((resolve) => setImmediate(resolve)))
          state = yield* listener.state
        }
        const left = DateTime.toEpochMillis(state.until) - DateTime.toEpochMillis(yield* DateTime.now)
        assert.isAtLeast(left, delay * 0.8 - 1)
        assert.isAtMost(left, delay * 1.2 + 1)
        yield* TestClock.adjust(left + 1)
        assert.notStrictEqual(yield* listener.state, state)
      }
    }).pipe(Effect.scoped, quiet))

  it.live("a schedule that ends makes the listener give up", () =>
    run(Effect.gen(function*() {
      const tap = TappedSocket.make(Redacted.make("postgres://127.0.0.1:1/db"))
      const { listener } = yield* listening({
        connection: { stream: tap.stream },
        backoff: Schedule.spaced("1 millis").pipe(Schedule.upTo({ times: 2 }))
      })
      assert.strictEqual(yield* reason(listener.subscribe("never")), "ConnectionFailed")
      assert.strictEqual(yield* tap.opened, 3)
      assert.deepStrictEqual(yield* listener.state, { _tag: "Closed" })
    })))
})

describe("through a transport", () => {
  it.live("it listens, and survives the loss of its session", () =>
    run(Effect.gen(function*() {
      const transport = yield* PgTransport.make({ url })
      const { listener } = yield* throughTransport(transport)
      const subscription = yield* listener.subscribe("transport")
      yield* PgListener.notify("transport", "a")
      assert.deepStrictEqual(yield* taken(subscription, 2), ["Gap(connected)", "a"])
      const pid = yield* connected(listener)
      assert.deepStrictEqual((yield* transport.sessions).map((session) => session.pid), [pid])
      assert.isTrue(yield* transport.destroy(pid))
      assert.deepStrictEqual(yield* taken(subscription, 1), ["Gap(reconnected)"])
      yield* PgListener.notify("transport", "b")
      assert.deepStrictEqual(yield* taken(subscription, 1), ["b"])
    })))

  it.live("what the transport takes for final is final", () =>
    run(Effect.gen(function*() {
      const wrong = [
        ["28P01", withDatabase((url) => url.password = "wrong-secret")],
        ["3D000", withDatabase((url) => url.pathname = "/no_such_database")]
      ] as const
      for (const [sqlstate, wrongUrl] of wrong) {
        const transport = yield* PgTransport.make({ url: wrongUrl })
        const { listener } = yield* listening({ connection: { url: wrongUrl, stream: transport.stream } })
        const error = yield* Effect.flip(listener.subscribe("never"))
        assert(error instanceof PgListener.ListenerError && error.reason._tag === "ConnectionFailed")
        assert.strictEqual(error.reason.sqlstate, sqlstate)
        assert.notInclude(error.message, "wrong-secret")
      }
      // The server would let it in, but the transport does not believe the server.
      const binding = yield* PgTransport.make({ url, channelBinding: "require" })
      const { listener } = yield* throughTransport(binding)
      const error = yield* Effect.flip(listener.subscribe("never"))
      assert(error instanceof PgListener.ListenerError && error.reason._tag === "ConnectionFailed")
      assert.isUndefined(error.reason.sqlstate)
    })))
})

describe("final failures", () => {
  it.live("a wrong password, an unknown database and a role without a right to it end the listener", () =>
    run(Effect.gen(function*() {
      const sql = yield* PgClient.PgClient
      const role = `stranger_${randomUUID().slice(0, 8)}`
      yield* sql.unsafe(`create role ${role} login password 'p'`)
      yield* sql.unsafe(
        `do $$ begin execute format('revoke connect on database %I from public', current_database()); end $$`
      )
      yield* Effect.addFinalizer(() => Effect.orDie(sql.unsafe(`drop role ${role}`)))
      const attempts = [
        ["28P01", withDatabase((url) => url.password = "wrong-secret")],
        ["3D000", withDatabase((url) => url.pathname = "/no_such_database")],
        [
          "42501",
          withDatabase((url) => {
            url.username = role
            url.password = "p"
          })
        ]
      ] as const
      for (const [sqlstate, wrong] of attempts) {
        const tap = TappedSocket.make(url)
        const { listener } = yield* listening({ connection: { url: wrong, stream: tap.stream } })
        const error = yield* Effect.flip(listener.subscribe("never"))
        assert(error instanceof PgListener.ListenerError && error.reason._tag === "ConnectionFailed")
        assert.strictEqual(error.reason.sqlstate, sqlstate)
        assert.notInclude(
          `${error.message} ${JSON.stringify(error)} ${Cause.pretty(Cause.fail(error))}`,
          "wrong-secret"
        )
        assert.strictEqual(yield* reason(listener.subscribe("again")), "ConnectionFailed")
        assert.deepStrictEqual(yield* listener.state, { _tag: "Closed" })
        assert.strictEqual(yield* tap.opened, 1)
        yield* until(Effect.map(tap.open, (open) => open === 0))
      }
    })))

  it.live("a role that is locked out later ends every subscription after what is queued", () =>
    run(Effect.gen(function*() {
      const sql = yield* PgClient.PgClient
      const role = `leaver_${randomUUID().slice(0, 8)}`
      yield* sql.unsafe(`create role ${role} login superuser password 'p'`)
      yield* Effect.addFinalizer(() => Effect.orDie(sql.unsafe(`drop role ${role}`)))
      const { listener } = yield* listening({
        connection: {
          url: withDatabase((url) => {
            url.username = role
            url.password = "p"
          })
        }
      })
      const idle = yield* listener.subscribe("idle")
      const full = yield* listener.subscribe("full")
      yield* PgListener.notify("full", "queued")
      yield* listener.subscribe("marker")
      yield* idle.take
      const taking = yield* Effect.forkChild(reason(idle.take), { startImmediately: true })
      yield* sql.unsafe(`alter role ${role} nologin`)
      yield* kill(yield* connected(listener))
      assert.strictEqual(yield* Fiber.join(taking), "ConnectionFailed")
      assert.deepStrictEqual(yield* taken(full, 2), ["Gap(connected)", "queued"])
      const error = yield* Effect.flip(full.take)
      assert(error.reason._tag === "ConnectionFailed")
      assert.strictEqual(error.reason.sqlstate, "28000")
    })))

  it.live("options that cannot work are refused when the layer is built, without quoting the password", () =>
    run(Effect.gen(function*() {
      const wrong: ReadonlyArray<Partial<PgListener.Options>> = [
        { connection: { url: Redacted.make("postgres://u:hush-hush@host:port/db") } },
        { connection: { url: Redacted.make("mysql://u:hush-hush@host/db") } },
        { connection: { url: Redacted.make("postgres://u:hush-hush@host/db?sslmode=maybe") } },
        { connection: { startupParameters: { replication: "database" } } },
        { probeInterval: 0 },
        { probeTimeout: "-1 seconds" },
        { probeTimeout: Duration.infinity }
      ]
      for (const options of wrong) {
        const exit = yield* Effect.exit(Effect.scoped(listening(options)))
        assert(Exit.isFailure(exit))
        const [failure] = exit.cause.reasons
        assert(failure !== undefined && Cause.isFailReason(failure))
        assert.strictEqual(reasonOf(failure.error), "BadOption")
        assert.notInclude(`${Cause.pretty(exit.cause)} ${JSON.stringify(failure.error)}`, "hush-hush")
      }
    })))

  it.live("a defect of the password's effect reaches the subscribers instead of being waited for", () =>
    run(Effect.gen(function*() {
      const { listener } = yield* listening({ connection: { password: Effect.die("no vault") } })
      const exit = yield* Effect.exit(listener.subscribe("never"))
      assert(Exit.isFailure(exit) && Cause.hasDies(exit.cause))
      assert.strictEqual(Cause.squash(exit.cause), "no vault")
    })))

  it.live("case 8: the password's effect is evaluated for each attempt", () =>
    run(Effect.gen(function*() {
      const password = Redacted.make(decodeURIComponent(new URL(Redacted.value(url)).password))
      let evaluated = 0
      const { listener } = yield* listening({
        connection: {
          password: Effect.sync(() => {
            evaluated++
            return password
          })
        }
      })
      const pid = yield* connected(listener)
      assert.strictEqual(evaluated, 1)
      const subscription = yield* listener.subscribe("rotated")
      yield* kill(pid)
      assert.deepStrictEqual(yield* taken(subscription, 2), ["Gap(connected)", "Gap(reconnected)"])
      assert.strictEqual(evaluated, 2)
    })))

  it("every error has a form that can be sent and read again", () => {
    for (
      const reason of [
        new PgListener.ListenerClosed(),
        new PgListener.BadChannel({ problem: "p" }),
        new PgListener.BadPayload({ problem: "p" }),
        new PgListener.BadOption({ problem: "p" }),
        new PgListener.Misuse({ problem: "p" }),
        new PgListener.ConnectionFailed({ problem: "p", sqlstate: "28000" })
      ]
    ) {
      const codec = Schema.toCodecJson(PgListener.ListenerError)
      const error = new PgListener.ListenerError({ reason })
      const again = Schema.decodeUnknownSync(codec)(Schema.encodeSync(codec)(error))
      assert.strictEqual(again.reason._tag, reason._tag)
      assert.strictEqual(again.message, error.message)
    }
  })
})

describe("a server that goes away", () => {
  it.live("is waited for, by subscribers and by those who subscribe meanwhile, however it went", () =>
    serverTest((server) =>
      Effect.gen(function*() {
        const { listener } = yield* listening({ connection: { url: server.url } })
        const notify = (payload: string) =>
          Effect.provide(PgListener.notify("restart", payload), PgClient.layer({ url: server.url }))
        const subscription = yield* listener.subscribe("restart")
        yield* subscription.take
        for (const goes of [server.stop, server.kill]) {
          yield* goes
          yield* until(Effect.map(listener.state, (state) => state._tag === "Waiting"))
          const late = yield* Effect.forkChild(listener.subscribe("restart"))
          yield* server.restart
          assert.deepStrictEqual(yield* taken(subscription, 1), ["Gap(reconnected)"])
          const newcomer = yield* Effect.timeout(Fiber.join(late), "30 seconds")
          yield* notify("back")
          assert.deepStrictEqual(yield* taken(subscription, 1), ["back"])
          assert.deepStrictEqual(yield* taken(newcomer, 2), ["Gap(connected)", "back"])
        }
      })
    ))

  it.live("a standby refuses LISTEN: new subscriptions fail with 25006, old ones live on after its promotion", () =>
    serverTest((server) =>
      Effect.gen(function*() {
        const { listener } = yield* listening({ connection: { url: server.url } })
        const fresh = yield* listening({ connection: { url: server.url } })
        const subscription = yield* listener.subscribe("standby")
        yield* subscription.take
        yield* server.stop
        writeFileSync(join(server.dataDirectory, "standby.signal"), "")
        // Returns when the server takes writes, which it does after the promotion.
        const restarting = yield* Effect.forkChild(server.restart)
        // Trying again at once, from where the refusal is told, keeps nobody else from being served.
        const error = yield* Effect.retry(fresh.listener.subscribe("refused"), { times: 20 }).pipe(
          Effect.flip,
          Effect.timeout("30 seconds")
        )
        assert(isSqlError(error))
        assert.strictEqual(codeOf(error), "25006")
        assert.strictEqual((yield* fresh.listener.state)._tag, "Connected")
        yield* until(Effect.map(
          listener.state,
          (state) => state._tag === "Waiting" && codeOf(state.error) === "25006"
        ))
        assert.deepStrictEqual(yield* subscription.takeAll, [])
        yield* Effect.provide(
          Effect.flatMap(PgClient.PgClient, (sql) => sql`select pg_promote()`),
          PgClient.layer({ url: server.url })
        )
        yield* Fiber.join(restarting)
        assert.deepStrictEqual(yield* taken(subscription, 1), ["Gap(reconnected)"])
        const accepted = yield* fresh.listener.subscribe("accepted")
        yield* Effect.provide(PgListener.notify("accepted", "heard"), PgClient.layer({ url: server.url }))
        assert.deepStrictEqual(yield* taken(accepted, 2), ["Gap(connected)", "heard"])
      })
    ))
})

const codeOf = ({ reason: { cause } }: SqlError): unknown =>
  typeof cause === "object" && cause !== null && "code" in cause ? cause.code : undefined

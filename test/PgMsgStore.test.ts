/**
 * What only PostgreSQL can show: stored counters, plans, locks, limits, lost connections, damage, the caller's own
 * transactions. What every store must do is in MsgStore.test.ts.
 */
import { PgClient } from "@effect/sql-pg"
import { assert, describe, it } from "@effect/vitest"
import { PgMsgStore } from "@restante/postgres"
import {
  Cause,
  Clock,
  Config,
  ConfigProvider,
  Deferred,
  Effect,
  Exit,
  Fiber,
  Layer,
  Option,
  Redacted,
  Result,
  Tracer
} from "effect"
import * as Reactivity from "effect/reactivity/Reactivity"
import * as TestClock from "effect/testing/TestClock"
import { Message, MessageId, MsgStore, MsgStoreError, RecipientId, SenderId } from "restante"
import { until } from "./fixtures/postgres/activity.ts"
import { buffersOf, literal } from "./fixtures/postgres/buffers.ts"
import * as Proxy from "./fixtures/postgres/proxy.ts"
import * as PostgresDatabase from "./PostgresDatabase.ts"

const url = await PostgresDatabase.open()

type StoreService = MsgStore.MsgStore["Service"]

/** Runs a test with a store of its own and a client of the owner. */
const withStore = <A, E>(
  use: (store: StoreService, owner: PgClient.PgClient) => Effect.Effect<A, E>,
  options: Omit<PgMsgStore.PoolOptions, "url"> = {}
) =>
  Effect.flatMap(
    Effect.all([MsgStore.MsgStore, PgClient.PgClient]),
    ([store, owner]) => use(store, owner)
  ).pipe(Effect.provide([PgMsgStore.layer({ url, ...options }), PostgresDatabase.ownerLayer(url)]))

const message = (name: string, body = name): Message.NewMessage => ({
  ...Message.fromText(body),
  id: MessageId.named(name)
})

const bytesOf = (id: RecipientId): Uint8Array => RecipientId.toBytes(id)

/** Holds the lock of a queue in a transaction of the owner until released. */
const holdLock = Effect.fnUntraced(function*(owner: PgClient.PgClient, recipientId: RecipientId) {
  const locked = yield* Deferred.make<void>()
  const release = yield* Deferred.make<void>()
  const holder = yield* Effect.forkChild(owner.withTransaction(Effect.gen(function*() {
    yield* owner`select from restante.queues where recipient_id = ${bytesOf(recipientId)} for update`
    yield* Deferred.succeed(locked, undefined)
    yield* Deferred.await(release)
  })))
  yield* Deferred.await(locked)
  return { release: Effect.andThen(Deferred.succeed(release, undefined), Fiber.await(holder)) }
})

/** How many backends wait for a lock. */
const waiting = (owner: PgClient.PgClient) =>
  Effect.map(
    owner<{ readonly n: number }>`
      select count(*)::int as n from pg_stat_activity
       where datname = current_database() and wait_event_type = 'Lock'`,
    (rows) => rows[0]?.n ?? 0
  )

const reasonOf = (exit: Exit.Exit<unknown, unknown>): string => {
  const error = Exit.isFailure(exit) ? Cause.findErrorOption(exit.cause) : Option.none()
  return Option.isSome(error) && error.value instanceof MsgStoreError.MsgStoreError ? error.value.reason._tag : "none"
}

describe("stored counters", () => {
  it.live("size and latch follow every step of an overflow and a drain (case 77)", () =>
    withStore((store, owner) =>
      Effect.gen(function*() {
        const { recipientId } = yield* store.createQueue({ quota: 3 })
        const seen: Array<string> = []
        const look = Effect.map(
          owner<{ readonly size: bigint; readonly latched: boolean }>`
            select size, latched from restante.queues where recipient_id = ${bytesOf(recipientId)}`,
          (rows) => seen.push(rows.map((row) => `${row.size} ${row.latched}`).join())
        )
        for (const name of ["m1", "m2", "m3", "m4"]) {
          yield* store.write({ recipientId }, message(name))
          yield* look
        }
        for (const name of ["m1", "m2", "m3", "m4"]) {
          yield* store.acknowledge(recipientId, MessageId.named(name))
          yield* look
        }
        assert.deepStrictEqual(seen, [
          "1 false",
          "2 false",
          "3 false",
          "4 true",
          "3 true",
          "2 true",
          "1 true",
          "0 false"
        ])
      })
    ))

  it.live("calls that change nothing write nothing (case 79)", () =>
    withStore((store, owner) =>
      Effect.gen(function*() {
        const { recipientId } = yield* store.createQueue({ quota: 1 })
        yield* store.write({ recipientId }, message("m1"))
        yield* store.write({ recipientId }, message("m2"))
        const row = owner`
          select xmin::text, q.key::text, size::text, latched, next_sequence::text, head_sequence::text
            from restante.queues q where recipient_id = ${bytesOf(recipientId)}`
        const before = yield* row
        assert.deepStrictEqual(yield* store.write({ recipientId }, message("m1")), {
          _tag: "AlreadyStored",
          sequence: 1n
        })
        assert.deepStrictEqual(yield* store.write({ recipientId }, message("m3")), { _tag: "QuotaExceeded" })
        assert.deepStrictEqual(yield* store.acknowledge(recipientId, MessageId.named("m2")), Option.none())
        assert.strictEqual(yield* store.deleteExpired(recipientId, 0), 0)
        assert.strictEqual(yield* store.acknowledgeThrough(recipientId, { sequence: 0n }), 0)
        yield* store.setQuota(recipientId, 1)
        yield* store.setQueueStatus(recipientId, "active")
        assert.deepStrictEqual(yield* row, before)
      })
    ))

  const drifts = [
    ["a size of 0 although entries are there", "size = 0"],
    ["a size although nothing is there", "size = 7, head_sequence = next_sequence"],
    ["a latch although the last entry is a message", "latched = true"],
    ["a next sequence that is taken", "next_sequence = 1"]
  ] as const
  for (const [what, change] of drifts) {
    it.live(`a write repairs ${what} and answers as if nothing had been wrong (rule 10.7)`, () =>
      withStore((store, owner) =>
        Effect.gen(function*() {
          const { recipientId } = yield* store.createQueue({ quota: 2 })
          yield* store.write({ recipientId }, message("m1"))
          yield* owner`update restante.queues set ${owner.literal(change)} where recipient_id = ${bytesOf(recipientId)}`
          assert.deepStrictEqual(yield* store.write({ recipientId }, message("m2")), {
            _tag: "Accepted",
            wasEmpty: false,
            sequence: 2n
          })
          const { latched, nextSequence, size } = yield* store.getQueue({ recipientId })
          assert.deepStrictEqual({ latched, nextSequence, size }, { latched: false, nextSequence: 3n, size: 2 })
        })
      ))
  }

  it.live("emptying a queue sets size and latch, whatever they were (rule 10.7)", () =>
    withStore((store, owner) =>
      Effect.gen(function*() {
        const { recipientId } = yield* store.createQueue()
        yield* store.write({ recipientId }, message("m1"))
        yield* owner`update restante.queues set size = 9, latched = true where recipient_id = ${bytesOf(recipientId)}`
        yield* store.acknowledge(recipientId, MessageId.named("m1"))
        const { latched, size } = yield* store.getQueue({ recipientId })
        assert.deepStrictEqual({ latched, size }, { latched: false, size: 0 })
      })
    ))

  it.live("expiry does not stop at a stored size of 0 (rule 10.7)", () =>
    withStore((store, owner) =>
      Effect.gen(function*() {
        const { recipientId } = yield* store.createQueue()
        yield* store.write({ recipientId }, { ...message("m1"), timestamp: 1 })
        yield* store.write({ recipientId }, { ...message("m2"), timestamp: 5 })
        yield* owner`update restante.queues set size = 0 where recipient_id = ${bytesOf(recipientId)}`
        assert.strictEqual(yield* store.deleteExpired(recipientId, 5), 1)
        assert.strictEqual(yield* store.size(recipientId), 1)
      })
    ))
})

/** The domains keep damage out, so their constraints have to go first. */
const damage = (owner: PgClient.PgClient, recipientId: RecipientId, sequence: number, change: string) =>
  owner.withTransaction(Effect.gen(function*() {
    yield* owner`alter domain restante.entry_kind drop constraint if exists entry_kind_check`
    yield* owner`alter domain restante.milliseconds drop constraint if exists milliseconds_check`
    yield* owner`update restante.messages set ${owner.literal(change)}
                  where sequence = ${sequence}
                    and queue_key = (select key from restante.queues where recipient_id = ${bytesOf(recipientId)})`
  }))

describe("a removal meets a record that contradicts the entries (rule 10.7)", () => {
  const drifts = {
    "a head cursor behind the head": "head_sequence = next_sequence",
    "a next sequence that is taken": "next_sequence = 2",
    "a size of 0": "size = 0",
    "an open latch": "latched = false"
  }
  const removals = {
    acknowledgeAndPeek: (store: StoreService, recipientId: RecipientId) =>
      Effect.map(
        store.acknowledgeAndPeek(recipientId, MessageId.named("m1")),
        ({ acknowledged, next }) => [Option.isSome(acknowledged), Option.isSome(next)]
      ),
    acknowledgeThroughMessage: (store: StoreService, recipientId: RecipientId) =>
      store.acknowledgeThrough(recipientId, MessageId.named("m2")),
    acknowledgeThroughSequence: (store: StoreService, recipientId: RecipientId) =>
      store.acknowledgeThrough(recipientId, { sequence: 2n }),
    deleteExpired: (store: StoreService, recipientId: RecipientId) => store.deleteExpired(recipientId, 9)
  }
  for (const [what, change] of Object.entries(drifts)) {
    for (const [operation, remove] of Object.entries(removals)) {
      it.live(`${operation} answers as without drift, and leaves a sound record: ${what}`, () =>
        withStore((store, owner) =>
          Effect.gen(function*() {
            const make = Effect.gen(function*() {
              const { recipientId } = yield* store.createQueue({ quota: 2 })
              for (const name of ["m1", "m2", "m3"]) {
                yield* store.write({ recipientId }, { ...message(name), timestamp: 5 })
              }
              return recipientId
            })
            const sound = yield* make
            const drifted = yield* make
            yield* owner`update restante.queues set ${owner.literal(change)} where recipient_id = ${bytesOf(drifted)}`
            const expected = yield* remove(store, sound)
            assert.deepStrictEqual(yield* remove(store, drifted), expected)
            // A latch is only looked at where the marker becomes the head.
            yield* store.acknowledgeThrough(sound, { sequence: 2n })
            yield* store.acknowledgeThrough(drifted, { sequence: 2n })
            const state = Effect.fnUntraced(function*(recipientId: RecipientId) {
              const { firstSequence, latched, nextSequence, size } = yield* store.getQueue({ recipientId })
              return { firstSequence, latched, nextSequence, size }
            })
            assert.deepStrictEqual(yield* state(drifted), yield* state(sound))
          })
        ))
    }
  }
})

describe("damaged entries (rule 7.5)", () => {
  for (const change of ["kind = 'x'", "kind = 'q', body = 'left'", "kind = 'q', notify = true", "ts = -1"]) {
    it.live(`an entry with ${change} is never handed out, and not removed unseen`, () =>
      withStore((store, owner) =>
        Effect.gen(function*() {
          const { recipientId } = yield* store.createQueue()
          yield* store.writeMany(["m1", "m2", "m3"].map((name) => ({
            target: { recipientId },
            message: message(name)
          })))
          yield* damage(owner, recipientId, 2, change)
          const entries = yield* Effect.exit(store.peekBatch(recipientId, { limit: 3 }))
          assert.strictEqual(reasonOf(entries), "Corrupt")
          // The next entry is damaged: the head stays too, or its reader would never learn what became of it.
          const both = yield* Effect.exit(store.acknowledgeAndPeek(recipientId, MessageId.named("m1")))
          assert.strictEqual(reasonOf(both), "Corrupt")
          assert.strictEqual(yield* store.size(recipientId), 3)
          yield* store.acknowledge(recipientId, MessageId.named("m1"))
          for (
            const call of [
              store.peek(recipientId),
              store.acknowledge(recipientId, MessageId.named("m2")),
              store.acknowledgeAndPeek(recipientId, MessageId.named("m2"))
            ]
          ) {
            assert.strictEqual(reasonOf(yield* Effect.exit<unknown, unknown, never>(call)), "Corrupt")
          }
          assert.strictEqual(yield* store.size(recipientId), 2)
          assert.strictEqual(yield* store.acknowledgeThrough(recipientId, MessageId.named("m2")), 1)
          assert.strictEqual(Option.getOrThrow(yield* store.peek(recipientId)).id, MessageId.named("m3"))
        })
      ))
  }
})

describe("a body over the hard cap (rule 7.5)", () => {
  it.live("is corrupt, not a broken connection", () =>
    withStore((store, owner) =>
      Effect.gen(function*() {
        const { recipientId } = yield* store.createQueue()
        yield* store.write({ recipientId }, message("m1"))
        yield* owner.withTransaction(Effect.gen(function*() {
          yield* owner`alter domain restante.body drop constraint if exists body_check`
          yield* owner`update restante.messages set body = convert_to(repeat('x', 20 * 1024 * 1024), 'UTF8')
                        where queue_key = (select key from restante.queues where recipient_id = ${
            bytesOf(recipientId)
          })`
        }))
        for (const call of [store.peek(recipientId), store.peekBatch(recipientId, { limit: 1 })]) {
          assert.strictEqual(reasonOf(yield* Effect.exit<unknown, unknown, never>(call)), "Corrupt")
        }
        assert.strictEqual(yield* store.acknowledgeThrough(recipientId, { sequence: 1n }), 1)
      })
    ))
})

describe("limits and lost connections", () => {
  it.live("callers who wait for a connection get it in their turn", () =>
    withStore((store) =>
      Effect.gen(function*() {
        const { recipientId } = yield* store.createQueue()
        const turns: Array<number> = []
        const callers = 4
        const each = 50
        yield* Effect.forEach(Array.from({ length: callers }, (_, i) => i), (caller) =>
          Effect.forEach(Array.from({ length: each }), () =>
            Effect.tap(store.size(recipientId), () => Effect.sync(() => turns.push(caller)))), { concurrency: callers })
        // When half of all calls are done, each caller has done about half of its own.
        const half = turns.slice(0, (callers * each) / 2)
        for (let caller = 0; caller < callers; caller++) {
          assert.isAtLeast(
            half.filter((turn) =>
              turn === caller
            ).length,
            each / 4
          )
        }
      }), { poolSize: 1, coalesce: false }))

  it.live("a server that falls silent is given up, also while the layer is built (rule 7.2)", () =>
    Effect.scoped(Effect.gen(function*() {
      const proxy = yield* Proxy.make(url)
      const options = { url: proxy.url, statementTimeout: "100 millis", acquireTimeout: "1 second" } as const
      yield* Effect.gen(function*() {
        const store = yield* MsgStore.MsgStore
        const { recipientId } = yield* store.createQueue()
        yield* proxy.silence
        const [write, size] = yield* Effect.all([
          Effect.exit(store.write({ recipientId }, message("m1"))),
          Effect.exit(store.size(recipientId))
        ], { concurrency: 2 })
        assert.strictEqual(reasonOf(write), "OutcomeUnknown")
        assert.strictEqual(reasonOf(size), "Unavailable")
      }).pipe(Effect.provide(PgMsgStore.layer(options)))
      const built = yield* Effect.exit(Effect.asVoid(MsgStore.MsgStore).pipe(Effect.provide(PgMsgStore.layer(options))))
      assert.strictEqual(reasonOf(built), "Unavailable")
    })))

  it.live("a socket that is cut while a change is sent never reads as a wrong schema (rule 7.4)", () =>
    Effect.scoped(Effect.gen(function*() {
      const proxy = yield* Proxy.make(url)
      const store = yield* MsgStore.MsgStore
      const { recipientId } = yield* store.createQueue()
      yield* Effect.gen(function*() {
        const cut = yield* MsgStore.MsgStore
        for (const length of [10, 100_000, 8_000_000]) {
          yield* proxy.heal
          yield* Effect.retry(cut.size(recipientId), { times: 3 })
          yield* proxy.cutOnRequest
          const exit = yield* Effect.exit(cut.write({ recipientId }, { body: new Uint8Array(length) }))
          assert.strictEqual(reasonOf(exit), "OutcomeUnknown", `${length} bytes`)
        }
      }).pipe(Effect.provide(PgMsgStore.layer({ url: proxy.url, maxBodyBytes: 8_388_608, poolSize: 1 })))
    })).pipe(Effect.provide(PgMsgStore.layer({ url }))))

  it.live("moving a test clock during a call makes no time limit of it", () =>
    withStore((store, owner) =>
      Effect.gen(function*() {
        const { recipientId } = yield* store.createQueue()
        const lock = yield* holdLock(owner, recipientId)
        const outcome = yield* Effect.gen(function*() {
          const writer = yield* Effect.forkChild(store.write({ recipientId }, message("m1")))
          yield* until(Effect.map(waiting(owner), (n) => n === 1)).pipe(
            Effect.provideService(Clock.Clock, Clock.Clock.defaultValue())
          )
          yield* TestClock.adjust("1 hour")
          yield* lock.release
          return yield* Fiber.join(writer)
        }).pipe(Effect.provide(TestClock.layer()))
        assert.strictEqual(outcome._tag, "Accepted")
      })
    ))

  it.live("a lock held too long is a Timeout, and the queue is unharmed (case 71)", () =>
    withStore((store, owner) =>
      Effect.gen(function*() {
        const { recipientId } = yield* store.createQueue()
        const lock = yield* holdLock(owner, recipientId)
        assert.strictEqual(reasonOf(yield* Effect.exit(store.write({ recipientId }, message("m1")))), "Timeout")
        // Reads never wait for writers (6.3).
        assert.strictEqual(yield* store.size(recipientId), 0)
        assert.deepStrictEqual(yield* store.peek(recipientId), Option.none())
        yield* lock.release
        assert.strictEqual((yield* store.write({ recipientId }, message("m1")))._tag, "Accepted")
      }), { lockTimeout: "100 millis" }))

  it.live("a statement that runs too long is a Timeout (case 71)", () =>
    withStore((store, owner) =>
      Effect.gen(function*() {
        const { recipientId } = yield* store.createQueue()
        const lock = yield* holdLock(owner, recipientId)
        assert.strictEqual(reasonOf(yield* Effect.exit(store.write({ recipientId }, message("m1")))), "Timeout")
        yield* lock.release
        assert.strictEqual(yield* store.size(recipientId), 0)
      }), { statementTimeout: "100 millis" }))

  it.live("a caller that waits for a row lock sees its interruption within the limits (case 70)", () =>
    withStore((store, owner) =>
      Effect.gen(function*() {
        const { recipientId } = yield* store.createQueue()
        const lock = yield* holdLock(owner, recipientId)
        const writer = yield* Effect.forkChild(store.write({ recipientId }, message("m1")))
        yield* until(Effect.map(waiting(owner), (n) => n === 1))
        const interrupted = yield* Effect.forkChild(Fiber.interrupt(writer))
        yield* Fiber.join(interrupted)
        assert.isTrue(Exit.hasInterrupts(yield* Fiber.await(writer)))
        yield* lock.release
        assert.strictEqual(yield* store.size(recipientId), 0)
        assert.strictEqual((yield* store.write({ recipientId }, message("m1")))._tag, "Accepted")
      }), { lockTimeout: "300 millis", poolSize: 1 }))

  it.live("what was sent completes before the interruption is seen (rule 7.1)", () =>
    withStore((store, owner) =>
      Effect.gen(function*() {
        const { recipientId } = yield* store.createQueue()
        const lock = yield* holdLock(owner, recipientId)
        const writer = yield* Effect.forkChild(store.write({ recipientId }, message("m1")))
        yield* until(Effect.map(waiting(owner), (n) => n === 1))
        const interruption = yield* Effect.forkChild(Fiber.interrupt(writer))
        yield* lock.release
        yield* Fiber.join(interruption)
        assert.isTrue(Exit.hasInterrupts(yield* Fiber.await(writer)))
        assert.strictEqual(yield* store.size(recipientId), 1)
      })
    ))

  // How many statements two calls on one queue are.
  for (const [how, coalesce, statements] of [["a connection", false, 2], ["a lane", true, 1]] as const) {
    it.live(`interrupting 1,000 callers that wait for ${how} leaves no trace (case 68)`, () =>
      withStore((store, owner) =>
        Effect.gen(function*() {
          const { recipientId } = yield* store.createQueue({ quota: 10_000 })
          const lock = yield* holdLock(owner, recipientId)
          const first = yield* Effect.forkChild(
            Effect.forEach(["a", "b"], (name) => store.write({ recipientId }, message(name)), { concurrency: 2 })
          )
          yield* until(Effect.map(waiting(owner), (n) => n === statements))
          const rest = yield* Effect.forEach(
            Array.from({ length: 1_000 }, (_, i) => message(`waiting ${i}`)),
            (m) => Effect.forkChild(store.write({ recipientId }, m))
          )
          yield* Effect.yieldNow
          yield* Fiber.interruptAll(rest)
          yield* lock.release
          yield* Fiber.join(first)
          assert.strictEqual(yield* store.size(recipientId), 2)
          // Both connections are there again.
          yield* Effect.forEach(
            Array.from({ length: 20 }, (_, i) => message(`after ${i}`)),
            (m) => store.write({ recipientId }, m),
            { concurrency: 20 }
          )
          assert.strictEqual(yield* store.size(recipientId), 22)
        }), { poolSize: 2, coalesce }))
  }

  it.live("a caller that finds no connection in time is told that nothing happened (rule 7.3)", () =>
    withStore((store, owner) =>
      Effect.gen(function*() {
        const { recipientId } = yield* store.createQueue()
        const lock = yield* holdLock(owner, recipientId)
        const first = yield* Effect.forkChild(store.write({ recipientId }, message("m1")))
        yield* until(Effect.map(waiting(owner), (n) => n === 1))
        assert.strictEqual(reasonOf(yield* Effect.exit(store.write({ recipientId }, message("m2")))), "Unavailable")
        yield* lock.release
        yield* Fiber.join(first)
        assert.strictEqual(yield* store.size(recipientId), 1)
      }), { poolSize: 1, acquireTimeout: "1 second" }))

  it.live("when its backend is terminated a change is OutcomeUnknown, a read Unavailable, and the next call works (case 72)", () =>
    withStore((store, owner) =>
      Effect.gen(function*() {
        const { recipientId } = yield* store.createQueue()
        const terminate = owner`
          select pg_terminate_backend(pid) from pg_stat_activity
           where datname = current_database() and wait_event_type = 'Lock'`
        const lock = yield* holdLock(owner, recipientId)
        const writer = yield* Effect.forkChild(store.write({ recipientId }, message("m1")))
        yield* until(Effect.map(waiting(owner), (n) => n === 1))
        yield* terminate
        assert.strictEqual(reasonOf(yield* Fiber.await(writer)), "OutcomeUnknown")
        yield* lock.release
        assert.strictEqual(yield* store.size(recipientId), 0)

        const locked = yield* Deferred.make<void>()
        const done = yield* Deferred.make<void>()
        const holder = yield* Effect.forkChild(owner.withTransaction(Effect.gen(function*() {
          yield* owner`lock table restante.queues in access exclusive mode`
          yield* Deferred.succeed(locked, undefined)
          yield* Deferred.await(done)
        })))
        yield* Deferred.await(locked)
        const reader = yield* Effect.forkChild(store.peek(recipientId))
        yield* until(Effect.map(waiting(owner), (n) => n === 1))
        yield* terminate
        assert.strictEqual(reasonOf(yield* Fiber.await(reader)), "Unavailable")
        yield* Deferred.succeed(done, undefined)
        yield* Fiber.await(holder)
        assert.strictEqual((yield* store.write({ recipientId }, message("m1")))._tag, "Accepted")
      })
    ))

  it.live("no error text and no serialised error contains SQL, an id or a body; the cause is kept (case 74)", () =>
    withStore((store, owner) =>
      Effect.gen(function*() {
        const { recipientId } = yield* store.createQueue()
        const lock = yield* holdLock(owner, recipientId)
        const error = yield* Effect.flip(store.write({ recipientId }, message("secret-id", "secret body")))
        yield* lock.release
        assert.instanceOf(error, MsgStoreError.MsgStoreError)
        const text = `${error.message} ${String(error)} ${JSON.stringify(error)}`
        for (const secret of [recipientId, MessageId.named("secret-id"), "secret", "select", "restante."]) {
          assert.notInclude(text.toLowerCase(), secret.toLowerCase())
        }
        assert.isDefined(error.cause)
      }), { lockTimeout: "50 millis" }))

  it.live("the largest bodies travel in all directions, two of them in one answer", () =>
    withStore((store) =>
      Effect.gen(function*() {
        const { recipientId } = yield* store.createQueue()
        const body = new Uint8Array(8_388_608).fill(7)
        for (const name of ["m1", "m2"]) {
          yield* store.write({ recipientId }, { id: MessageId.named(name), body })
        }
        const { acknowledged, next } = yield* store.acknowledgeAndPeek(recipientId, MessageId.named("m1"))
        for (const entry of [acknowledged, next]) assert.strictEqual(Option.getOrThrow(entry).body.length, body.length)
        assert.strictEqual((yield* store.peekBatch(recipientId, { limit: 2 })).length, 1)
      }), { maxBodyBytes: 8_388_608 }))

  it.live("spans carry no id and no body (rule 2.3)", () => {
    const spans: Array<Tracer.Span> = []
    const tracer = Tracer.make({
      span: (options) => {
        const span = new Tracer.NativeSpan(options)
        spans.push(span)
        return span
      }
    })
    return withStore((store) =>
      Effect.gen(function*() {
        const { recipientId, senderId } = yield* store.createQueue()
        yield* store.write({ senderId }, message("secret-id", "secret body"))
        yield* store.peek(recipientId)
        yield* store.acknowledge(recipientId, MessageId.named("secret-id"))
        assert.isAtLeast(spans.length, 3)
        const text = spans.map((span) => `${span.name} ${[...span.attributes].join()}`).join()
        for (const secret of [recipientId, senderId, MessageId.named("secret-id"), "secret"]) {
          assert.notInclude(text, secret)
        }
      })
    ).pipe(Effect.withTracer(tracer))
  })
})

describe("transactions of the caller", () => {
  const client = PgClient.layer({ url, maxConnections: 1 })
  const withClient = <A, E>(use: (store: StoreService, sql: PgClient.PgClient) => Effect.Effect<A, E>) =>
    Effect.flatMap(Effect.all([MsgStore.MsgStore, PgClient.PgClient]), ([store, sql]) => use(store, sql)).pipe(
      Effect.provide(Layer.provideMerge(PgMsgStore.layerClient({ poolSize: 1, acquireTimeout: "1 second" }), client))
    )

  it.live("operations in sql.withTransaction commit together, on its one connection", () =>
    withClient((store, sql) =>
      Effect.gen(function*() {
        const queue = yield* sql.withTransaction(Effect.gen(function*() {
          const queue = yield* store.createQueue()
          yield* store.write({ senderId: queue.senderId }, message("m1"))
          yield* store.writeMany([{ target: { recipientId: queue.recipientId }, message: message("m2") }])
          return queue
        }))
        assert.strictEqual(yield* store.size(queue.recipientId), 2)
      })
    ))

  it.live("operations in a transaction that is rolled back have not happened", () =>
    withClient((store, sql) =>
      Effect.gen(function*() {
        const { recipientId, senderId } = yield* store.createQueue()
        const fresh = SenderId.named("rolled back")
        yield* Effect.flip(sql.withTransaction(Effect.gen(function*() {
          yield* store.write({ senderId }, message("m1"))
          yield* store.createQueue({ senderId: fresh })
          yield* store.write({ senderId: fresh }, message("m1"))
          return yield* Effect.fail("no")
        })))
        assert.strictEqual(yield* store.size(recipientId), 0)
        // The binding that was learnt in the transaction is gone with it.
        const late = yield* Effect.flip(store.write({ senderId: fresh }, message("m1")))
        assert.strictEqual(late._tag, "QueueNotFound")
        assert.deepStrictEqual(yield* store.write({ senderId }, message("m1")), {
          _tag: "Accepted",
          wasEmpty: true,
          sequence: 1n
        })
      })
    ))

  it.live("waiting for the connection that a transaction holds is interruptible, and then nothing happens (rule 7.1)", () =>
    withClient((store, sql) =>
      Effect.gen(function*() {
        const { recipientId } = yield* store.createQueue()
        const held = yield* Deferred.make<void>()
        const release = yield* Deferred.make<void>()
        const holder = yield* Effect.forkChild(sql.withTransaction(
          Effect.andThen(Deferred.succeed(held, undefined), Deferred.await(release))
        ))
        yield* Deferred.await(held)
        const writer = yield* Effect.forkChild(store.write({ recipientId }, message("m1")))
        yield* Effect.yieldNow
        // Comes to an end although nobody gives the connection back.
        yield* Fiber.interrupt(writer)
        const late = yield* Effect.forkChild(Effect.exit(store.write({ recipientId }, message("m2"))))
        assert.strictEqual(reasonOf(yield* Fiber.join(late)), "Unavailable")
        yield* Deferred.succeed(release, undefined)
        yield* Fiber.await(holder)
        assert.strictEqual(yield* store.size(recipientId), 0)
      })
    ))

  it.live("a conflict that the server reports is repeated, also where the isolation has become stricter since (rule 6.4)", () =>
    Effect.gen(function*() {
      const sql = yield* PgClient.PgClient
      const store = yield* MsgStore.MsgStore
      yield* sql`set default_transaction_isolation = 'repeatable read'`
      const { recipientId } = yield* store.createQueue()
      const writes = yield* Effect.scoped(Effect.gen(function*() {
        const owner = yield* Effect.provide(PgClient.make({ url }), Reactivity.layer)
        const changed = yield* Deferred.make<void>()
        const release = yield* Deferred.make<void>()
        const holder = yield* Effect.forkChild(owner.withTransaction(Effect.gen(function*() {
          yield* owner`update restante.queues set updated_at = updated_at + 1 where recipient_id = ${
            bytesOf(recipientId)
          }`
          yield* Deferred.succeed(changed, undefined)
          yield* Deferred.await(release)
        })))
        yield* Deferred.await(changed)
        const writer = yield* Effect.forkChild(store.write({ recipientId }, message("m1")))
        yield* until(Effect.map(waiting(owner), (n) => n === 1))
        yield* Deferred.succeed(release, undefined)
        yield* Fiber.await(holder)
        return yield* Fiber.join(writer)
      }))
      assert.strictEqual(writes._tag, "Accepted")
    }).pipe(
      Effect.provide(Layer.provideMerge(
        PgMsgStore.layerClient({ poolSize: 1 }),
        PgClient.layer({ url, maxConnections: 1 })
      ))
    ))

  it.live("a client whose transactions are stricter than READ COMMITTED is refused (rule 10.4)", () =>
    Effect.gen(function*() {
      for (const level of ["repeatable read", "serializable"]) {
        const error = yield* Effect.asVoid(MsgStore.MsgStore).pipe(
          Effect.provide(Layer.provide(
            PgMsgStore.layerClient(),
            PgClient.layer({ url, startupParameters: { default_transaction_isolation: level } })
          )),
          Effect.flip
        )
        assert.instanceOf(error, MsgStoreError.MsgStoreError)
        assert.strictEqual(error.reason._tag, "SchemaMismatch")
        assert.include(error.message, level)
      }
    }))
})

/** Frees the ids of a deleted queue, as compaction will. */
const compact = (owner: PgClient.PgClient, recipientId: RecipientId) =>
  owner`delete from restante.queues where recipient_id = ${bytesOf(recipientId)} and deleted_at is not null`

describe("sender ids", () => {
  it.live("a writer whose sender id was bound anew reaches the new queue at once (rule 10.3)", () =>
    withStore((store, owner) =>
      Effect.gen(function*() {
        const old = yield* store.createQueue()
        const other = yield* store.createQueue()
        yield* store.write({ senderId: old.senderId }, message("m1"))
        const rebind = Effect.gen(function*() {
          const { recipientId } = old
          yield* owner`delete from restante.messages
                        where queue_key = (select key from restante.queues where recipient_id = ${
            bytesOf(recipientId)
          })`
          yield* owner`update restante.queues set deleted_at = 0 where recipient_id = ${bytesOf(recipientId)}`
          yield* compact(owner, recipientId)
          const fresh = RecipientId.randomUnsafe()
          yield* owner`select outcome from restante.create_queue(
            ${bytesOf(fresh)}, ${SenderId.toBytes(old.senderId)}, null, 'active', 0)`
          return fresh
        })
        const fresh = yield* rebind
        const items = ["a", "b"].flatMap((name) => [
          { target: { senderId: old.senderId }, message: message(name) },
          { target: { senderId: other.senderId }, message: message(name) }
        ])
        const outcomes = yield* store.writeMany(items)
        assert.deepStrictEqual(outcomes.map(Result.getOrThrow), [
          { _tag: "Accepted", wasEmpty: true, sequence: 1n },
          { _tag: "Accepted", wasEmpty: true, sequence: 1n },
          { _tag: "Accepted", wasEmpty: false, sequence: 2n },
          { _tag: "Accepted", wasEmpty: false, sequence: 2n }
        ])
        assert.strictEqual(yield* store.size(fresh), 2)
        assert.strictEqual(yield* store.size(other.recipientId), 2)
        assert.strictEqual((yield* Effect.flip(store.size(old.recipientId)))._tag, "QueueNotFound")
      })
    ))
})

/** Calls of the functions for many queues. The id of their messages is a number. */
const callsForMany = (ids: string, at: number, n: number) => {
  const all = (value: string) => `array_fill(${value}, array[${n}])`
  return {
    peekMany: `peek_many(${ids}, 1000000)`,
    sizeMany: `size_many(${ids})`,
    writeMany: `write_many(${ids}, ${all("null::bytea")}, ${all(`int4send(${at})`)}, ${all("0::bigint")}, ${
      all("false")
    }, ${all("'body'::bytea")}, 128, true)`,
    acknowledgeMany: `acknowledge_many(${ids}, ${all(`int4send(${at})`)}, ${all("true")}, 1000000)`
  }
}

describe("plans and storage", () => {
  it.live("temporary tables and a search_path of the session change nothing (case 82)", () =>
    Effect.gen(function*() {
      const sql = yield* PgClient.PgClient
      const store = yield* MsgStore.MsgStore
      yield* sql`create temporary table queues (recipient_id bytea)`
      yield* sql`create temporary table messages (queue_key bigint)`
      yield* sql`set search_path = pg_temp, public`
      const { recipientId, senderId } = yield* store.createQueue({ quota: 1 })
      yield* store.write({ senderId }, message("m1"))
      yield* store.writeMany([{ target: { senderId }, message: message("m2") }])
      assert.strictEqual((yield* store.peekBatch(recipientId, { limit: 5 })).length, 2)
      assert.strictEqual(yield* store.acknowledgeThrough(recipientId, { sequence: 2n }), 2)
      assert.strictEqual(yield* store.deleteQueue(recipientId), 0)
    }).pipe(
      Effect.provide(Layer.provideMerge(PgMsgStore.layerClient(), PgClient.layer({ url, maxConnections: 1 })))
    ))

  it.live("after 100,000 acknowledged messages without vacuum, peek, acknowledge and write touch at most 50 buffers (case 83)", () =>
    withStore((store, owner) =>
      Effect.gen(function*() {
        yield* owner`alter table restante.messages set (autovacuum_enabled = false)`
        yield* owner`alter table restante.queues set (autovacuum_enabled = false)`
        const { recipientId } = yield* store.createQueue({ quota: 100_000 })
        let sequence = 0n
        for (let batch = 0; batch < 100; batch++) {
          yield* store.writeMany(Array.from({ length: 1_000 }, () => ({
            target: { recipientId },
            message: { body: new Uint8Array(20) }
          })))
          sequence += 1_000n
          assert.strictEqual(yield* store.acknowledgeThrough(recipientId, { sequence }), 1_000)
        }
        for (const name of ["m1", "m2", "m3"]) yield* store.write({ recipientId }, message(name))
        const touched = yield* buffersOf(owner, {
          peek: `peek(${literal(bytesOf(recipientId))})`,
          peekBatch: `peek_batch(${literal(bytesOf(recipientId))}, 10, 0, 1000000)`,
          acknowledge: `acknowledge(${literal(bytesOf(recipientId))}, ${
            literal(MessageId.toBytes(MessageId.named("m1")))
          }, true)`,
          write: `write(${literal(bytesOf(recipientId))}, null, '\\x01', 0, false, 'body', 128)`
        })
        for (const [call, buffers] of Object.entries(touched)) assert.isAtMost(buffers, 50, call)
      })
    ))

  it.live("a session that planned while the tables were empty touches as few buffers in a queue of 20,000 entries", () =>
    Effect.gen(function*() {
      const sql = yield* PgClient.PgClient
      const store = yield* MsgStore.MsgStore
      yield* sql`truncate restante.messages`
      yield* sql`vacuum restante.messages`
      const small = yield* store.createQueue()
      for (let i = 0; i < 10; i++) {
        yield* store.write({ recipientId: small.recipientId }, message(`m${i}`))
        yield* store.peek(small.recipientId)
        yield* store.acknowledgeAndPeek(small.recipientId, MessageId.named(`m${i}`))
      }
      const { recipientId } = yield* store.createQueue({ quota: 1_000_000 })
      for (let batch = 0; batch < 20; batch++) {
        yield* store.writeMany(Array.from({ length: 1_000 }, (_, i) => ({
          target: { recipientId },
          message: message(`batch ${batch} ${i}`)
        })))
      }
      const recipient = literal(bytesOf(recipientId))
      const first = literal(MessageId.toBytes(MessageId.named("batch 0 0")))
      const touched = yield* buffersOf(sql, {
        peek: `peek(${recipient})`,
        acknowledge: `acknowledge(${recipient}, ${first}, true)`,
        write: `write(${recipient}, null, '\\x01', 0, false, 'body', 1000000)`,
        expiry: `delete_expired(${recipient}, 0)`
      })
      for (const [call, buffers] of Object.entries(touched)) assert.isAtMost(buffers, 50, call)
    }).pipe(
      Effect.provide(Layer.provideMerge(PgMsgStore.layerClient(), PgClient.layer({ url, maxConnections: 1 })))
    ))

  it.live("a session that planned while there were three queues touches as few buffers among 20,000", () =>
    Effect.gen(function*() {
      const sql = yield* PgClient.PgClient
      const store = yield* MsgStore.MsgStore
      yield* sql`truncate restante.queues, restante.messages`
      const queues = yield* Effect.forEach(Array.from({ length: 3 }), () => store.createQueue())
      yield* sql`analyze restante.queues`
      const [queue] = queues
      assert.isDefined(queue)
      const { recipientId, senderId } = queue
      for (let i = 0; i < 10; i++) {
        yield* store.size(recipientId)
        yield* store.getQueue({ senderId })
        yield* store.setQuota(recipientId, i)
        yield* store.setQueueStatus(recipientId, i % 2 === 0 ? "active" : "suspended")
        yield* Effect.exit(store.deleteQueue(RecipientId.randomUnsafe()))
        yield* store.writeMany([{ target: { recipientId }, message: message(`m${i}`) }])
      }
      yield* sql`
        insert into restante.queues (recipient_id, sender_id, status, created_at, updated_at)
        select sha256(int4send(i)), sha256(int4send(-i)), 'active', 0, 0 from generate_series(1, 20000) i`
      const recipient = literal(bytesOf(recipientId))
      const sender = literal(SenderId.toBytes(senderId))
      const touched = yield* buffersOf(sql, {
        size: `size(${recipient})`,
        getSenders: `get_senders(array[${sender}]::bytea[])`,
        setQuota: `set_quota(${recipient}, 77, 0)`,
        setQueueStatus: `set_queue_status(${recipient}, 'active', 0)`,
        deleteQueue: `delete_queue(${recipient}, 0)`,
        writeMany:
          `write_many(array[${recipient}]::bytea[], array[null]::bytea[], array['x']::bytea[], array[0]::bigint[],
                              array[false], array['x']::bytea[], 128, true)`
      })
      for (const [call, buffers] of Object.entries(touched)) assert.isAtMost(buffers, 60, call)
    }).pipe(
      Effect.provide(Layer.provideMerge(PgMsgStore.layerClient(), PgClient.layer({ url, maxConnections: 1 })))
    ))

  it.live("functions for many queues look up each, also where a session planned for three and there are 20,000", () =>
    Effect.gen(function*() {
      const sql = yield* PgClient.PgClient
      yield* sql`truncate restante.queues, restante.messages`
      yield* sql`
        insert into restante.queues (recipient_id, sender_id, status, created_at, updated_at)
        select int4send(i), sha256(int4send(i)), 'active', 0, 0 from generate_series(1, 3) i`
      yield* sql`analyze restante.queues, restante.messages`
      for (let i = 1; i <= 10; i++) {
        for (const call of Object.values(callsForMany("array[int4send(1), int4send(2), int4send(3)]", i, 3))) {
          yield* sql.unsafe(`select * from restante.${call}`)
        }
      }
      yield* sql`
        insert into restante.queues (recipient_id, sender_id, status, created_at, updated_at, size, next_sequence)
        select int4send(i), sha256(int4send(i)), 'active', 0, 0, 3, 4 from generate_series(4, 20000) i`
      yield* sql`
        insert into restante.messages
        select q.key, i, 0, 'm', false, int4send(i), 'body' from restante.queues q, generate_series(1, 3) i
         where q.size = 3`
      const ids = `array[${Array.from({ length: 20 }, (_, i) => `int4send(${900 * (i + 1)})`).join(", ")}]`
      const touched = yield* buffersOf(sql, {
        ...callsForMany(ids, 4, 20),
        acknowledgeMany: callsForMany(ids, 1, 20).acknowledgeMany
      })
      for (const [call, buffers] of Object.entries(touched)) assert.isAtMost(buffers / 20, 25, call)
    }).pipe(Effect.provide(PgClient.layer({ url, maxConnections: 1 }))))

  it.live("in steady traffic at least 90 % of the updates of queues are HOT (case 84)", () =>
    Effect.gen(function*() {
      const owner = yield* PgClient.PgClient
      const stats = Effect.map(
        owner<{ readonly updates: number; readonly hot: number }>`
          select n_tup_upd::int as updates, n_tup_hot_upd::int as hot
            from pg_stat_user_tables where relid = 'restante.queues'::regclass`,
        (rows) => rows[0] ?? { updates: 0, hot: 0 }
      )
      const rounds = 50
      const before = yield* stats
      // The store is closed before the figures are read: a backend reports what it did at the latest when it ends.
      const queues = yield* withStore((store) =>
        Effect.gen(function*() {
          const queues = yield* Effect.forEach(Array.from({ length: 20 }), () => store.createQueue())
          yield* Effect.forEach(queues, ({ recipientId }) =>
            Effect.forEach(Array.from({ length: rounds }, (_, i) => `m${i}`), (name) =>
              Effect.andThen(
                store.write({ recipientId }, message(name)),
                store.acknowledge(recipientId, MessageId.named(name))
              )), { concurrency: 8 })
          return queues.length
        })
      )
      const expected = queues * rounds * 2
      yield* until(Effect.map(stats, ({ updates }) =>
        updates - before.updates >= expected))
      const after = yield* stats
      assert.isAtLeast((after.hot - before.hot) / (after.updates - before.updates), 0.9)
    }).pipe(Effect.provide(PostgresDatabase.ownerLayer(url))))
})

const build = (options: PgMsgStore.PoolOptions) =>
  Effect.flip(Effect.asVoid(MsgStore.MsgStore).pipe(Effect.provide(PgMsgStore.layer(options))))

const at = (change: (target: URL) => void): Redacted.Redacted => {
  const target = new URL(Redacted.value(url))
  change(target)
  return Redacted.make(target.href)
}

const env = (variables: Record<string, string>) => ConfigProvider.layer(ConfigProvider.fromEnv({ env: variables }))

describe("a layer says what is wrong when it is built", () => {
  it.live("an unreachable server is Unavailable", () =>
    Effect.gen(function*() {
      const error = yield* build({ url: at((target) => target.port = "1"), acquireTimeout: "1 second" })
      assert.strictEqual(reasonOf(Exit.fail(error)), "Unavailable")
    }))

  it.live("options can come from the configuration, and one that is missing there is a ConfigError", () =>
    Effect.gen(function*() {
      const layer = PgMsgStore.layerConfig({ url: Config.Redacted("STORE_URL"), defaultQuota: Config.Int("QUOTA") })
      const overflow = Effect.gen(function*() {
        const store = yield* MsgStore.MsgStore
        const { recipientId } = yield* store.createQueue()
        return yield* store.write({ recipientId }, message("m1"))
      }).pipe(Effect.provide(layer))
      const outcome = yield* Effect.provide(overflow, env({ STORE_URL: Redacted.value(url), QUOTA: "0" }))
      assert.deepStrictEqual(outcome, { _tag: "QuotaReached" })
      const error = yield* Effect.flip(Effect.provide(overflow, env({ QUOTA: "0" })))
      assert.strictEqual(error._tag, "ConfigError")
    }))

  it.live("an unknown database is Unavailable", () =>
    Effect.gen(function*() {
      const error = yield* build({ url: at((target) => target.pathname = "/nowhere") })
      assert.strictEqual(reasonOf(Exit.fail(error)), "Unavailable")
    }))

  it.live("a malformed URL is a typed error", () =>
    Effect.gen(function*() {
      const error = yield* build({ url: Redacted.make("not a url") })
      assert.strictEqual(error._tag, "InvalidArgument")
      assert.notInclude(error.message, "not a url")
    }))

  it.live("limits, pool sizes and schema names out of bounds are InvalidArgument", () =>
    Effect.gen(function*() {
      const bad: ReadonlyArray<readonly [string, Omit<PgMsgStore.PoolOptions, "url">]> = [
        ["defaultQuota", { defaultQuota: -1 }],
        ["maxBodyBytes", { maxBodyBytes: 8_388_609 }],
        ["poolSize", { poolSize: 0 }],
        ["poolSize", { poolSize: 1.5 }],
        ["schema", { schema: "a\"b" }],
        ["schema", { schema: "" }],
        ["schema", { schema: "pg_store" }],
        ["schema", { schema: "x".repeat(64) }],
        ["statementTimeout", { statementTimeout: "0 millis" }],
        ["lockTimeout", { lockTimeout: "Infinity" }],
        ["acquireTimeout", { acquireTimeout: -5 }]
      ]
      for (const [field, options] of bad) {
        const error = yield* build({ url, ...options })
        assert.strictEqual(error._tag, "InvalidArgument", field)
        assert.strictEqual(error._tag === "InvalidArgument" ? error.field : "", field)
      }
    }))
})

/**
 * Every operation, interrupted at every point at which its fibers can be suspended, leaves the store as it was before or as it
 * is after, ends, and costs no connection. The points are counted by a scheduler of this file's own; what a fiber waits
 * for outside of Effect (a permit, a connection, an answer) is held in place by a proxy instead.
 */
import { PgClient } from "@effect/sql-pg"
import { assert, describe, it } from "@effect/vitest"
import { PgMsgStore } from "@restante/postgres"
import type { Scope } from "effect"
import { Array as Arr, Cause, Effect, Equal, Exit, Fiber, Layer, Schedule, Scheduler } from "effect"
import { MessageId, MsgStore, RecipientId } from "restante"
import * as Operations from "./fixtures/msg-store/operations.ts"
import * as FaultProxy from "./fixtures/pg-session/faultProxy.ts"
import { hold, locked, until } from "./fixtures/postgres/activity.ts"
import * as Proxy from "./fixtures/postgres/proxy.ts"
import { round } from "./fixtures/postgres/round.ts"
import * as PostgresDatabase from "./PostgresDatabase.ts"

const url = await PostgresDatabase.open()

/** Longer than anything here takes; who is interrupted and is not done by then hangs. */
const limit = "20 seconds"

/** For hundreds of points, each in a world of its own. */
const minutes = 240_000

/** Counts the operations of all fibers of a call. Before one of them the fiber is suspended, and `reached` is called. */
class Points implements Scheduler.Scheduler {
  readonly executionMode = "async"
  count = 0
  readonly #mixed = new Scheduler.MixedScheduler()
  readonly #point: number
  readonly #reached: () => void

  constructor(point: number, reached: () => void) {
    this.#point = point
    this.#reached = reached
  }

  shouldYield(fiber: Fiber.Fiber<unknown, unknown>): boolean {
    if (++this.count !== this.#point) return this.#mixed.shouldYield(fiber)
    // After the fiber has been suspended, before its next turn.
    queueMicrotask(this.#reached)
    return true
  }

  makeDispatcher(): Scheduler.SchedulerDispatcher {
    return this.#mixed.makeDispatcher()
  }
}

/** Makes a call, interrupts it at a point, and says how it ended; none if it has fewer points. */
const interruptedAt = Effect.fnUntraced(function*(call: Effect.Effect<unknown, unknown>, point: number) {
  let reached = false
  const points = new Points(point, () => {
    reached = true
    fiber.interruptUnsafe()
  })
  const fiber = yield* Effect.forkChild(Effect.provideService(call, Scheduler.Scheduler, points))
  const exit = yield* Effect.timeout(Fiber.await(fiber), limit)
  return { exit, reached }
})

/** Goes through all points of an operation, where it changes something in a new world at each; answers how many there are. */
const throughout = Effect.fnUntraced(function*(operation: Operations.Operation, inWorld: Operations.Round) {
  const legal = yield* inWorld((store, world) => Operations.states(operation, store, world))
  const after = legal.at(-1)
  /** Which of the states were seen after an interruption. */
  const seen = new Set<number>()
  const at = Effect.fnUntraced(function*(store: Operations.StoreService, world: Operations.World, point: number) {
    const place = `${operation.title}, point ${point}`
    const { exit, reached } = yield* interruptedAt(Operations.call(operation, store, world), point)
    const state = yield* Operations.stateOf(store, world)
    if (Exit.isSuccess(exit)) assert.deepStrictEqual(state, after, place)
    else {
      assert.isTrue(Exit.hasInterrupts(exit), `${place}: ${Cause.pretty(exit.cause)}`)
      const step = legal.findIndex((legal) => Equal.equals(state, legal))
      // None is the same: the difference to one of them says more than that.
      if (step === -1) assert.deepStrictEqual(state, after, place)
      seen.add(step)
    }
    return reached
  })
  let point = 1
  if (operation.kind === "read") {
    yield* inWorld(Effect.fnUntraced(function*(store, world) {
      while (yield* at(store, world, point)) point++
    }))
    assert.deepStrictEqual(seen, new Set([0]))
  } else {
    const repeated = Effect.fnUntraced(function*(store: Operations.StoreService, world: Operations.World) {
      const reached = yield* at(store, world, point)
      yield* Effect.exit(Operations.call(operation, store, world)).pipe(Effect.timeout(limit))
      assert.deepStrictEqual(
        yield* Operations.stateOf(store, world),
        after,
        "a call that is repeated is not made twice"
      )
      return reached
    })
    while (yield* inWorld(repeated)) point++
    // Interruptions have met it before anything had happened, and when everything had.
    assert.includeMembers([...seen], [0, legal.findIndex((legal) => Equal.equals(legal, after))])
  }
  return point - 1
})

const inMemory: Operations.Round = (body) =>
  Effect.flatMap(
    MsgStore.MsgStore,
    (store) => Effect.flatMap(Operations.makeWorld(store), (world) => body(store, world))
  ).pipe(
    Effect.provide(Layer.fresh(MsgStore.layerMemory()))
  )

describe("memory: a call that is interrupted at any point has happened or has not (case 69)", () => {
  for (const operation of Operations.all) {
    it.live(operation.title, () => Effect.asVoid(throughout(operation, inMemory)), minutes)
  }
})

const poolSize = 2

/** Runs a test with a store, by way of a proxy if need be, and a client of the owner. */
const withStore = <A, E, R>(
  use: (store: Operations.StoreService, owner: PgClient.PgClient) => Effect.Effect<A, E, R | Scope.Scope>,
  options: Partial<PgMsgStore.PoolOptions> = {}
) =>
  Effect.flatMap(
    Effect.all([MsgStore.MsgStore, PgClient.PgClient]),
    ([store, owner]) => Effect.scoped(use(store, owner))
  ).pipe(Effect.provide([PgMsgStore.layer({ url, poolSize, ...options }), PostgresDatabase.ownerLayer(url)]))

const lockOf = (owner: PgClient.PgClient, { recipientId }: Operations.Named) =>
  owner`select from restante.queues where recipient_id = ${RecipientId.toBytes(recipientId)} for update`

/** All connections are there and idle, and can be used at the same time, and there are not more of them than there may be. */
const noConnectionIsLost = Effect.fnUntraced(function*(store: Operations.StoreService, owner: PgClient.PgClient) {
  const sessions = owner<{ readonly state: string }>`
    select state from pg_stat_activity where datname = current_database() and application_name = 'restante'`
  yield* until(Effect.map(sessions, (rows) => rows.every(({ state }) => state === "idle")))
  const queue = yield* store.createQueue()
  const lock = yield* hold(owner, lockOf(owner, queue))
  const calls = yield* Effect.forEach(
    Arr.range(1, poolSize),
    () => Effect.forkChild(store.setQuota(queue.recipientId, 1))
  )
  yield* until(Effect.map(locked(owner), (n) => n === poolSize))
  assert.strictEqual((yield* sessions).length, poolSize)
  yield* lock.release
  yield* Fiber.joinAll(calls)
})

describe("PostgreSQL: a call that is interrupted at any point has happened or has not, and no connection is lost (case 69)", () => {
  for (const { operation, title, way } of Operations.onPostgres) {
    it.live(
      title,
      () =>
        withStore(
          (store, owner) =>
            Effect.andThen(throughout(operation, round(store, owner)), noConnectionIsLost(store, owner)),
          { coalesce: way === "together" }
        ),
      minutes
    )
  }
})

/** Lets everything that can go on go on, until it waits for something outside. */
const settle = Effect.repeat(Effect.yieldNow, { times: 200 })

/** An interruption ends a call, although what it waits for does not come. */
const endsAtOnce = Effect.fnUntraced(function*(call: Fiber.Fiber<unknown, unknown>) {
  yield* settle
  assert.isUndefined(call.pollUnsafe())
  yield* Effect.timeout(Fiber.interrupt(call), limit)
  assert.isTrue(Exit.hasInterrupts(yield* Fiber.await(call)))
})

describe("PostgreSQL: a call that is interrupted while it waits", () => {
  for (const { operation, title, way } of Operations.onPostgres) {
    it.live(`${title}: for its turn, ends at once, and has sent nothing (rule 7.1)`, () =>
      withStore((store, owner) =>
        round(store, owner)(Effect.fnUntraced(function*(store, world) {
          const other = yield* store.createQueue()
          const before = yield* Operations.stateOf(store, world)
          const lock = yield* hold(owner, lockOf(owner, other))
          const busy = yield* Effect.forkChild(store.setQuota(other.recipientId, 1))
          yield* until(Effect.map(locked(owner), (n) => n === 1))
          yield* endsAtOnce(yield* Effect.forkChild(Operations.call(operation, store, world)))
          yield* lock.release
          yield* Fiber.join(busy)
          assert.deepStrictEqual(yield* Operations.stateOf(store, world), before)
        })), { poolSize: 1, coalesce: way === "together" }))

    it.live(`${title}: for a connection that does not come about, ends at once (rule 7.1)`, () =>
      Effect.scoped(Effect.gen(function*() {
        const proxy = yield* Proxy.make(url)
        yield* withStore((store, owner) =>
          Effect.gen(function*() {
            const legal = yield* round(store, owner)((store, world) => Operations.states(operation, store, world))
            yield* round(store, owner)(Effect.fnUntraced(function*(store, world) {
              yield* proxy.silence
              yield* owner`select pg_terminate_backend(pid) from pg_stat_activity
                            where datname = current_database() and application_name = 'restante'`
              // Whoever finds that the connection is lost is told so; it is the next who waits for another.
              const finder = yield* Effect.forkChild(store.size(world.a.recipientId))
              yield* settle
              yield* Effect.timeout(Fiber.interrupt(finder), limit)
              yield* endsAtOnce(yield* Effect.forkChild(Operations.call(operation, store, world)))
              yield* proxy.heal
              yield* proxy.drop
              const state = Effect.retry(Operations.stateOf(store, world), Schedule.spaced("1 millis"))
              assert.deepStrictEqual(yield* state, legal[0])
              yield* Operations.call(operation, store, world)
              assert.deepStrictEqual(yield* Operations.stateOf(store, world), legal.at(-1))
            }))
          }), { url: proxy.url, poolSize: 1, coalesce: way === "together" })
      })))

    it.live(`${title}: for an answer, sees its interruption when that has come (rule 7.1)`, () =>
      Effect.scoped(Effect.gen(function*() {
        const proxy = yield* FaultProxy.make(url)
        yield* withStore((store, owner) =>
          Effect.gen(function*() {
            const legal = yield* round(store, owner)((store, world) => Operations.states(operation, store, world))
            for (const fault of ["holdRequest", "holdAnswer"] as const) {
              yield* round(store, owner)(Effect.fnUntraced(function*(store, world) {
                // Before a change, looking up a sender id is not the call yet.
                const statement = operation.kind === "read" ? /restante/ : /restante\W+\b(?!get_senders)/
                const struck = yield* proxy.strike(statement, fault)
                const call = yield* Effect.forkChild(Operations.call(operation, store, world))
                yield* struck.reached
                const interruption = yield* Effect.forkChild(Fiber.interrupt(call))
                yield* settle
                if (operation.cancels !== true) assert.isUndefined(call.pollUnsafe())
                yield* struck.release
                yield* Effect.timeout(Fiber.join(interruption), limit)
                assert.isTrue(Exit.hasInterrupts(yield* Fiber.await(call)))
                const state = yield* Operations.stateOf(store, world)
                if (operation.steps === undefined && operation.cancels !== true) {
                  assert.deepStrictEqual(state, legal.at(-1))
                } else assert.isTrue(legal.some((legal) => Equal.equals(state, legal)))
              }))
            }
            yield* noConnectionIsLost(store, owner)
          }), { url: proxy.url, coalesce: way === "together" })
      })))
  }

  for (const [how, options] of [["", {}], [", each by itself", { coalesce: false }]] as const) {
    it.live(`1,000 rounds with interruptions at any time${how} lose no write that was answered, no write twice, and no connection (case 68)`, () =>
      withStore((store, owner) =>
        Effect.gen(function*() {
          const { recipientId } = yield* store.createQueue({ quota: 10_000 })
          const callers = 8
          const answered = new Set<MessageId>()
          const all = Arr.range(0, 999).map((i) => MessageId.named(`message ${i}`))
          const write = (id: MessageId) => store.write({ recipientId }, { id, body: new Uint8Array(3) })
          yield* Effect.forEach(all, (id, i) =>
            Effect.gen(function*() {
              const call = yield* Effect.forkChild(write(id))
              // From at once to after the answer; the same in each run, as far as that is up to us.
              yield* Effect.repeat(Effect.yieldNow, { times: (i * 37) % 101 })
              yield* Effect.timeout(Fiber.interrupt(call), limit)
              const exit = yield* Fiber.await(call)
              if (Exit.isSuccess(exit)) answered.add(id)
              else assert.isTrue(Exit.hasInterrupts(exit))
            }), { concurrency: callers })
          const entries = yield* store.peekBatch(recipientId, { limit: 1_000 })
          const stored = entries.map(({ id }) => id)
          assert.deepStrictEqual(entries.map(({ sequence }) => sequence), stored.map((_, i) => BigInt(i + 1)))
          assert.strictEqual(new Set(stored).size, stored.length)
          assert.isEmpty([...answered].filter((id) => !stored.includes(id)))
          // Both kinds of interruption have been met.
          assert.isAbove(stored.length, answered.size)
          assert.isBelow(stored.length, all.length)
          for (const id of all) yield* write(id)
          assert.strictEqual(yield* store.size(recipientId), all.length)
          yield* noConnectionIsLost(store, owner)
        }), options))
  }
})

/** Makes three calls that travel together, and interrupts the one in the middle at a point. */
const interruptedAmong = Effect.fnUntraced(function*(
  operation: Operations.Operation,
  store: Operations.StoreService,
  proxy: FaultProxy.FaultProxy,
  [left, middle, right]: readonly [Operations.World, Operations.World, Operations.World],
  point: number
) {
  const batches = Effect.map(
    proxy.statements,
    (statements) => statements.filter((statement) => statement.includes(`${operation.travels}(`)).length
  )
  const call = (world: Operations.World) => Operations.call(operation, store, world)
  const before = yield* batches
  // A call of another queue keeps the lane busy until all of them are there.
  const [statement, first] = operation.kind === "read"
    ? [/\bsize\(/, store.size(left.deleted[0].recipientId)] as const
    : [/\backnowledge\(/, store.acknowledge(left.deleted[0].recipientId, left.id("none"))] as const
  const struck = yield* proxy.strike(statement, "holdRequest")
  const holding = yield* Effect.forkChild(Effect.exit(Effect.asVoid<unknown, unknown, never>(first)))
  yield* Effect.raceFirst(struck.reached, Fiber.join(holding))
  const neighbour = yield* Effect.forkChild(call(left), { startImmediately: true })
  const interrupted = yield* Effect.forkChild(interruptedAt(call(middle), point), { startImmediately: true })
  const other = yield* Effect.forkChild(call(right), { startImmediately: true })
  yield* settle
  yield* struck.release
  yield* Effect.timeout(Fiber.joinAll([neighbour, other]), limit)
  const answer = yield* Fiber.join(interrupted)
  assert.strictEqual(yield* batches, before + 1)
  return answer
})

describe("PostgreSQL: a call that is interrupted at any point, in a batch with others", () => {
  for (const operation of Operations.all.filter(({ travels }) => travels !== undefined)) {
    it.live(
      `${operation.title}: has happened or has not, and its neighbours have (rule 7.1)`,
      () =>
        Effect.scoped(Effect.gen(function*() {
          const proxy = yield* FaultProxy.make(url)
          const test = Effect.fnUntraced(function*(store: Operations.StoreService) {
            const makeWorld = Operations.makeWorld(store)
            const queuesOf = (world: Operations.World) =>
              Effect.map(Operations.stateOf(store, world), ({ queues }) => queues)
            const legal = yield* Operations.states(operation, store, yield* makeWorld)
            const [before, after] = [legal[0]?.queues, legal.at(-1)?.queues]
            const ends = new Set<string>()
            let point = 1
            while (true) {
              const worlds = yield* Effect.all([makeWorld, makeWorld, makeWorld])
              const [left, middle, right] = worlds
              const { exit, reached } = yield* interruptedAmong(operation, store, proxy, worlds, point)
              for (const world of [left, right]) assert.deepStrictEqual(yield* queuesOf(world), after)
              const state = yield* queuesOf(middle)
              if (!Exit.isSuccess(exit)) assert.isTrue(Exit.hasInterrupts(exit), Cause.pretty(exit.cause))
              if (Exit.isSuccess(exit) || !Equal.equals(state, before)) {
                assert.deepStrictEqual(state, after, `point ${point}`)
              }
              ends.add(
                `${Exit.isSuccess(exit) ? "answered" : "interrupted"} ${
                  Equal.equals(state, after) ? "after" : "before"
                }`
              )
              yield* Operations.call(operation, store, middle)
              assert.deepStrictEqual(yield* queuesOf(middle), after, "a call that is repeated is not made twice")
              if (!reached) {
                break
              }
              point++
            }
            // It was met before it had joined the others, after it had been answered, and in the end not at all.
            const expected = operation.kind === "read"
              ? ["answered after", "interrupted after"]
              : ["answered after", "interrupted after", "interrupted before"]
            assert.deepStrictEqual([...ends].toSorted(), expected)
          })
          yield* withStore(test, { url: proxy.url, lanes: 1, notify: false })
        })),
      minutes
    )
  }
})

PostgresDatabase.itIsSound(url)

/**
 * Calls that travel together (rules 7.1 to 7.4 and 10.4): what only statements, connections, locks and time can show. That each
 * of them is answered as if it had been alone is in MsgStore.test.ts, Linearizability.test.ts and Interruption.test.ts.
 */
import { PgClient } from "@effect/sql-pg"
import { assert, layer } from "@effect/vitest"
import { PgMsgStore } from "@restante/postgres"
import {
  Array as Arr,
  Cause,
  Context,
  Deferred,
  Effect,
  Exit,
  Fiber,
  Layer,
  Metric,
  Option,
  Redacted,
  Scheduler,
  Scope,
  Tracer
} from "effect"
import { Message, MessageId, MsgStore, MsgStoreError, RecipientId } from "restante"
import * as Crowd from "./fixtures/lanes/process.ts"
import * as FaultProxy from "./fixtures/pg-session/faultProxy.ts"
import { hold, until, untilOneIsLocked } from "./fixtures/postgres/activity.ts"
import * as Door from "./fixtures/postgres/door.ts"
import { failing } from "./fixtures/postgres/failing.ts"
import * as Role from "./fixtures/postgres/role.ts"
import * as PostgresDatabase from "./PostgresDatabase.ts"

const url = await PostgresDatabase.open()
const role = await Role.open(url)

type StoreService = MsgStore.MsgStore["Service"]

/** The store that makes queues and looks at them; each of its calls is a statement of its own. */
class Sound extends Context.Service<Sound, StoreService>()("test/Sound") {}

const looking = Layer.merge(
  Layer.effect(Sound, MsgStore.MsgStore).pipe(Layer.provide(PgMsgStore.layer({ url, coalesce: false, poolSize: 4 }))),
  PostgresDatabase.ownerLayer(url)
)

/** Waiting is for real. */
const live = { excludeTestServices: true }

/** Longer than anything here takes; what is not done by then hangs. */
const limit = "20 seconds"

/** A store whose calls can be watched. */
interface Lab {
  readonly store: StoreService
  readonly proxy: FaultProxy.FaultProxy
  readonly metrics: Metric.MetricRegistry
  /** The functions that the server was told to call, in order. */
  readonly called: Effect.Effect<ReadonlyArray<string>>
}

/** One lane of changes and one of reads, so that it is known who travels with whom. */
const oneLane = { lanes: 1, notify: false } as const

const storeOf = (options: PgMsgStore.PoolOptions) =>
  Effect.map(Layer.build(Layer.fresh(PgMsgStore.layer(options))), (context) => Context.get(context, MsgStore.MsgStore))

const makeLab = Effect.fnUntraced(function*(options: Partial<PgMsgStore.PoolOptions> = {}) {
  const proxy = yield* FaultProxy.make(role.url)
  const metrics: Metric.MetricRegistry = new Map()
  const store = yield* Effect.provideService(
    storeOf({ url: proxy.url, ...oneLane, ...options }),
    Metric.MetricRegistry,
    metrics
  )
  const called = Effect.map(
    proxy.statements,
    (statements) => statements.flatMap((statement) => /restante"?\.(\w+)\(/.exec(statement)?.[1] ?? [])
  )
  return { store, proxy, metrics, called } satisfies Lab
})

const message = (name: string, body = name): Message.NewMessage => ({
  ...Message.fromText(body),
  id: MessageId.named(name)
})

const makeQueues = Effect.fnUntraced(function*(n: number, quota = 1_000_000) {
  const sound = yield* Sound
  return yield* Effect.forEach(Arr.range(1, n), () => sound.createQueue({ quota }), { concurrency: 8 })
})

/** A queue, as its readers know it. */
interface Readable {
  readonly recipientId: RecipientId
}

const writeTo = (store: StoreService, { recipientId }: Readable, name: string) =>
  store.write({ recipientId }, message(name))

/** Queues that hold m1 and m2 each. */
const makeFilled = Effect.fnUntraced(function*(n: number) {
  const sound = yield* Sound
  const queues = yield* makeQueues(n)
  yield* sound.writeMany(queues.flatMap(({ recipientId }) => [
    { target: { recipientId }, message: message("m1") },
    { target: { recipientId }, message: message("m2") }
  ]))
  return queues
})

/** What is stored, by name. */
const stored = Effect.fnUntraced(function*({ recipientId }: Readable) {
  const sound = yield* Sound
  const entries = yield* sound.peekBatch(recipientId, { limit: 1_000 })
  return entries.map(({ id }): string => Buffer.from(MessageId.toBytes(id)).toString())
})

/** Makes calls one after another, each as soon as the one before waits. */
const forkEach = <A, E, R>(calls: ReadonlyArray<Effect.Effect<A, E, R>>) =>
  Effect.forEach(calls, (call) => Effect.forkChild(call, { startImmediately: true }))

/** Lets everything that can go on go on, until it waits for something outside. */
const settle = Effect.repeat(Effect.yieldNow, { times: 200 })

/** Keeps a lane busy with a call of its own until opened: what is called meanwhile gathers. */
const gate = Effect.fnUntraced(function*({ proxy, store }: Lab, kind: "read" | "change" = "change") {
  const [queue] = yield* makeQueues(1)
  assert.isDefined(queue)
  const [statement, call] = kind === "change"
    ? [/\bwrite\(/, writeTo(store, queue, "gate")] as const
    : [/\bsize\(/, store.size(queue.recipientId)] as const
  const struck = yield* proxy.strike(statement, "holdRequest")
  const first = yield* Effect.forkChild<Effect.Effect<unknown, unknown>>(call, { startImmediately: true })
  yield* Effect.raceFirst(struck.reached, Fiber.join(first))
  return { open: Effect.andThen(struck.release, Fiber.join(first)) }
})

const endOf = (exit: Exit.Exit<unknown, unknown>): string => {
  if (Exit.isSuccess(exit)) return "success"
  const error = Option.getOrUndefined(Cause.findErrorOption(exit.cause))
  if (error instanceof MsgStoreError.MsgStoreError) return error.reason._tag
  return error instanceof Error ? error.name : Cause.pretty(exit.cause)
}

const endsOf = <A, E>(fibers: ReadonlyArray<Fiber.Fiber<A, E>>) =>
  Effect.map(Effect.forEach(fibers, (fiber) => Fiber.await(fiber)), (exits) => exits.map(endOf))

const accepted = (sequence: number, wasEmpty = sequence === 1): MsgStore.WriteOutcome => ({
  _tag: "Accepted",
  sequence: BigInt(sequence),
  wasEmpty
})

const lockOf = (owner: PgClient.PgClient, { recipientId }: Readable) =>
  owner`select from restante.queues where recipient_id = ${RecipientId.toBytes(recipientId)} for update`

/** A sort of calls that travel together. */
interface Sort {
  readonly operation: string
  readonly kind: "read" | "change"
  /** The function that is called for several. */
  readonly many: string
  /** Makes one about a queue that holds m1 and m2. */
  readonly call: (store: StoreService, queue: Readable) => Effect.Effect<unknown, unknown>
  /** What the queue holds afterwards. */
  readonly after: ReadonlyArray<string>
}

const sorts: ReadonlyArray<Sort> = [
  {
    operation: "write",
    kind: "change",
    many: "write_many",
    call: (store, { recipientId }) => store.write({ recipientId }, message("m3")),
    after: ["m1", "m2", "m3"]
  },
  {
    operation: "acknowledge",
    kind: "change",
    many: "acknowledge_many",
    call: (store, { recipientId }) => store.acknowledge(recipientId, MessageId.named("m1")),
    after: ["m2"]
  },
  {
    operation: "acknowledgeAndPeek",
    kind: "change",
    many: "acknowledge_many",
    call: (store, { recipientId }) => store.acknowledgeAndPeek(recipientId, MessageId.named("m1")),
    after: ["m2"]
  },
  {
    operation: "peek",
    kind: "read",
    many: "peek_many",
    call: (store, { recipientId }) => store.peek(recipientId),
    after: ["m1", "m2"]
  },
  {
    operation: "size",
    kind: "read",
    many: "size_many",
    call: (store, { recipientId }) => store.size(recipientId),
    after: ["m1", "m2"]
  }
]

const before = ["m1", "m2"]

const count = (names: ReadonlyArray<string>, name: string) => names.filter((each) => each === name).length

layer(looking, live)("who travels with whom", (it) => {
  for (const { after, call, kind, many, operation } of sorts) {
    it.effect(`${operation}: alone it leaves at once, by itself; what gathers meanwhile is one statement`, () =>
      Effect.gen(function*() {
        const lab = yield* makeLab()
        const queues = yield* makeFilled(6)
        const [first, ...rest] = queues
        assert.isDefined(first)
        yield* call(lab.store, first)
        const before = yield* lab.called
        assert.notInclude(before, many)
        const opened = yield* gate(lab, kind)
        const calls = yield* forkEach(
          rest.map((queue) => call(lab.store, queue))
        )
        yield* opened.open
        yield* Fiber.joinAll(calls)
        assert.deepStrictEqual((yield* lab.called).slice(before.length + 1), [many])
        for (const queue of queues) assert.deepStrictEqual(yield* stored(queue), after)
      }))
  }

  it.effect("whenever a call comes, its lane takes it: also at the very moment when nobody waits any more", () =>
    Effect.gen(function*() {
      const [queue] = yield* makeQueues(1)
      assert.isDefined(queue)
      // The lane gives way after so many of its steps. Trap: with fewer than three a fiber never gets on.
      for (const steps of [3, 4, 5, 6, 7]) {
        const { store } = yield* Effect.provideService(makeLab(), Scheduler.MaxOpsBeforeYield, steps)
        const caller = Effect.fnUntraced(function*(caller: number) {
          for (let i = 0; i < 27; i++) {
            // Between an answer and the next call, some turns.
            yield* Effect.repeat(Effect.yieldNow, { times: (caller + i) % 9 })
            yield* store.size(queue.recipientId)
          }
        })
        for (const callers of [1, 10]) {
          const calls = Effect.forEach(Arr.range(1, callers), caller, { concurrency: "unbounded", discard: true })
          yield* Effect.timeout(calls, limit)
        }
      }
    }))

  it.effect("reads do not wait for changes that wait, nor for those that are under way (rule 6.3)", () =>
    Effect.gen(function*() {
      const lab = yield* makeLab()
      const [queue] = yield* makeFilled(1)
      assert.isDefined(queue)
      const { open } = yield* gate(lab)
      const write = yield* Effect.forkChild(writeTo(lab.store, queue, "m3"), { startImmediately: true })
      assert.isTrue(Option.isSome(yield* Effect.timeout(lab.store.peek(queue.recipientId), limit)))
      assert.strictEqual(yield* Effect.timeout(lab.store.size(queue.recipientId), limit), 2)
      assert.isUndefined(write.pollUnsafe())
      yield* open
      assert.deepStrictEqual(yield* Fiber.join(write), accepted(3))
    }))

  it.effect("a batch has at most 256 calls, and bodies of 4 MiB unless it is a single call", () =>
    Effect.gen(function*() {
      const lab = yield* makeLab({ maxBodyBytes: 8_388_608 })
      const queues = yield* makeQueues(300)
      const small = yield* gate(lab)
      const depths: Array<number> = []
      const writes = yield* forkEach(queues.map(({ recipientId }) => lab.store.write({ recipientId }, message("m1"))))
      const struck = yield* lab.proxy.strike(/write_many/, "holdAnswer")
      yield* Effect.forkChild(small.open)
      yield* struck.reached
      depths.push((yield* metricsOf(lab, "write")).depth)
      yield* struck.release
      for (const write of writes) assert.deepStrictEqual(yield* Fiber.join(write), accepted(1))
      depths.push((yield* metricsOf(lab, "write")).depth)
      assert.deepStrictEqual(depths, [44, 0])
      assert.strictEqual(count(yield* lab.called, "write_many"), 2)

      const large = yield* gate(lab)
      const mebibytes = [1, 2, 1, 1, 8, 4, 2, 3]
      const rest = yield* forkEach(
        Arr.zipWith(
          queues,
          mebibytes,
          ({ recipientId }, mebibytes) =>
            lab.store.write({ recipientId }, { body: new Uint8Array(mebibytes * 1_048_576).fill(1) })
        )
      )
      yield* large.open
      for (const write of rest) assert.deepStrictEqual(yield* Fiber.join(write), accepted(2))
      // 1 + 2 + 1; 1; 8; 4; 2; 3: those that are alone do not need a batch.
      const { called } = lab
      assert.strictEqual(count(yield* called, "write_many"), 3)
      assert.strictEqual(count(yield* called, "write"), 2 + 5)
    }))
})

/** What was measured of an operation. */
const metricsOf = Effect.fnUntraced(function*({ metrics }: Lab, operation: string) {
  const all = yield* Effect.provideService(Metric.snapshot, Metric.MetricRegistry, metrics)
  const ofOperation = all.filter(({ attributes }) => attributes?.["operation"] === operation)
  const histogram = (id: string) => {
    const found = ofOperation.find((metric) => metric.id === id)
    return found?.type === "Histogram" ? found.state : assert.fail(`no histogram ${id}`)
  }
  const gauge = ofOperation.find(({ id }) => id === "restante_lane_depth")
  return {
    calls: histogram("restante_batch_calls"),
    wait: histogram("restante_lane_wait_milliseconds"),
    depth: gauge?.type === "Gauge" ? Number(gauge.state.value) : assert.fail("no depth"),
    attributes: new Set(ofOperation.flatMap(({ attributes }) => Object.keys(attributes ?? {})))
  }
})

layer(looking, live)("order", (it) => {
  for (const lanes of [1, 2, 8]) {
    it.effect(`the writes to a queue are stored in the order in which they were made, over ${lanes} lanes`, () =>
      Effect.gen(function*() {
        const { store } = yield* makeLab({ lanes })
        const queues = yield* makeQueues(41)
        // From here its writers know whom they write to.
        yield* Effect.forEach(queues, ({ senderId }) => store.getQueue({ senderId }), { concurrency: 8 })
        const each = 25
        // All by one fiber, which waits for none of them.
        const calls = yield* forkEach(
          Arr.range(1, each).flatMap((i) =>
            queues.map(({ recipientId, senderId }) =>
              store.write(i % 2 === 0 ? { recipientId } : { senderId }, message(`m${i}`))
            )
          )
        )
        const outcomes = yield* Effect.forEach(calls, (call) => Fiber.join(call))
        const expected = Arr.range(1, each).flatMap((i) => queues.map(() => accepted(i)))
        assert.deepStrictEqual(outcomes, expected)
        for (const queue of queues) {
          assert.deepStrictEqual(yield* stored(queue), Arr.range(1, each).map((i) => `m${i}`))
        }
      }))
  }

  it.effect("also that of writes and acknowledgements together", () =>
    Effect.gen(function*() {
      const { store } = yield* makeLab()
      // With room for one message only, so that a write which overtakes an acknowledgement is refused.
      const queues = yield* makeQueues(20, 1)
      const calls = yield* forkEach(
        Arr.range(1, 10).flatMap((i) =>
          queues.flatMap(({ recipientId }) => [
            Effect.map(store.write({ recipientId }, message(`m${i}`)), ({ _tag }) => _tag),
            Effect.map(
              store.acknowledge(recipientId, MessageId.named(`m${i}`)),
              (gone) => Option.match(gone, { onNone: () => "none", onSome: ({ sequence }) => String(sequence) })
            )
          ])
        )
      )
      const outcomes = yield* Effect.forEach(calls, (call) => Fiber.join(call))
      assert.deepStrictEqual(
        outcomes,
        Arr.range(1, 10).flatMap((i) => queues.flatMap(() => ["Accepted", String(i)]))
      )
    }))

  it.effect("also of writes by a sender id that is looked up first", () =>
    Effect.gen(function*() {
      const { called, store } = yield* makeLab()
      const queues = yield* makeQueues(10)
      const calls = yield* forkEach(
        Arr.range(1, 10).flatMap((i) => queues.map(({ senderId }) => store.write({ senderId }, message(`m${i}`))))
      )
      const outcomes = yield* Effect.forEach(calls, (call) => Fiber.join(call))
      assert.deepStrictEqual(outcomes, Arr.range(1, 10).flatMap((i) => queues.map(() => accepted(i))))
      // They travel too.
      assert.isBelow(count(yield* called, "get_senders"), 20)
    }))

  it.effect("also where some of those that travelled are sent again, because the answers were too large together", () =>
    Effect.gen(function*() {
      const lab = yield* makeLab()
      const direct = yield* storeOf({ url, maxBodyBytes: 4_194_304 })
      const [large, contended, late] = yield* makeQueues(3)
      assert.isDefined(large)
      assert.isDefined(contended)
      assert.isDefined(late)
      yield* direct.write({ recipientId: large.recipientId }, {
        ...message("m1"),
        body: new Uint8Array(4_194_304).fill(1)
      })
      for (const name of ["m1", "m2"]) yield* writeTo(direct, late, name)
      const acknowledge = ({ recipientId }: Readable, name: string) =>
        Effect.map(lab.store.acknowledge(recipientId, MessageId.named(name)), Option.isSome)
      const write = (queue: Readable, name: string) => Effect.map(writeTo(lab.store, queue, name), ({ _tag }) => _tag)
      const start = (yield* lab.called).length
      const { open } = yield* gate(lab)
      const calls = yield* forkEach<unknown, unknown, never>([
        acknowledge(large, "m1"),
        write(contended, "m1"),
        acknowledge(contended, "m1"),
        write(contended, "m2"),
        // Travels with the first, which is answered alone.
        acknowledge(late, "m1")
      ])
      const struck = yield* lab.proxy.strike(/acknowledge_many/, "holdRequest")
      yield* open
      yield* struck.reached
      const behind = yield* Effect.forkChild(acknowledge(late, "m2"), { startImmediately: true })
      yield* struck.release
      const outcomes = yield* Effect.forEach([...calls, behind], (call) => Effect.timeout(Fiber.join(call), limit))
      assert.deepStrictEqual(outcomes, [true, "Accepted", true, "Accepted", true, true])
      assert.deepStrictEqual(yield* stored(contended), ["m2"])
      assert.deepStrictEqual((yield* lab.called).slice(start), [
        "write",
        "acknowledge_many",
        "write",
        "acknowledge_many",
        "write"
      ])
    }))
})

/** A domain keeps damage out, so its constraint has to go first. */
const damage = (owner: PgClient.PgClient, { recipientId }: Readable, sequence: number) =>
  owner.withTransaction(Effect.gen(function*() {
    yield* owner`alter domain restante.entry_kind drop constraint if exists entry_kind_check`
    yield* owner`update restante.messages set kind = 'x'
                  where sequence = ${sequence}
                    and queue_key = (select key from restante.queues
                                      where recipient_id = ${RecipientId.toBytes(recipientId)})`
  }))

layer(looking, live)("a call never changes the answer of those it travels with", (it) => {
  it.effect("writes: to queues that are there and not, suspended, full and overflowing, with repeated ids", () =>
    Effect.gen(function*() {
      const sound = yield* Sound
      const lab = yield* makeLab()
      const [good, suspended, deleted, other, rebound] = yield* makeQueues(5)
      assert.isDefined(good)
      assert.isDefined(suspended)
      assert.isDefined(deleted)
      assert.isDefined(other)
      assert.isDefined(rebound)
      const full = yield* sound.createQueue({ quota: 0 })
      const overflowing = yield* sound.createQueue({ quota: 0 })
      yield* writeTo(sound, full, "m0")
      // Known to the lab's store, and deleted since.
      yield* lab.store.getQueue({ senderId: deleted.senderId })
      yield* sound.deleteQueue(deleted.recipientId)
      yield* sound.setQueueStatus(suspended.recipientId, "suspended")
      const before = (yield* lab.called).length
      const { open } = yield* gate(lab)
      const to = (queue: Readable, name: string) => writeTo(lab.store, queue, name)
      const calls = yield* forkEach([
        to(good, "m1"),
        lab.store.write({ recipientId: RecipientId.randomUnsafe() }, message("m1")),
        to(suspended, "m1"),
        to(good, "m1"),
        lab.store.write({ recipientId: deleted.recipientId }, message("m1")),
        to(full, "m1"),
        to(overflowing, "m1"),
        to(overflowing, "m1"),
        to(overflowing, "m2"),
        to(good, "m2"),
        to(other, "m1")
      ])
      yield* open
      const outcomes = yield* Effect.forEach(calls, (call) => Fiber.await(call))
      const quotaReached = { _tag: "QuotaReached" } as const
      assert.deepStrictEqual(outcomes.map((exit) => Exit.isSuccess(exit) ? exit.value : endOf(exit)), [
        accepted(1),
        "QueueNotFound",
        "QueueSuspended",
        { _tag: "AlreadyStored", sequence: 1n },
        "QueueNotFound",
        { _tag: "QuotaExceeded" },
        quotaReached,
        quotaReached,
        { _tag: "QuotaExceeded" },
        accepted(2),
        accepted(1)
      ])
      assert.deepStrictEqual((yield* lab.called).slice(before), ["write", "write_many"])
      const again = yield* gate(lab)
      const late = yield* forkEach([
        to(good, "m3"),
        lab.store.write({ senderId: deleted.senderId }, message("m1")),
        to(other, "m2")
      ])
      yield* again.open
      assert.deepStrictEqual(yield* endsOf(late), ["success", "QueueNotFound", "success"])
    }))

  it.effect("acknowledgements: of queues that are not there, of entries that are not the head, and of damaged ones", () =>
    Effect.gen(function*() {
      const owner = yield* PgClient.PgClient
      const sound = yield* Sound
      const lab = yield* makeLab()
      const queues = yield* makeFilled(5)
      const [good, empty, damagedHead, damagedNext, other] = queues
      assert.isDefined(good)
      assert.isDefined(empty)
      assert.isDefined(damagedHead)
      assert.isDefined(damagedNext)
      assert.isDefined(other)
      yield* sound.acknowledgeThrough(empty.recipientId, { sequence: 2n })
      yield* damage(owner, damagedHead, 1)
      yield* damage(owner, damagedNext, 2)
      const before = (yield* lab.called).length
      const { open } = yield* gate(lab)
      const { acknowledge, acknowledgeAndPeek } = lab.store
      const [m1, m2] = [MessageId.named("m1"), MessageId.named("m2")]
      const calls = yield* forkEach<unknown, unknown, never>([
        Effect.map(acknowledge(good.recipientId, m2), sequenceOf),
        Effect.map(acknowledge(good.recipientId, m1), sequenceOf),
        acknowledge(RecipientId.randomUnsafe(), m1),
        acknowledge(damagedHead.recipientId, m1),
        Effect.map(acknowledgeAndPeek(damagedNext.recipientId, m2), sequencesOf),
        acknowledgeAndPeek(damagedNext.recipientId, m1),
        Effect.map(acknowledgeAndPeek(empty.recipientId, m1), sequencesOf),
        Effect.map(acknowledge(good.recipientId, m1), sequenceOf),
        Effect.map(acknowledgeAndPeek(good.recipientId, m2), sequencesOf),
        Effect.map(acknowledgeAndPeek(other.recipientId, m1), sequencesOf)
      ])
      yield* open
      const outcomes = yield* Effect.forEach(calls, (call) => Fiber.await(call))
      assert.deepStrictEqual(outcomes.map((exit) => Exit.isSuccess(exit) ? exit.value : endOf(exit)), [
        "none",
        "1",
        "QueueNotFound",
        "Corrupt",
        ["none", "1"],
        "Corrupt",
        ["none", "none"],
        "none",
        ["2", "none"],
        ["1", "2"]
      ])
      assert.deepStrictEqual((yield* lab.called).slice(before), ["write", "acknowledge_many"])
      // What is damaged was not removed unseen.
      for (const { recipientId } of [damagedHead, damagedNext]) {
        assert.strictEqual(yield* sound.size(recipientId), 2)
        assert.strictEqual(yield* sound.acknowledgeThrough(recipientId, { sequence: 2n }), 2)
      }
    }))

  it.effect("reads: of queues that are not there, empty, and with a damaged head", () =>
    Effect.gen(function*() {
      const owner = yield* PgClient.PgClient
      const sound = yield* Sound
      const lab = yield* makeLab()
      const [good, damaged, other] = yield* makeFilled(3)
      assert.isDefined(good)
      assert.isDefined(damaged)
      assert.isDefined(other)
      const [empty] = yield* makeQueues(1)
      assert.isDefined(empty)
      yield* damage(owner, damaged, 1)
      const unknown = RecipientId.randomUnsafe()
      const queues = [
        good.recipientId,
        unknown,
        empty.recipientId,
        damaged.recipientId,
        good.recipientId,
        other.recipientId
      ]
      const before = (yield* lab.called).length
      const { open } = yield* gate(lab, "read")
      const calls = yield* forkEach<unknown, unknown, never>([
        ...queues.map((recipientId) => Effect.map(lab.store.peek(recipientId), sequenceOf)),
        ...queues.map((recipientId) => lab.store.size(recipientId))
      ])
      yield* open
      const outcomes = yield* Effect.forEach(calls, (call) => Fiber.await(call))
      assert.deepStrictEqual(outcomes.map((exit) => Exit.isSuccess(exit) ? exit.value : endOf(exit)), [
        "1",
        "QueueNotFound",
        "none",
        "Corrupt",
        "1",
        "1",
        2,
        "QueueNotFound",
        0,
        2,
        2,
        2
      ])
      assert.deepStrictEqual((yield* lab.called).slice(before), ["size", "peek_many", "size_many"])
      yield* sound.acknowledgeThrough(damaged.recipientId, { sequence: 1n })
    }))
})

const sequenceOf = (entry: Option.Option<Message.Entry>): string =>
  Option.match(entry, { onNone: () => "none", onSome: ({ sequence }) => String(sequence) })

const sequencesOf = ({ acknowledged, next }: MsgStore.AcknowledgedAndNext) => [acknowledged, next].map(sequenceOf)

layer(looking, live)("a caller that is interrupted", (it) => {
  for (const { after, call, kind, many, operation } of sorts) {
    it.effect(`${operation}: while it waits, ends at once and has made no call; its neighbours travel (rule 7.1)`, () =>
      Effect.gen(function*() {
        const lab = yield* makeLab()
        const queues = yield* makeFilled(5)
        const start = (yield* lab.called).length
        const { open } = yield* gate(lab, kind)
        const calls = yield* forkEach(queues.map((queue) => call(lab.store, queue)))
        const withdrawn = [0, 2, 3]
        for (const i of withdrawn) {
          const fiber = calls[i]
          assert.isDefined(fiber)
          // Although the lane is stuck.
          yield* Effect.timeout(Fiber.interrupt(fiber), limit)
          assert.isTrue(Exit.hasInterrupts(yield* Fiber.await(fiber)))
        }
        yield* open
        const exits = yield* Effect.forEach(calls, (fiber) => Fiber.await(fiber))
        assert.deepStrictEqual(exits.map(Exit.isSuccess), [false, true, false, false, true])
        for (const [i, queue] of queues.entries()) {
          assert.deepStrictEqual(yield* stored(queue), withdrawn.includes(i) ? before : after)
        }
        assert.deepStrictEqual((yield* lab.called).slice(start + 1), [many])
      }))

    it.effect(`${operation}: after its batch has left, sees its interruption when the answer has come (rule 7.1)`, () =>
      Effect.gen(function*() {
        const lab = yield* makeLab()
        const queues = yield* makeFilled(3)
        const { open } = yield* gate(lab, kind)
        const calls = yield* forkEach(queues.map((queue) => call(lab.store, queue)))
        const [first, victim, last] = calls
        assert.isDefined(first)
        assert.isDefined(victim)
        assert.isDefined(last)
        const struck = yield* lab.proxy.strike(new RegExp(many), "holdRequest")
        yield* open
        yield* struck.reached
        const interruption = yield* Effect.forkChild(Fiber.interrupt(victim))
        yield* settle
        assert.isUndefined(victim.pollUnsafe())
        yield* struck.release
        yield* Effect.timeout(Fiber.join(interruption), limit)
        assert.isTrue(Exit.hasInterrupts(yield* Fiber.await(victim)))
        assert.deepStrictEqual(yield* endsOf([first, last]), ["success", "success"])
        for (const queue of queues) assert.deepStrictEqual(yield* stored(queue), after)
      }))
  }

  it.effect("with all others that wait leaves nothing behind: no statement, and a lane that works", () =>
    Effect.gen(function*() {
      const lab = yield* makeLab()
      const [queue] = yield* makeQueues(1)
      assert.isDefined(queue)
      const start = (yield* lab.called).length
      const { open } = yield* gate(lab)
      const calls = yield* forkEach(
        Arr.range(1, 1_000).map((i) => lab.store.write({ recipientId: queue.recipientId }, message(`m${i}`)))
      )
      yield* Effect.timeout(Fiber.interruptAll(calls), limit)
      yield* open
      const outcome = yield* lab.store.write({ recipientId: queue.recipientId }, message("after"))
      assert.deepStrictEqual(outcome, accepted(1))
      assert.strictEqual((yield* metricsOf(lab, "write")).depth, 0)
      assert.deepStrictEqual((yield* lab.called).slice(start), ["write", "write"])
    }))

  it.effect("while its lane waits for a connection is withdrawn, also the one that the lane was woken by", () =>
    Effect.gen(function*() {
      const owner = yield* PgClient.PgClient
      const lab = yield* makeLab({ poolSize: 1 })
      const [busy, queue] = yield* makeQueues(2)
      assert.isDefined(busy)
      assert.isDefined(queue)
      const lock = yield* hold(owner, lockOf(owner, busy))
      const holder = yield* Effect.forkChild(lab.store.setQuota(busy.recipientId, 1))
      yield* untilOneIsLocked(owner)
      const [waker, second, third] = yield* forkEach(
        ["m1", "m2", "m3"].map((name) => lab.store.write({ recipientId: queue.recipientId }, message(name)))
      )
      assert.isDefined(waker)
      assert.isDefined(second)
      assert.isDefined(third)
      yield* settle
      yield* Effect.timeout(Fiber.interruptAll([waker, third]), limit)
      yield* lock.release
      yield* Fiber.join(holder)
      assert.deepStrictEqual(yield* Fiber.join(second), accepted(1))
      assert.deepStrictEqual(yield* stored(queue), ["m2"])
    }).pipe(Effect.scoped))
})

const untilAnswered = <A, E, R>(call: Effect.Effect<A, E, R>) =>
  Effect.retry(call, {
    while: (error) => error instanceof MsgStoreError.MsgStoreError && error.isRetryable,
    times: 20
  })

layer(looking, live)("a batch whose answer is lost tells each of its callers, and is not repeated (rule 7.3)", (it) => {
  const faults = {
    cutBefore: "the socket is cut before the server has the statement",
    cutAfter: "the socket is cut after the server has carried it out",
    kill: "the backend is terminated while it works"
  } as const
  for (const fault of ["cutBefore", "cutAfter", "kill"] as const) {
    for (const { after, call, kind, many, operation } of sorts) {
      it.effect(`${operation}: ${faults[fault]}`, () =>
        Effect.gen(function*() {
          const owner = yield* PgClient.PgClient
          const lab = yield* makeLab()
          const queues = yield* makeFilled(5)
          const { open } = yield* gate(lab, kind)
          const calls = yield* forkEach(queues.map((queue) => call(lab.store, queue)))
          const statement = new RegExp(many)
          const struck = yield* lab.proxy.strike(statement, fault === "kill" ? "holdRequest" : fault)
          yield* open
          yield* struck.reached
          if (fault === "kill") {
            const tables = yield* hold(owner, owner`lock table restante.queues in access exclusive mode`)
            yield* struck.release
            yield* untilOneIsLocked(owner)
            yield* owner`select pg_terminate_backend(pid) from pg_stat_activity
                          where datname = current_database() and wait_event_type = 'Lock'`
            yield* endsOf(calls)
            yield* tables.release
          }
          const lost = kind === "change" ? "OutcomeUnknown" : "Unavailable"
          assert.deepStrictEqual(yield* endsOf(calls), calls.map(() => lost))
          // A statement that is cut off before the server has it is not among those that arrived.
          assert.strictEqual(count(yield* lab.called, many), fault === "cutBefore" ? 0 : 1)
          for (const queue of queues) {
            assert.deepStrictEqual(yield* stored(queue), fault === "cutAfter" ? after : before)
          }
          yield* Effect.forEach(queues, (queue) => untilAnswered(call(lab.store, queue)), { concurrency: "unbounded" })
          for (const queue of queues) assert.deepStrictEqual(yield* stored(queue), after)
        }).pipe(Effect.scoped))
    }
  }
})

layer(looking, live)("a conflict that the server reports for a batch", (it) => {
  const changes = sorts.filter(({ kind }) => kind === "change")
  for (const { after, call, kind, many, operation } of changes) {
    it.effect(`${operation}: three times in a row is not noticed; again and again is Unavailable for all (rule 6.4)`, () =>
      Effect.gen(function*() {
        const owner = yield* PgClient.PgClient
        const lab = yield* makeLab()
        const queues = yield* makeFilled(5)
        for (const times of [1_000, 3]) {
          const { open } = yield* gate(lab, kind)
          const calls = yield* forkEach(queues.map((queue) => call(lab.store, queue)))
          const struck = yield* lab.proxy.strike(new RegExp(many), "holdRequest")
          yield* open
          yield* struck.reached
          const { attempts, heal } = yield* failing(owner, "40P01", times)
          const start = count(yield* lab.called, many)
          yield* struck.release
          const ends = yield* endsOf(calls)
          const tried = yield* attempts
          yield* heal
          assert.deepStrictEqual(ends, calls.map(() => times === 3 ? "success" : "Unavailable"))
          // All of them together, and not one by one in the end.
          assert.strictEqual(count(yield* lab.called, many) - start, 4)
          assert.isAtLeast(tried ?? 0, 4)
          for (const queue of queues) assert.deepStrictEqual(yield* stored(queue), times === 3 ? after : before)
        }
      }))
  }
})

layer(looking, live)("a queue that is locked elsewhere for too long", (it) => {
  it.effect("makes its own callers time out; those that travelled with them succeed, and later ones do not wait", () =>
    Effect.gen(function*() {
      const owner = yield* PgClient.PgClient
      const lab = yield* makeLab({ lockTimeout: "500 millis" })
      const [contended, a, b, c, d] = yield* makeQueues(5)
      assert.isDefined(contended)
      assert.isDefined(a)
      assert.isDefined(b)
      assert.isDefined(c)
      assert.isDefined(d)
      const to = (queue: Readable, name: string) => writeTo(lab.store, queue, name)
      const { open } = yield* gate(lab)
      const lock = yield* hold(owner, lockOf(owner, contended))
      const together = yield* forkEach([
        to(contended, "m1"),
        to(a, "m1"),
        to(contended, "m2"),
        to(b, "m1"),
        to(d, "m1")
      ])
      // Waits behind the batch, on the same lane.
      yield* open
      yield* untilOneIsLocked(owner)
      const behind = yield* forkEach(["m3", "m4", "m5", "m6"].map((name) => to(contended, name)))
      const [m1, inA, m2, inB, victim] = together
      const last = behind.at(-1)
      assert.isDefined(m1)
      assert.isDefined(inA)
      assert.isDefined(m2)
      assert.isDefined(inB)
      assert.isDefined(victim)
      assert.isDefined(last)
      // Its batch has left: it leaves again after the refusal, and only then the interruption is seen.
      const interruption = yield* Effect.forkChild(Fiber.interrupt(victim))
      assert.deepStrictEqual(yield* Effect.all([Fiber.join(inA), Fiber.join(inB)]), [accepted(1), accepted(1)])
      yield* Fiber.join(interruption)
      assert.deepStrictEqual(yield* stored(d), ["m1"])
      assert.isTrue(Exit.hasInterrupts(yield* Fiber.await(victim)))

      const later = yield* forkEach([to(contended, "m7"), to(contended, "m8"), to(contended, "m9")])
      const [m7, withdrawn, m9] = later
      assert.isDefined(m7)
      assert.isDefined(withdrawn)
      assert.isDefined(m9)
      assert.deepStrictEqual(yield* to(c, "m1"), accepted(1))
      assert.isUndefined(last.pollUnsafe())
      yield* Effect.timeout(Fiber.interrupt(withdrawn), limit)
      assert.isUndefined(last.pollUnsafe())
      assert.strictEqual(endOf(yield* Fiber.await(m1)), "Timeout")
      yield* lock.release
      const exits = yield* Effect.forEach([m2, ...behind, m7, m9], (call) => Fiber.await(call))
      // Some may have timed out before the lock was released. None has overtaken another.
      const timeouts = exits.filter((exit) => endOf(exit) === "Timeout").length
      assert.isBelow(timeouts, exits.length)
      assert.deepStrictEqual(
        exits.slice(timeouts).map((exit) => Exit.isSuccess(exit) ? exit.value : endOf(exit)),
        exits.slice(timeouts).map((_, i) => accepted(i + 1))
      )
      const names = ["m2", "m3", "m4", "m5", "m6", "m7", "m9"]
      assert.deepStrictEqual(yield* stored(contended), names.slice(timeouts))

      // Nobody waits for it any more: it travels with the others again.
      const start = (yield* lab.called).length
      const again = yield* gate(lab)
      const reunited = yield* forkEach([to(contended, "m10"), to(a, "m2")])
      yield* again.open
      yield* Fiber.joinAll(reunited)
      assert.deepStrictEqual((yield* lab.called).slice(start), ["write", "write_many"])
    }).pipe(Effect.scoped))

  it.effect("keeps the order of writes and acknowledgements that wait for it", () =>
    Effect.gen(function*() {
      const owner = yield* PgClient.PgClient
      const lab = yield* makeLab({ lockTimeout: "1 second" })
      const sound = yield* Sound
      const contended = yield* sound.createQueue({ quota: 1 })
      const [other] = yield* makeQueues(1)
      assert.isDefined(other)
      const { recipientId } = contended
      const { open } = yield* gate(lab)
      const lock = yield* hold(owner, lockOf(owner, contended))
      const acknowledge = (name: string) =>
        Effect.map(lab.store.acknowledge(recipientId, MessageId.named(name)), Option.isSome)
      const write = (name: string) => Effect.map(lab.store.write({ recipientId }, message(name)), ({ _tag }) => _tag)
      const calls = yield* forkEach<unknown, unknown, never>([
        write("m1"),
        writeTo(lab.store, other, "m1"),
        acknowledge("m1"),
        write("m2"),
        acknowledge("m2"),
        write("m3")
      ])
      yield* open
      const [, inOther] = calls
      assert.isDefined(inOther)
      yield* Fiber.await(inOther)
      yield* lock.release
      const exits = yield* Effect.forEach(calls, (call) => Fiber.await(call))
      const ends = exits.map((exit) => Exit.isSuccess(exit) ? exit.value : endOf(exit))
      // What waited first may have timed out.
      assert.deepStrictEqual(
        ends[0] === "Timeout" ? ends.slice(2) : [ends[0], ...ends.slice(2)],
        ends[0] === "Timeout" ? [false, "Accepted", true, "Accepted"] : ["Accepted", true, "Accepted", true, "Accepted"]
      )
      assert.deepStrictEqual(yield* stored(contended), ["m3"])
    }).pipe(Effect.scoped))
})

layer(looking, live)("transactions and whatever else is around a call", (it) => {
  const client = PgClient.layer({ url, maxConnections: 3 })
  const onClient = { ...oneLane, poolSize: 2 }
  const withClient = Layer.provideMerge(PgMsgStore.layerClient(onClient), client)

  it.effect("a call inside a transaction is part of it, and does not wait for a lane", () =>
    Effect.gen(function*() {
      const owner = yield* PgClient.PgClient
      const [contended, queue] = yield* makeQueues(2)
      assert.isDefined(contended)
      assert.isDefined(queue)
      const lock = yield* hold(owner, lockOf(owner, contended))
      yield* Effect.gen(function*() {
        const store = yield* MsgStore.MsgStore
        const sql = yield* PgClient.PgClient
        const stuck = yield* Effect.forkChild(writeTo(store, contended, "m1"))
        yield* untilOneIsLocked(owner)
        const { recipientId } = queue
        const seen = yield* Effect.flip(sql.withTransaction(Effect.gen(function*() {
          const outcomes = yield* Effect.all([
            store.write({ recipientId }, message("m1")),
            store.write({ senderId: queue.senderId }, message("m2")),
            Effect.map(store.peek(recipientId), Option.isSome),
            store.size(recipientId),
            Effect.map(store.acknowledge(recipientId, MessageId.named("m1")), Option.isSome),
            Effect.map(
              store.acknowledgeAndPeek(recipientId, MessageId.named("m2")),
              ({ acknowledged }) => Option.isSome(acknowledged)
            ),
            store.write({ recipientId }, message("m3"))
          ])
          // Nobody else sees it, which somebody would if it had left on a lane.
          assert.deepStrictEqual(yield* stored(queue), [])
          return yield* Effect.fail(outcomes)
        })))
        assert.deepStrictEqual(seen, [accepted(1), accepted(2), true, 2, true, true, accepted(3, true)])
        assert.isUndefined(stuck.pollUnsafe())
        yield* lock.release
        yield* Fiber.join(stuck)
      }).pipe(Effect.provide(withClient))
      assert.deepStrictEqual(yield* stored(queue), [])
    }).pipe(Effect.scoped))

  it.effect("a layer that is built inside a transaction keeps nothing of it", () =>
    Effect.gen(function*() {
      const owner = yield* PgClient.PgClient
      const [first, second] = yield* makeQueues(2)
      assert.isDefined(first)
      assert.isDefined(second)
      yield* Effect.gen(function*() {
        const sql = yield* PgClient.PgClient
        const scope = yield* Effect.scope
        const built = yield* Deferred.make<StoreService>()
        const outsider = yield* Effect.forkChild(Effect.flatMap(Deferred.await(built), (store) =>
          Effect.all([writeTo(store, first, "outside"), writeTo(store, second, "outside")], {
            concurrency: 2
          })))
        const error = yield* Effect.flip(sql.withTransaction(Effect.gen(function*() {
          const services = yield* Layer.buildWithScope(PgMsgStore.layerClient(onClient), scope)
          const store = Context.get(services, MsgStore.MsgStore)
          yield* writeTo(store, first, "inside")
          yield* writeTo(store, second, "inside")
          yield* Deferred.succeed(built, store)
          // Whoever is outside waits for the transaction to end.
          yield* untilOneIsLocked(owner)
          assert.deepStrictEqual(yield* stored(first), [])
          return yield* Effect.fail("rolled back")
        })))
        yield* Fiber.join(outsider)
        assert.strictEqual(error, "rolled back")
      }).pipe(Effect.provide(client))
      assert.deepStrictEqual(yield* stored(first), ["outside"])
      assert.deepStrictEqual(yield* stored(second), ["outside"])
    }).pipe(Effect.scoped))

  it.effect("a batch has a span of its own, which is linked to those of its callers and a child of none", () =>
    Effect.gen(function*() {
      const [ofLayer, ofCaller] = [recorder(), recorder()]
      const lab = yield* Effect.withTracer(Effect.withSpan(makeLab(), "building the layer"), ofLayer.tracer)
      const queues = yield* makeFilled(4)
      const { open } = yield* Effect.withSpan(gate(lab), "the one that woke the lane")
      const calls = yield* forkEach(queues.map(({ recipientId }, i) => {
        const call = lab.store.write({ recipientId }, message("m3"))
        // The last of them has none.
        return i === 3 ? call : Effect.withSpan(call, `caller ${i}`)
      })).pipe(
        Effect.withTracer(ofCaller.tracer),
        Effect.provideService(Metric.CurrentMetricAttributes, { tenant: "one of many" })
      )
      yield* open
      yield* Fiber.joinAll(calls)
      const spans = ofLayer.spans.filter(({ name }) => name === "restante.batch")
      const batch = spans.at(-1)
      assert.isDefined(batch)
      assert.deepStrictEqual(batch.links.map(({ span }) => span), ofCaller.spans)
      assert.deepStrictEqual(ofCaller.spans.map(({ name }) => name), ["caller 0", "caller 1", "caller 2"])
      assert.isTrue(spans.every(({ parent }) => Option.isNone(parent)))
      assert.deepStrictEqual(Object.fromEntries(batch.attributes), { operation: "write", calls: 4 })
      assert.strictEqual(batch.status._tag, "Ended")
      // Where nobody has a span, a batch has none either.
      const before = spans.length
      yield* lab.store.peek(queues[0]?.recipientId ?? assert.fail("no queue"))
      assert.strictEqual(ofLayer.spans.filter(({ name }) => name === "restante.batch").length, before)
      // Nor are its measurements anybody's.
      assert.deepStrictEqual((yield* metricsOf(lab, "write")).attributes, new Set(["operation"]))
    }))

  it.effect("batches, the time that calls waited, and how many were left are measured by operation", () =>
    Effect.gen(function*() {
      const lab = yield* makeLab()
      const queues = yield* makeFilled(7)
      for (const { call, kind, operation } of sorts) {
        const { open } = yield* gate(lab, kind)
        const calls = yield* forkEach(queues.map((queue) => call(lab.store, queue)))
        const from = performance.now()
        yield* settle
        const waited = performance.now() - from
        yield* open
        yield* Fiber.joinAll(calls)
        // Both sorts of acknowledgements are one operation.
        const { calls: sizes, depth, wait } = yield* metricsOf(lab, operation.replace("AndPeek", ""))
        assert.strictEqual(depth, 0)
        assert.strictEqual(sizes.max, 7)
        assert.isAtLeast(sizes.sum, 7)
        assert.strictEqual(wait.count, sizes.count)
        assert.isAtLeast(wait.max, waited)
      }
      // A gate of its own before each of three sorts of changes, and before two of reads.
      assert.deepStrictEqual((yield* metricsOf(lab, "write")).calls.sum, 7 + 3)
      assert.deepStrictEqual((yield* metricsOf(lab, "size")).calls.sum, 7 + 2)
      assert.deepStrictEqual((yield* metricsOf(lab, "acknowledge")).calls.sum, 7 + 7)
    }))
})

const recorder = () => {
  const spans: Array<Tracer.NativeSpan> = []
  const tracer = Tracer.make({
    span: (options) => {
      const span = new Tracer.NativeSpan(options)
      spans.push(span)
      return span
    }
  })
  return { spans, tracer }
}

layer(looking, live)("closing the layer", (it) => {
  it.effect("sends what waits and answers it; who calls then is told that nothing happened", () =>
    Effect.gen(function*() {
      const scope = yield* Scope.make()
      const outer = yield* Effect.scope
      const lab = yield* makeLab().pipe(Effect.provideService(Scope.Scope, scope))
      yield* Scope.addFinalizer(outer, Scope.close(scope, Exit.void))
      const queues = yield* makeFilled(5)
      const [first, withdrawn] = queues
      assert.isDefined(first)
      assert.isDefined(withdrawn)
      const { open } = yield* gate(lab)
      const calls = yield* forkEach([
        ...queues.map(({ recipientId }) => Effect.asVoid(lab.store.write({ recipientId }, message("m3")))),
        ...queues.map(({ recipientId }) => Effect.asVoid(lab.store.acknowledge(recipientId, MessageId.named("m1"))))
      ])
      const closing = yield* Effect.forkChild(Scope.close(scope, Exit.void))
      yield* settle
      assert.isUndefined(closing.pollUnsafe())
      for (const { call } of sorts) {
        const late = Effect.timeout(call(lab.store, first), limit)
        assert.strictEqual(endOf(yield* Effect.exit(late)), "Unavailable")
      }
      // Waiting is interruptible to the end.
      const fiber = calls[1]
      assert.isDefined(fiber)
      yield* Effect.timeout(Fiber.interrupt(fiber), limit)
      yield* open
      yield* Effect.timeout(Fiber.join(closing), limit)
      assert.strictEqual((yield* endsOf(calls)).filter((end) => end === "success").length, 9)
      for (const queue of queues) {
        assert.deepStrictEqual(yield* stored(queue), queue === withdrawn ? ["m2"] : ["m2", "m3"])
      }
    }).pipe(Effect.scoped))
})

/** A mebibyte that is like no other. */
const bodyOf = (queue: number, n: number) => new Uint8Array(1_048_576).fill(1 + 2 * queue + n)

layer(looking, live)("large bodies", (it) => {
  it.effect(
    "64 answers of 1 MiB and more each come in several statements, all of them right and in order",
    () =>
      Effect.gen(function*() {
        const lab = yield* makeLab({ maxBodyBytes: 1_048_576 })
        const queues = yield* makeQueues(64)
        const [m1, m2] = [MessageId.named("m1"), MessageId.named("m2")]
        const direct = yield* storeOf({ url, maxBodyBytes: 1_048_576 })
        // Half of them hold two messages.
        const twice = queues.slice(0, 32)
        yield* Effect.forEach(queues, ({ recipientId }, i) =>
          Effect.forEach(
            i < twice.length ? [m1, m2] : [m1],
            (id, n) => direct.write({ recipientId }, { id, body: bodyOf(i, n) })
          ), { concurrency: 16 })
        const isBody = (entry: Option.Option<Message.Entry>, queue: number, n: number) => {
          const { body, id } = Option.getOrThrow(entry)
          assert.strictEqual(id, n === 0 ? m1 : m2)
          assert.isTrue(Buffer.from(bodyOf(queue, n)).equals(body), `the body of message ${n} of queue ${queue}`)
        }
        const start = (yield* lab.called).length
        const reading = yield* gate(lab, "read")
        const peeks = yield* forkEach(queues.map(({ recipientId }) => lab.store.peek(recipientId)))
        yield* reading.open
        for (const [i, peek] of peeks.entries()) isBody(yield* Fiber.join(peek), i, 0)
        // Four in each.
        assert.strictEqual(count((yield* lab.called).slice(start), "peek_many"), 16)

        const changing = yield* gate(lab)
        const removals = yield* forkEach(twice.flatMap(({ recipientId }) => [
          lab.store.acknowledgeAndPeek(recipientId, m1),
          lab.store.acknowledgeAndPeek(recipientId, m2)
        ]))
        yield* changing.open
        for (const [i, removal] of removals.entries()) {
          const { acknowledged, next } = yield* Fiber.join(removal)
          const queue = Math.floor(i / 2)
          isBody(acknowledged, queue, i % 2)
          if (i % 2 === 0) {
            isBody(next, queue, 1)
          } else assert.isTrue(Option.isNone(next))
        }
        // Two bodies, then one, and so on: four or five in each.
        const statements = count((yield* lab.called).slice(start), "acknowledge_many")
        assert.isAtLeast(statements, Math.floor(96 / 5))
        assert.isAtMost(statements, 96 / 4)
      }),
    120_000
  )
})

layer(looking, live)("a call that finds no way to the server", (it) => {
  it.effect("because its lane is stuck for longer than acquireTimeout has not been made (rule 7.3)", () =>
    Effect.gen(function*() {
      const lab = yield* makeLab({ acquireTimeout: "300 millis" })
      for (const { after, call, kind, many, operation } of sorts) {
        const queues = yield* makeFilled(3)
        const { open } = yield* gate(lab, kind)
        const calls = yield* forkEach(queues.map((queue) => call(lab.store, queue)))
        assert.deepStrictEqual(yield* endsOf(calls), calls.map(() => "Unavailable"), operation)
        yield* open
        for (const queue of queues) assert.deepStrictEqual(yield* stored(queue), before)
        assert.notInclude(yield* lab.called, many)
        for (const queue of queues) {
          yield* call(lab.store, queue)
          assert.deepStrictEqual(yield* stored(queue), after)
        }
      }
    }))

  it.effect("because it is away is told at once, with all that wait, and the lane works when it is back (case 73)", () =>
    Effect.gen(function*() {
      const door = yield* Door.make(role.url)
      const store = yield* storeOf({ url: door.url, ...oneLane, poolSize: 1 })
      const queues = yield* makeQueues(600)
      yield* door.shut
      // Whoever finds that a connection is lost is told so; it is the next who needs another.
      yield* Effect.exit(Effect.all([store.size(RecipientId.randomUnsafe()), store.size(RecipientId.randomUnsafe())]))
      const before = yield* door.turnedAway
      const calls = yield* forkEach(
        queues.flatMap(({ recipientId }): ReadonlyArray<Effect.Effect<unknown, unknown>> => [
          store.write({ recipientId }, message("m1")),
          store.acknowledge(recipientId, MessageId.named("m1"))
        ])
      )
      assert.deepStrictEqual(new Set(yield* endsOf(calls)), new Set(["Unavailable"]))
      // All that wait at the end of an attempt, and not one batch after another: those would be six.
      assert.isAtMost((yield* door.turnedAway) - before, 4)
      yield* door.open
      const outcomes = yield* Effect.forEach(queues, ({ recipientId }) => store.write({ recipientId }, message("m2")), {
        concurrency: "unbounded"
      })
      assert.deepStrictEqual(new Set(outcomes.map(({ _tag }) => _tag)), new Set(["Accepted"]))
      assert.isTrue(outcomes.every((outcome) => outcome._tag === "Accepted" && outcome.sequence === 1n))
    }).pipe(Effect.scoped))

  it.effect("because somebody's attempt to connect has failed gets an attempt of its own, if it came meanwhile", () =>
    Effect.gen(function*() {
      const door = yield* Door.make(role.url)
      const store = yield* storeOf({ url: door.url, ...oneLane, poolSize: 1 })
      const [queue] = yield* makeQueues(1)
      assert.isDefined(queue)
      const { recipientId } = queue
      yield* door.shut
      yield* Effect.exit(Effect.all([store.size(recipientId), store.size(recipientId)]))
      yield* door.hold
      const early = yield* Effect.forkChild(store.write({ recipientId }, message("early")), { startImmediately: true })
      yield* until(Effect.map(door.waiting, (n) => n === 1))
      const late = yield* Effect.forkChild(store.write({ recipientId }, message("late")), { startImmediately: true })
      yield* door.open
      yield* door.turnAway
      assert.strictEqual(endOf(yield* Fiber.await(early)), "Unavailable")
      assert.deepStrictEqual(yield* Fiber.join(late), accepted(1))
      assert.deepStrictEqual(yield* stored(queue), ["late"])
    }).pipe(Effect.scoped))
})

layer(looking, live)("batches of several processes", (it) => {
  it.effect(
    "that lock the same queues, each in an order of its own, never deadlock, and lose and repeat nothing (rule 6.4)",
    () =>
      Effect.gen(function*() {
        const owner = yield* PgClient.PgClient
        const sound = yield* Sound
        const queues = yield* makeQueues(60)
        const deadlocks = Effect.map(
          owner<{ readonly n: number }>`
            select deadlocks::int4 as n from pg_stat_database where datname = current_database()`,
          (rows) => rows[0]?.n
        )
        assert.strictEqual(yield* deadlocks, 0)
        const reports = yield* Effect.forEach(Arr.range(1, 4), (i) =>
          Crowd.run({
            url: Redacted.value(role.url),
            name: `process ${i}`,
            queues: queues.map(({ recipientId }) => recipientId),
            rounds: 25
          }), { concurrency: "unbounded" })
        // A backend reports what it did at the latest when it ends.
        yield* until(Effect.map(
          owner`select from pg_stat_activity where usename = ${role.name} and application_name = 'restante'`,
          (rows) => rows.length === 0
        ))
        assert.strictEqual(yield* deadlocks, 0)
        let both = 0
        for (const { recipientId } of queues) {
          const written = reports.flatMap(({ written }) => written[recipientId] ?? [])
          const removed = reports.flatMap(({ removed }) => removed[recipientId] ?? [])
          const entries = yield* sound.peekBatch(recipientId, { limit: 1_000 })
          const left = entries.map(({ id }) => id)
          // Each exactly once, and removed in the order in which it was stored.
          assert.deepStrictEqual([...removed, ...left].toSorted(), written.toSorted())
          const first = entries[0]?.sequence
          if (first !== undefined) assert.strictEqual(Number(first), removed.length + 1)
          both += Number(removed.length > 0 && left.length > 0)
        }
        assert.isAbove(both, 0)
      }),
    180_000
  )
})

layer(looking, live)("a number of lanes that is none", (it) => {
  for (const lanes of [0, 1.5, -1, Number.NaN, Infinity]) {
    it.effect(`${lanes} is refused`, () =>
      Effect.gen(function*() {
        const error = yield* Effect.flip(storeOf({ url, lanes }))
        assert.strictEqual(error._tag, "InvalidArgument")
        assert.strictEqual(error._tag === "InvalidArgument" ? error.field : "", "lanes")
      }))
  }
})

PostgresDatabase.itIsSound(url)

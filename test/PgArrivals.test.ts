/**
 * What only PostgreSQL can show of wake-ups: what is notified, that nothing is missed while nobody listens, and what
 * waiting costs. The poll interval is an hour where a test means notifications: then only they can wake in time.
 */
import { PgClient } from "@effect/sql-pg"
import { assert, describe, it } from "@effect/vitest"
import { PgListener } from "@restante/pg-session"
import { PgMsgStore } from "@restante/postgres"
import { Context, Effect, Exit, Fiber, Layer, Queue, Redacted, References, Scope, Stream, Tracer } from "effect"
import { spawn } from "node:child_process"
import { createHash, randomUUID } from "node:crypto"
import { Message, MessageId, MsgStore, MsgStoreError, RecipientId } from "restante"
import { until } from "./fixtures/postgres/activity.ts"
import * as Proxy from "./fixtures/postgres/proxy.ts"
import * as PostgresDatabase from "./PostgresDatabase.ts"

const url = await PostgresDatabase.open()

type Store = MsgStore.MsgStore["Service"]

const never = { arrivalsPollInterval: "1 hour" } as const

/** A store of its own for the scope. */
const open = (options: Omit<PgMsgStore.PoolOptions, "url"> & { readonly url?: Redacted.Redacted } = {}) =>
  Effect.map(
    Layer.build(Layer.fresh(PgMsgStore.layer({ url, poolSize: 4, ...never, ...options }))),
    (context) => Context.get(context, MsgStore.MsgStore)
  )

const withOwner = <A, E>(use: (owner: PgClient.PgClient) => Effect.Effect<A, E, Scope.Scope>) =>
  Effect.scoped(Effect.flatMap(PgClient.PgClient, use)).pipe(Effect.provide(PostgresDatabase.ownerLayer(url)))

const message = (name: string): Message.NewMessage => ({ ...Message.fromText(name), id: MessageId.named(name) })

const hashOf = (recipientId: RecipientId) =>
  createHash("sha256").update(RecipientId.toBytes(recipientId)).digest("hex").slice(0, 16)

const channelOf = (owner: PgClient.PgClient) =>
  Effect.map(
    owner<{ readonly channel: string }>`select restante.arrivals_channel() as channel`,
    (rows) => rows[0]?.channel ?? assert.fail("no channel")
  )

/** Everything that is notified on the channel, told up to now: since the last time it was asked. */
const eavesdrop = Effect.fnUntraced(function*(listener: PgClient.PgClient, owner: PgClient.PgClient) {
  const channel = yield* channelOf(owner)
  const queue = yield* listener.listen(channel)
  return Effect.gen(function*() {
    // Notifications come in the order of commits, so what was sent before this one comes before it.
    const fence = randomUUID()
    yield* owner`select pg_notify(${channel}, ${fence})`
    const heard: Array<string> = []
    while (true) {
      const { payload } = yield* Queue.take(queue)
      if (payload === fence) return heard
      heard.push(payload)
    }
  })
})

/** The sessions of this database that listen for a store. */
const listening = (owner: PgClient.PgClient) =>
  owner<{ readonly pid: number }>`
    select pid from pg_stat_activity
     where datname = current_database() and application_name = 'restante arrivals' and query like 'LISTEN%'`

const untilListening = (owner: PgClient.PgClient) => until(Effect.map(listening(owner), (rows) => rows.length === 1))

/** Reads until nothing is left. */
const drain = Effect.fnUntraced(function*(store: Store, recipientId: RecipientId) {
  const read: Array<string> = []
  while (true) {
    const batch = yield* store.peekBatch(recipientId, { limit: 100 })
    const last = batch.at(-1)
    if (last === undefined) return read
    for (const entry of batch) read.push(yield* Message.bodyText(entry))
    yield* store.acknowledgeThrough(recipientId, { sequence: last.sequence })
  }
})

/** The next wake-up of a reader that waits; it waits when this returns, or will before it misses anything. */
const waitFor = Effect.fnUntraced(function*(store: Store, recipientId: RecipientId) {
  const next = yield* Stream.toPull(store.arrivals(recipientId))
  const fiber = yield* Effect.forkScoped(next)
  return { next, fiber }
})

/** Counts the statements of a store that call a function. */
const counting = (name: string) => {
  const counter = { calls: 0 }
  const tracer = Tracer.make({
    span: (options) => {
      const span = new Tracer.NativeSpan(options)
      const attribute = span.attribute.bind(span)
      span.attribute = (key, value) => {
        if (key === "db.query.text" && String(value).includes(`.${name}(`)) counter.calls++
        attribute(key, value)
      }
      return span
    }
  })
  return { counter, tracer }
}

describe("what is notified (case 85)", () => {
  it.live("is one hash for each queue that was empty, once for each statement, and never an id, whoever listens", () =>
    withOwner((owner) =>
      Effect.gen(function*() {
        const role = `listener_${randomUUID().replaceAll("-", "")}`
        yield* owner.unsafe(`create role ${role} login password 'secret'`)
        yield* Effect.addFinalizer(() => Effect.orDie(owner.unsafe(`drop role ${role}`)))
        const target = new URL(Redacted.value(url))
        target.username = role
        target.password = "secret"
        const stranger = Context.get(
          yield* Layer.build(PgClient.layer({ url: Redacted.make(target.href) })),
          PgClient.PgClient
        )
        const heard = yield* eavesdrop(stranger, owner)
        const store = yield* open()
        const { recipientId, senderId } = yield* store.createQueue({ quota: 1 })
        const hash = hashOf(recipientId)

        yield* store.write({ senderId }, message("m1"))
        assert.deepStrictEqual(yield* heard, [hash], "a message into an empty queue")
        yield* store.write({ senderId }, message("m1"))
        yield* store.write({ senderId }, message("m2"))
        yield* store.write({ senderId }, message("m3"))
        yield* store.setQueueStatus(recipientId, "suspended")
        yield* Effect.flip(store.write({ senderId }, message("m3")))
        yield* store.setQueueStatus(recipientId, "active")
        assert.deepStrictEqual(yield* heard, [], "a repeated write, the marker behind a message, and refused writes")
        yield* store.acknowledgeThrough(recipientId, { sequence: 2n })
        yield* store.setQuota(recipientId, 0)
        assert.deepStrictEqual(yield* heard, [], "an acknowledgement")
        yield* store.write({ recipientId }, message("m4"))
        assert.deepStrictEqual(yield* heard, [hash], "a marker into an empty queue")
        yield* store.deleteQueue(recipientId)
        assert.deepStrictEqual(yield* heard, [], "a deletion")

        const queues = yield* Effect.forEach([0, 128, 128, 128], (quota) => store.createQueue({ quota }))
        const [, , , full] = queues
        if (full === undefined) return assert.fail("no queue")
        yield* store.write({ senderId: full.senderId }, message("m1"))
        yield* heard
        const items = ["a", "b", "c"].flatMap((name) =>
          queues.map((queue) => ({ target: { senderId: queue.senderId }, message: message(name) }))
        )
        yield* store.writeMany(items)
        const [payload, ...more] = yield* heard
        assert.deepStrictEqual(more, [])
        const woken = queues.filter((queue) => queue !== full).map((queue) => hashOf(queue.recipientId))
        assert.sameMembers(payload?.split(" ") ?? [], woken, "a batch, whose last queue held something already")
        for (const queue of queues) {
          for (const id of [queue.recipientId, queue.senderId]) {
            const bytes = Buffer.from(id, "base64url")
            for (const form of [id, bytes.toString("hex"), bytes.toString("base64")]) {
              assert.notInclude(payload ?? "", form)
            }
          }
        }
        yield* store.writeMany(items)
        assert.deepStrictEqual(yield* heard, [], "a batch that stores nothing")
      })
    ))

  it.live("is nothing with notify off, and the store does not listen", () =>
    withOwner((owner) =>
      Effect.gen(function*() {
        const heard = yield* eavesdrop(owner, owner)
        const store = yield* open({ notify: false, arrivalsPollInterval: "20 millis" })
        const { recipientId } = yield* store.createQueue({ quota: 1 })
        const { fiber } = yield* waitFor(store, recipientId)
        yield* store.write({ recipientId }, message("m1"))
        yield* Fiber.join(fiber)
        yield* store.acknowledge(recipientId, MessageId.named("m1"))
        yield* store.writeMany([{ target: { recipientId }, message: message("m2") }])
        assert.deepStrictEqual(yield* heard, [])
        assert.deepStrictEqual(yield* listening(owner), [])
      })
    ))

  it.live("is a star for a batch into more than 470 empty queues, which wakes everybody", () =>
    withOwner((owner) =>
      Effect.gen(function*() {
        const heard = yield* eavesdrop(owner, owner)
        const store = yield* open()
        const queues = yield* Effect.forEach(Array.from({ length: 941 }), () => store.createQueue(), { concurrency: 4 })
        const batch = (from: number, to: number) =>
          store.writeMany(
            queues.slice(from, to).map(({ recipientId }) => ({ target: { recipientId }, message: message("m") }))
          )
        const readers = yield* Effect.forEach(queues.slice(470), ({ recipientId }) => waitFor(store, recipientId))
        yield* batch(0, 470)
        const [most] = yield* heard
        assert.strictEqual(most?.length, 470 * 17 - 1)
        yield* batch(470, 941)
        assert.deepStrictEqual(yield* heard, ["*"])
        yield* Effect.forEach(readers, ({ fiber }) => Fiber.join(fiber))
      })
    ))

  it.live("is one for an import, of the queues that were empty", () =>
    withOwner((owner) =>
      Effect.gen(function*() {
        const heard = yield* eavesdrop(owner, owner)
        const store = yield* open()
        const silent = yield* open({ notify: false })
        const queues = yield* Effect.forEach(Array.from({ length: 3 }), () => store.createQueue())
        const [full] = queues
        if (full === undefined) return assert.fail("no queue")
        yield* silent.write({ recipientId: full.recipientId }, message("m0"))
        const text = (name: string) =>
          queues.map(({ recipientId }) => `v3 ${recipientId} ${MessageId.named(name)} 1 flags=F TTE=\n`).join("")
        const load = (store: Store, name: string) =>
          store.importLog(Stream.make(new TextEncoder().encode(text(name))), { format: "simplex-v3", mode: "strict" })
        yield* load(store, "m1")
        const [payload, ...more] = yield* heard
        assert.deepStrictEqual(more, [])
        assert.sameMembers(
          payload?.split(" ") ?? [],
          queues.filter((queue) => queue !== full).map((queue) => hashOf(queue.recipientId))
        )
        yield* load(store, "m2")
        yield* Effect.forEach(queues, ({ recipientId }) => drain(store, recipientId))
        yield* load(silent, "m3")
        assert.deepStrictEqual(yield* heard, [])
      })
    ))

  it.live("is delivered with the caller's transaction, and not if that is rolled back", () =>
    withOwner((owner) =>
      Effect.gen(function*() {
        const heard = yield* eavesdrop(owner, owner)
        const context = yield* Layer.build(
          Layer.provideMerge(PgMsgStore.layerClient(never), PgClient.layer({ url, maxConnections: 1 }))
        )
        const store = Context.get(context, MsgStore.MsgStore)
        const sql = Context.get(context, PgClient.PgClient)
        const { recipientId } = yield* store.createQueue()
        const write = store.write({ recipientId }, message("m1"))
        yield* Effect.flip(sql.withTransaction(Effect.andThen(write, Effect.fail("no"))))
        assert.deepStrictEqual(yield* heard, [])
        yield* sql.withTransaction(Effect.gen(function*() {
          yield* write
          assert.deepStrictEqual(yield* heard, [])
        }))
        assert.deepStrictEqual(yield* heard, [hashOf(recipientId)])
      })
    ))
})

describe("a reader that waits", () => {
  it.live("is woken by notifications of another layer, round after round, however often its fiber yields (case 66)", () =>
    Effect.scoped(Effect.gen(function*() {
      for (const budget of [3, 7, 2_048]) {
        const reading = yield* Effect.provideService(open(), References.MaxOpsBeforeYield, budget)
        const writing = yield* open()
        const { recipientId, senderId } = yield* writing.createQueue()
        const read: Array<string> = []
        const reader = yield* Stream.runForEach(
          reading.arrivals(recipientId),
          () => Effect.map(drain(reading, recipientId), (all) => read.push(...all))
        ).pipe(Effect.provideService(References.MaxOpsBeforeYield, budget), Effect.forkScoped)
        const sent = Array.from({ length: 40 }, (_, i) => `${budget} ${i}`)
        for (const [i, name] of sent.entries()) {
          yield* writing.write({ senderId }, message(name))
          if (i % 3 !== 0) yield* until(Effect.sync(() => read.length > i))
        }
        yield* until(Effect.sync(() => read.length === sent.length))
        assert.deepStrictEqual(read, sent)
        yield* Fiber.interrupt(reader)
      }
    })))

  it.live("looks in vain when another queue with its hash is notified, and goes on waiting", () =>
    withOwner((owner) =>
      Effect.gen(function*() {
        const { counter, tracer } = counting("get_queue")
        const store = yield* Effect.withTracer(open(), tracer)
        const { recipientId } = yield* store.createQueue()
        const { fiber } = yield* Effect.withTracer(waitFor(store, recipientId), tracer)
        yield* untilListening(owner)
        const channel = yield* channelOf(owner)
        for (const payload of [hashOf(recipientId), `0123456789abcdef ${hashOf(recipientId)}`, "*"]) {
          const before = counter.calls
          yield* owner`select pg_notify(${channel}, ${payload})`
          yield* until(Effect.sync(() => counter.calls > before))
        }
        for (const payload of ["", "nonsense", "x".repeat(7_999)]) {
          yield* owner`select pg_notify(${channel}, ${payload})`
        }
        assert.isUndefined(fiber.pollUnsafe())
        yield* store.write({ recipientId }, message("m1"))
        yield* Fiber.join(fiber)
      })
    ))

  it.live(
    "misses nothing although the listening backend is terminated again and again",
    () =>
      withOwner((owner) =>
        Effect.gen(function*() {
          const store = yield* open()
          const { recipientId, senderId } = yield* store.createQueue({ quota: 10_000 })
          const read: Array<string> = []
          yield* Stream.runForEach(
            store.arrivals(recipientId),
            () => Effect.map(drain(store, recipientId), (all) => read.push(...all))
          ).pipe(Effect.forkScoped)
          yield* untilListening(owner)
          let killed = 0
          const kill = Effect.map(
            owner`select pg_terminate_backend(pid) from pg_stat_activity
                 where datname = current_database() and application_name = 'restante arrivals'`,
            (rows) => killed += rows.length
          )
          const sent = Array.from({ length: 100 }, (_, i) => `m${i}`)
          for (const [i, name] of sent.entries()) {
            // Also while it is not connected yet, and at the very moment of the write.
            if (i % 10 === 0) yield* Effect.all([kill, store.write({ senderId }, message(name))], { concurrency: 2 })
            else yield* store.write({ senderId }, message(name))
            if (i % 5 === 4) yield* until(Effect.sync(() => read.length > i))
          }
          yield* until(Effect.sync(() => read.length === sent.length))
          assert.deepStrictEqual(read, sent)
          assert.isAtLeast(killed, 5)
        })
      ),
    120_000
  )

  it.live("sits out an outage of the server", () =>
    Effect.scoped(Effect.gen(function*() {
      const proxy = yield* Proxy.make(url)
      const direct = yield* open()
      const { counter, tracer } = counting("arrivals_of")
      // The proxy would let notifications through.
      const options = { url: proxy.url, notify: false, arrivalsPollInterval: "200 millis" } as const
      const store = yield* Effect.withTracer(open(options), tracer)
      const { recipientId } = yield* direct.createQueue()
      const { fiber } = yield* waitFor(store, recipientId)
      yield* until(Effect.sync(() => counter.calls > 1))
      yield* proxy.cutOnRequest
      yield* until(Effect.map(Effect.exit(store.size(recipientId)), Exit.isFailure))
      yield* direct.write({ recipientId }, message("m1"))
      assert.isUndefined(fiber.pollUnsafe())
      yield* proxy.heal
      yield* until(Effect.sync(() => fiber.pollUnsafe() !== undefined))
      yield* Fiber.join(fiber)
    })))

  it.live("hears through the listener of the context, if the client is the caller's own", () =>
    withOwner((owner) =>
      Effect.gen(function*() {
        const context = yield* Layer.build(
          PgMsgStore.layerClient(never).pipe(
            Layer.provide([
              PgClient.layer({ url }),
              PgListener.layer({ connection: { url, applicationName: "restante arrivals" } })
            ])
          )
        )
        const store = Context.get(context, MsgStore.MsgStore)
        const writing = yield* open()
        const { recipientId } = yield* store.createQueue()
        const { fiber } = yield* waitFor(store, recipientId)
        yield* untilListening(owner)
        yield* writing.write({ recipientId }, message("m1"))
        yield* Fiber.join(fiber)
      })
    ))

  it.live("hears of what another layer wrote without notifying by looking now and then, and sooner without a listener", () =>
    Effect.scoped(Effect.gen(function*() {
      const silent = yield* open({ notify: false })
      const listens = yield* open({ arrivalsPollInterval: "500 millis" })
      // A tenth of it is the first look.
      const alone = yield* open({ notify: false, arrivalsPollInterval: "5 seconds" })
      for (const store of [listens, alone]) {
        const { recipientId } = yield* silent.createQueue()
        const { fiber } = yield* waitFor(store, recipientId)
        yield* silent.write({ recipientId }, message("m1"))
        yield* Fiber.join(fiber)
      }
    })))
})

describe("what waiting costs", () => {
  it.live(
    "for 1,000 readers of one process is one connection, and one statement for each interval",
    () =>
      withOwner((owner) =>
        Effect.gen(function*() {
          const { counter, tracer } = counting("arrivals_of")
          const interval = 500
          const store = yield* Effect.withTracer(open({ arrivalsPollInterval: interval }), tracer)
          const queues = yield* Effect.forEach(Array.from({ length: 1_000 }), () => store.createQueue(), {
            concurrency: 4
          })
          const readers = yield* Effect.forEach(queues, ({ recipientId }) => waitFor(store, recipientId))
          yield* untilListening(owner)
          // From a look on, so that those that belong to the start are over.
          const first = counter.calls
          yield* until(Effect.sync(() => counter.calls > first + 1))
          const start = { calls: counter.calls, at: performance.now() }
          yield* until(Effect.sync(() => counter.calls >= start.calls + 4))
          const looks = counter.calls - start.calls
          const intervals = (performance.now() - start.at) / interval
          // They come up to a fifth early, so that processes do not look together. A busy machine makes them fewer.
          assert.isAtMost(looks, Math.floor(intervals / 0.8) + 1)
          const [sessions] = yield* owner<{ readonly all: number; readonly listening: number }>`
          select count(*)::int4 as all, count(*) filter (where application_name = 'restante arrivals')::int4 as listening
            from pg_stat_activity
           where datname = current_database() and application_name like 'restante%'`
          if (sessions === undefined) return assert.fail("no answer")
          assert.strictEqual(sessions.listening, 1)
          assert.isAtMost(sessions.all, 1 + 4)
          yield* store.writeMany(queues.map(({ recipientId }) => ({ target: { recipientId }, message: message("m") })))
          yield* Effect.forEach(readers, ({ fiber }) => Fiber.join(fiber))
        })
      ),
    120_000
  )

  it.live("ends with the readers: nobody is looked after when none is left, and no connection outlives the layer", () =>
    withOwner((owner) =>
      Effect.gen(function*() {
        const { counter, tracer } = counting("arrivals_of")
        const clock = counting("arrivals_of")
        yield* Effect.scoped(Effect.gen(function*() {
          const store = yield* Effect.withTracer(open({ arrivalsPollInterval: "20 millis" }), tracer)
          const other = yield* Effect.withTracer(
            open({ notify: false, arrivalsPollInterval: "20 millis" }),
            clock.tracer
          )
          const { recipientId } = yield* store.createQueue()
          yield* waitFor(other, recipientId)
          yield* Effect.scoped(Effect.gen(function*() {
            yield* waitFor(store, recipientId)
            yield* until(Effect.sync(() => counter.calls > 2))
          }))
          // The one that was under way, perhaps.
          const left = counter.calls + 1
          const ticks = clock.counter.calls
          yield* until(Effect.sync(() => clock.counter.calls > ticks + 20))
          assert.isAtMost(counter.calls, left)
        }))
        yield* until(Effect.map(
          owner`select from pg_stat_activity where datname = current_database() and application_name like 'restante%'`,
          (rows) => rows.length === 0
        ))
      })
    ))

  it.live("does not grow with the number of queues, although the session planned when there were few", () =>
    Effect.gen(function*() {
      const sql = yield* PgClient.PgClient
      const store = yield* MsgStore.MsgStore
      const { recipientId } = yield* store.createQueue()
      const literal = `'\\x${Buffer.from(RecipientId.toBytes(recipientId)).toString("hex")}'`
      const call = `select * from restante.arrivals_of(array[${literal}, '\\x00']::bytea[], array[0, 0]::bigint[])`
      for (let i = 0; i < 10; i++) yield* sql.unsafe(call)
      yield* store.write({ recipientId }, message("m1"))
      yield* sql`
        insert into restante.queues (recipient_id, sender_id, status, created_at, updated_at)
        select sha256(int4send(i)), sha256(int4send(-i)), 'active', 0, 0 from generate_series(1, 20000) i`
      yield* sql`
        insert into restante.messages (queue_key, sequence, ts, kind, notify, message_id, body)
        select -i, 1, 0, 'm', false, 'x', '' from generate_series(1, 20000) i`
      assert.deepStrictEqual(yield* sql.unsafe(call), [
        { ordinal: 1, outcome: "arrived" },
        { ordinal: 2, outcome: "not_found" }
      ])
      const plan = yield* sql.unsafe<{ readonly "QUERY PLAN": string }>(
        `explain (analyze, buffers, costs off, timing off, summary off) ${call}`
      )
      const line = plan.map((row) => row["QUERY PLAN"]).find((text) => text.includes("Buffers:")) ?? ""
      const touched = [...line.matchAll(/(?:hit|read)=(\d+)/g)].reduce((sum, match) => sum + Number(match[1]), 0)
      assert.isAbove(touched, 0)
      assert.isAtMost(touched, 30)
      yield* sql`delete from restante.messages where queue_key < 0`
      yield* sql`delete from restante.queues where sender_id in (select sha256(int4send(-i)) from generate_series(1, 20000) i)`
    }).pipe(
      Effect.provide(Layer.provideMerge(PgMsgStore.layerClient(), PgClient.layer({ url, maxConnections: 1 })))
    ))
})

describe("two processes", () => {
  it.live("a reader in another process receives each message as it comes, and the process ends by itself", () =>
    withOwner((owner) =>
      Effect.gen(function*() {
        const store = yield* open()
        const { recipientId, senderId } = yield* store.createQueue()
        const names = Array.from({ length: 20 }, (_, i) => `m${i}`)
        const program = `
          import { PgMsgStore } from "@restante/postgres"
          import { Effect, Redacted, Stream } from "effect"
          import { Message, MsgStore } from "restante"
          const layer = PgMsgStore.layer({
            url: Redacted.make(process.env.STORE_URL), poolSize: 1, arrivalsPollInterval: "1 hour"
          })
          await Effect.runPromise(Effect.flatMap(MsgStore.MsgStore, (store) =>
            Stream.runForEach(Stream.take(store.receive(process.env.RECIPIENT), ${names.length}), (received) =>
              Effect.scoped(Effect.flatMap(Effect.flatMap(received, Message.bodyText), (text) =>
                Effect.sync(() => console.log(text)))))
          ).pipe(Effect.provide(layer)))`
        const ended = yield* Effect.forkScoped(
          Effect.callback<string>((resume) => {
            const child = spawn(process.execPath, ["--input-type=module", "--eval", program], {
              cwd: import.meta.dirname,
              env: { ...process.env, STORE_URL: Redacted.value(url), RECIPIENT: recipientId }
            })
            let output = ""
            child.stdout.on("data", (chunk) => output += chunk)
            child.stderr.on("data", (chunk) => output += chunk)
            child.on("close", (code) => resume(Effect.succeed(`${output}${code}`)))
            return Effect.sync(() => child.kill())
          }),
          { startImmediately: true }
        )
        yield* untilListening(owner)
        for (const name of names) {
          yield* store.write({ senderId }, message(name))
          yield* until(Effect.map(store.size(recipientId), (size) => size === 0))
        }
        assert.strictEqual(yield* Fiber.join(ended), [...names, "0"].join("\n"))
      })
    ))
})

describe("receive", () => {
  it.live("tries an acknowledgement whose connection was cut once more, and hands over nothing twice", () =>
    Effect.scoped(Effect.gen(function*() {
      const proxy = yield* Proxy.make(url)
      const direct = yield* open()
      const store = yield* open({ url: proxy.url, notify: false, poolSize: 1 })
      const { recipientId } = yield* direct.createQueue()
      const names = ["m1", "m2", "m3"]
      yield* direct.writeMany(names.map((name) => ({ target: { recipientId }, message: message(name) })))
      const seen: Array<string> = []
      yield* Stream.runForEach(
        Stream.take(store.receive(recipientId), 3),
        (received) =>
          Effect.scoped(Effect.gen(function*() {
            const text = yield* Message.bodyText(yield* received)
            seen.push(text)
            if (text === "m2") yield* proxy.cutOnRequest
          })).pipe(Effect.andThen(proxy.heal))
      )
      assert.deepStrictEqual(seen, names)
      assert.strictEqual(yield* direct.size(recipientId), 0)
    })))

  it.live("fails with the error of the acknowledgement if that fails twice, and the message stays", () =>
    Effect.scoped(Effect.gen(function*() {
      const proxy = yield* Proxy.make(url)
      const direct = yield* open()
      const store = yield* open({ url: proxy.url, notify: false, poolSize: 1, acquireTimeout: "1 second" })
      const { recipientId } = yield* direct.createQueue()
      yield* direct.write({ recipientId }, message("m1"))
      const error = yield* Effect.flip(
        Stream.runForEach(
          store.receive(recipientId),
          (received) => Effect.scoped(Effect.andThen(received, proxy.cutOnRequest))
        )
      )
      assert.instanceOf(error, MsgStoreError.MsgStoreError)
      assert.strictEqual(error.operation, "acknowledge")
      assert.strictEqual(yield* direct.size(recipientId), 1)
    })))
})

describe("a layer that is closed", () => {
  it.live("leaves no reader waiting whom nobody would wake", () =>
    withOwner((owner) =>
      Effect.gen(function*() {
        const scope = yield* Scope.make()
        const layer = Layer.provide(PgMsgStore.layerClient(never), Layer.succeed(PgClient.PgClient, owner))
        const context = yield* Layer.buildWithScope(Layer.fresh(layer), scope)
        const store = Context.get(context, MsgStore.MsgStore)
        const { recipientId } = yield* store.createQueue()
        const reader = yield* Effect.forkScoped(Stream.runDrain(store.arrivals(recipientId)), {
          startImmediately: true
        })
        yield* store.size(recipientId)
        yield* Scope.close(scope, Exit.void)
        const error = yield* Effect.flip(Effect.timeout(Fiber.join(reader), "20 seconds"))
        assert.strictEqual(error._tag === "MsgStoreError" ? error.reason._tag : error._tag, "Unavailable")
      })
    ))
})

describe("options", () => {
  it.live("a poll interval that is none is InvalidArgument", () =>
    Effect.gen(function*() {
      for (const arrivalsPollInterval of ["0 millis", "Infinity", -5] as const) {
        const error = yield* Effect.flip(Effect.scoped(open({ arrivalsPollInterval })))
        assert.strictEqual(error._tag === "InvalidArgument" ? error.field : error._tag, "arrivalsPollInterval")
      }
    }))

  it.live("options of the transport that are unusable are InvalidArgument, which does not repeat the URL", () =>
    Effect.gen(function*() {
      const target = new URL(Redacted.value(url))
      target.searchParams.set("sslmode", "prefer")
      for (
        const options of [
          { url: Redacted.make(target.href) },
          { transport: { tls: { mode: "verify-full", cert: "none" } } },
          { transport: { port: 0 } }
        ] as const
      ) {
        const error = yield* Effect.flip(Effect.scoped(open(options)))
        assert.strictEqual(error._tag === "InvalidArgument" ? error.field : error._tag, "connection")
        assert.notInclude(error.message, target.password)
      }
    }))
})

PostgresDatabase.itIsSound(url)

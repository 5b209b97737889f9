/**
 * What needs a server of this file's own. Killed with SIGKILL under load, again and again, it loses nothing that was accepted,
 * stores nothing twice, and clients go on when it is back.
 */
import { PgClient } from "@effect/sql-pg"
import { assert, describe, it } from "@effect/vitest"
import { EmbeddedPostgres } from "@restante/embedded-postgres"
import { PgMigrations, PgMsgStore } from "@restante/postgres"
import { Effect, Fiber, Layer, Option, Redacted, Result, Schedule } from "effect"
import type { Queue } from "restante"
import { Message, MessageId, MsgStore, MsgStoreError, RecipientId, SenderId } from "restante"
import { ownerLayer, unsound } from "./PostgresDatabase.ts"

type StoreService = MsgStore.MsgStore["Service"]

/** What every client does: repeat what may be repeated, until the server is back. */
const untilAnswered = <A, E, R>(call: Effect.Effect<A, E, R>, onLost: () => void = () => {}) =>
  Effect.retry(
    Effect.tapError(call, (error) =>
      Effect.sync(() => {
        if (error instanceof MsgStoreError.MsgStoreError && error.reason._tag === "OutcomeUnknown") onLost()
      })),
    {
      while: (error) => error instanceof MsgStoreError.MsgStoreError && error.isRetryable,
      schedule: Schedule.spaced("20 millis")
    }
  )

const services = (options: PgMsgStore.Options = {}) =>
  Layer.unwrap(
    Effect.gen(function*() {
      const { url } = yield* EmbeddedPostgres.EmbeddedPostgres
      yield* Effect.provide(PgMigrations.migrate(), PgClient.layer({ url }))
      return Layer.merge(PgMsgStore.layer({ url, poolSize: 16, ...options }), ownerLayer(url))
    })
  ).pipe(Layer.provideMerge(EmbeddedPostgres.layer()))

/** How often the whole server is killed, and how often one of its backends, after which it restarts by itself; in either way. */
const serverKills = 25
const backendKills = 5

/** The load: 32 fibers. */
const fibers = { writers: 14, batchWriters: 6, careful: 6, eager: 2, expirers: 2, makers: 2 }

/** What the fibers tell each other, and the killer. Plain fields: everybody runs on one thread. */
class Load {
  /** Calls answered since the server is up. */
  answered = 0
  /** Calls whose answer was lost. */
  lost = 0
  over = false
  /** Writers that are not done. */
  writing = fibers.writers + fibers.batchWriters
  /** Messages whose writer knows that they are stored. */
  readonly confirmed = new Set<string>()
  /** Messages of which some answer was lost. */
  readonly doubtful = new Set<string>()
  /** What was written to each queue, by writer. */
  readonly written = new Map<RecipientId, Map<string, Array<string>>>()

  call<A, E, R>(call: Effect.Effect<A, E, R>, texts: ReadonlyArray<string> = []) {
    return Effect.tap(
      untilAnswered(call, () => {
        this.lost++
        for (const text of texts) this.doubtful.add(text)
      }),
      () =>
        Effect.sync(() => {
          this.answered++
        })
    )
  }

  confirm(queue: Queue.QueueRecord, writer: string, text: string) {
    this.confirmed.add(text)
    const writers = this.written.get(queue.recipientId) ?? new Map<string, Array<string>>()
    const texts = writers.get(writer) ?? []
    this.written.set(queue.recipientId, writers.set(writer, texts))
    texts.push(text)
  }

  /** All that writers know to be stored in a queue, each one's in the order of their answers. */
  textsOf(queue: Queue.QueueRecord) {
    return this.written.get(queue.recipientId) ?? new Map<string, Array<string>>()
  }
}

const messageOf = (text: string, timestamp: number): Message.NewMessage => ({
  ...Message.fromText(text, { timestamp }),
  id: MessageId.named(text)
})

/** In queues that are read eagerly, messages with an even number are old, and expiry may take them. */
const isOld = (text: string): boolean => Number(text.split(" ").at(-1)) % 2 === 0
const cutOff = 1_000

/** Writes one message after another. */
const writer = Effect.fnUntraced(function*(
  store: StoreService,
  load: Load,
  queue: Queue.QueueRecord,
  name: string,
  expires: boolean
) {
  for (let i = 0; !load.over; i++) {
    const text = `${name} ${i}`
    const outcome = yield* load.call(
      store.write({ senderId: queue.senderId }, messageOf(text, expires && isOld(text) ? 1 : cutOff)),
      [text]
    )
    assert.include(["Accepted", "AlreadyStored"], outcome._tag)
    load.confirm(queue, name, text)
  }
  load.writing--
})

/** Writes three messages to each of two queues at once: all of them are new, or none is. */
const batchWriter = Effect.fnUntraced(function*(
  store: StoreService,
  load: Load,
  queues: ReadonlyArray<Queue.QueueRecord>,
  name: string
) {
  for (let i = 0; !load.over; i++) {
    const items = queues.flatMap((queue, q) => [0, 1, 2].map((n) => ({ queue, text: `${name} ${q} ${3 * i + n}` })))
    const results = yield* load.call(
      store.writeMany(items.map(({ queue, text }) => ({
        target: { senderId: queue.senderId },
        message: messageOf(text, cutOff)
      }))),
      items.map(({ text }) => text)
    )
    const outcomes = new Set(results.map((result) => Result.getOrThrow(result)._tag))
    assert.include([["Accepted"], ["AlreadyStored"]].map(String), String([...outcomes]))
    for (const { queue, text } of items) load.confirm(queue, `${name} ${queue.recipientId}`, text)
  }
  load.writing--
})

/** Removes the head in one of the three ways; says whether the server answered that this call had removed it. */
const removals: ReadonlyArray<
  (store: StoreService, recipientId: RecipientId, entry: Message.Entry) => Effect.Effect<boolean, unknown>
> = [
  (store, recipientId, { id }) => Effect.map(store.acknowledge(recipientId, id), Option.isSome),
  (store, recipientId, { id }) =>
    Effect.map(store.acknowledgeAndPeek(recipientId, id), ({ acknowledged }) => Option.isSome(acknowledged)),
  (store, recipientId, { sequence }) =>
    Effect.map(store.acknowledgeThrough(recipientId, { sequence }), (removed) => removed === 1)
]

/**
 * Reads and acknowledges, and only what its writer knows to be stored: then no retry can come after the message has gone, and
 * each is there exactly once, without a gap in the sequences.
 */
const carefulReader = Effect.fnUntraced(function*(
  store: StoreService,
  load: Load,
  { recipientId }: Queue.QueueRecord,
  remove: (typeof removals)[number] | undefined
) {
  assert.isDefined(remove)
  const read: Array<string> = []
  while (true) {
    const done = load.writing === 0
    const head = yield* load.call(store.peek(recipientId))
    if (Option.isNone(head)) {
      if (done) return read
      yield* Effect.sleep("2 millis")
      continue
    }
    const text = yield* Message.bodyText(head.value)
    if (!load.confirmed.has(text)) {
      yield* Effect.sleep("2 millis")
      continue
    }
    assert.strictEqual(head.value.sequence, BigInt(read.length + 1))
    read.push(text)
    let lost = false
    const removed = yield* load.call(untilAnswered(remove(store, recipientId, head.value), () => {
      lost = true
      load.lost++
    }))
    assert.isTrue(removed || lost, "a removal that found nothing, although no answer was lost")
  }
})

/**
 * Reads whatever is there while expiry takes old messages away. A write whose answer was lost may be repeated after its message
 * has gone, and is then a new one (spec 4.4): a reader discards it by its id.
 */
const eagerReader = Effect.fnUntraced(function*(store: StoreService, load: Load, { recipientId }: Queue.QueueRecord) {
  const read = new Set<string>()
  let last = 0n
  while (true) {
    const done = load.writing === 0
    const head = yield* load.call(store.peek(recipientId))
    if (Option.isNone(head)) {
      if (done) return [...read]
      yield* Effect.sleep("2 millis")
      continue
    }
    const { sequence } = head.value
    assert.isTrue(sequence > last, "read again after it was acknowledged")
    last = sequence
    const text = yield* Message.bodyText(head.value)
    if (read.has(text)) assert.isTrue(load.doubtful.has(text), "stored twice, although no answer was lost")
    read.add(text)
    yield* load.call(store.acknowledgeThrough(recipientId, { sequence }))
  }
})

/** Expires the messages of one queue, and now and then those of all. */
const expirer = Effect.fnUntraced(function*(store: StoreService, load: Load, { recipientId }: Queue.QueueRecord) {
  let expired = 0
  while (load.writing > 0) {
    expired += yield* load.call(store.deleteExpired(recipientId, cutOff))
    yield* Effect.sleep("5 millis")
    expired += (yield* load.call(store.expireAll({ before: cutOff, batchSize: 2 }))).expired
    yield* Effect.sleep("5 millis")
  }
  return expired
})

/** Makes queues, lets them overflow, and deletes them. */
const maker = Effect.fnUntraced(function*(store: StoreService, load: Load, name: string) {
  let made = 0
  while (!load.over) {
    const recipientId = RecipientId.named(`${name} r ${made}`)
    const senderId = SenderId.named(`${name} s ${made}`)
    const created = yield* load.call(store.createQueue({ recipientId, senderId, quota: 2 }))
    assert.strictEqual(created.size, 0)
    for (let i = 0; i < 3; i++) yield* load.call(store.write({ senderId }, messageOf(`${name} ${i}`, cutOff)))
    const { latched, size } = yield* load.call(store.getQueue({ recipientId }))
    assert.deepStrictEqual({ latched, size }, { latched: true, size: 3 })
    let lost = false
    const deleted = yield* load.call(Effect.catchTag(
      untilAnswered(store.deleteQueue(recipientId), () => {
        lost = true
        load.lost++
      }),
      "QueueNotFound",
      () => Effect.succeed(lost ? 3 : -1)
    ))
    assert.strictEqual(deleted, 3)
    made++
  }
  return made
})

/** Kills the server, or one backend, after some calls have been answered since the last time; then looks at what is stored. */
const killer = Effect.fnUntraced(function*(load: Load) {
  const server = yield* EmbeddedPostgres.EmbeddedPostgres
  const owner = yield* PgClient.PgClient
  const whileDown = { schedule: Schedule.spaced("5 millis") }
  const kills = { server: 0, backend: 0 }
  while (kills.server < serverKills) {
    // Sometimes at once, while clients are still connecting.
    const enough = [0, 60, 150, 250][kills.server % 4] ?? 0
    yield* Effect.repeat(Effect.sync(() => load.answered >= enough), {
      until: (yes) => yes,
      schedule: Schedule.spaced("1 millis")
    })
    if (kills.server > (kills.backend + 1) * 4 && kills.backend < backendKills) {
      const [backend] = yield* Effect.retry(
        owner<{ readonly pid: number }>`
          select pid from pg_stat_activity where application_name = 'restante' order by state = 'active' desc limit 1`,
        whileDown
      )
      if (backend === undefined) continue
      process.kill(backend.pid, "SIGKILL")
      kills.backend++
    } else {
      yield* server.kill
      yield* server.restart
      kills.server++
    }
    load.answered = 0
    assert.deepStrictEqual(yield* Effect.retry(unsound(owner), whileDown), [])
  }
  load.over = true
  return kills
})

const queueOf = (all: ReadonlyArray<Queue.QueueRecord>, i: number) => all[i % all.length] ?? assert.fail("no queue")

const range = (n: number): ReadonlyArray<number> => Array.from({ length: n }, (_, i) => i)

const ways = [["travel together", true], ["go by themselves", false]] as const

describe.each(ways)("a server of its own, whose clients' calls %s", (_, coalesce) => {
  it.live(
    "that is killed 25 times under load from 32 fibers loses no accepted message and stores none twice",
    () =>
      Effect.gen(function*() {
        const store = yield* MsgStore.MsgStore
        const owner = yield* PgClient.PgClient
        const make = store.createQueue({ quota: 1_000_000 })
        const careful = yield* Effect.forEach(range(fibers.careful), () => make)
        const eager = yield* Effect.forEach(range(fibers.eager), () => make)
        const queues = [...careful, ...eager]
        const load = new Load()

        const killing = yield* Effect.forkChild(killer(load))
        const [reads, eagerReads, expired, made] = yield* Effect.all([
          Effect.forEach(careful, (queue, i) => carefulReader(store, load, queue, removals[i % removals.length]), {
            concurrency: "unbounded"
          }),
          Effect.forEach(eager, (queue) => eagerReader(store, load, queue), { concurrency: "unbounded" }),
          Effect.forEach(eager, (queue) => expirer(store, load, queue), { concurrency: "unbounded" }),
          Effect.forEach(range(fibers.makers), (i) => maker(store, load, `maker${i}`), { concurrency: "unbounded" }),
          Effect.forEach(range(fibers.writers), (i) =>
            writer(store, load, queueOf(queues, i), `writer${i}`, i % queues.length >= careful.length), {
            concurrency: "unbounded"
          }),
          Effect.forEach(range(fibers.batchWriters), (i) =>
            batchWriter(store, load, [queueOf(careful, i), queueOf(careful, i + 1)], `batch${i}`), {
            concurrency: "unbounded"
          })
        ], { concurrency: "unbounded" })
        assert.deepStrictEqual(yield* Fiber.join(killing), { server: serverKills, backend: backendKills })

        for (const [i, queue] of careful.entries()) {
          const read = reads[i] ?? []
          const written = load.textsOf(queue)
          assert.strictEqual(read.length, new Set(read).size)
          assert.deepStrictEqual(new Set(read), new Set([...written.values()].flat()))
          for (const [name, texts] of written) {
            const prefix = `${name.split(" ")[0]} `
            const own = read.filter((text) =>
              text.startsWith(prefix)
            )
            assert.deepStrictEqual(own, texts, "a writer's order")
          }
          const { nextSequence, size } = yield* store.getQueue({ recipientId: queue.recipientId })
          assert.deepStrictEqual({ nextSequence, size }, { nextSequence: BigInt(read.length + 1), size: 0 })
        }
        for (const [i, queue] of eager.entries()) {
          const read = eagerReads[i] ?? []
          for (const texts of load.textsOf(queue).values()) {
            const own = new Set(texts)
            assert.deepStrictEqual(
              read.filter((text) =>
                own.has(text) && !isOld(text)
              ),
              texts.filter((text) =>
                !isOld(text)
              ),
              "every message that does not expire, in its writer's order"
            )
          }
          const all = new Set([...load.textsOf(queue).values()].flat())
          assert.isEmpty(read.filter((text) => !all.has(text)))
          const { nextSequence } = yield* store.getQueue({ recipientId: queue.recipientId })
          const repeated = [...all].filter((text) => load.doubtful.has(text)).length
          assert.isAtLeast(Number(nextSequence) - 1, all.size)
          assert.isAtMost(Number(nextSequence) - 1, all.size + repeated)
        }
        // The test has met what it is about: answers were lost, messages expired, queues were deleted.
        assert.isAbove(load.lost, 0)
        assert.isAbove(expired.reduce((sum, n) => sum + n, 0), 0)
        assert.isAbove(made.reduce((sum, n) => sum + n, 0), 0)
        assert.deepStrictEqual(yield* unsound(owner), [])
      }).pipe(Effect.provide(services({ coalesce }))),
    240_000
  )
})

describe("a server of its own", () => {
  it.live("that is away makes calls fail with Unavailable, and work again when it is back (case 73)", () =>
    Effect.gen(function*() {
      const store = yield* MsgStore.MsgStore
      const server = yield* EmbeddedPostgres.EmbeddedPostgres
      const { recipientId } = yield* store.createQueue()
      yield* server.kill
      const reasons = yield* Effect.forEach(
        [store.size(recipientId), store.write({ recipientId }, Message.fromText("x")), store.size(recipientId)],
        (call) => Effect.flip(Effect.asVoid<unknown, unknown, never>(call))
      )
      for (const error of reasons) {
        assert.instanceOf(error, MsgStoreError.MsgStoreError)
        assert.strictEqual(error.reason._tag, "Unavailable")
      }
      yield* server.restart
      assert.strictEqual(yield* untilAnswered(store.size(recipientId)), 0)
    }).pipe(Effect.provide(services())))

  it.live("a wrong password is Unavailable, and nowhere repeated", () =>
    Effect.gen(function*() {
      const { url } = yield* EmbeddedPostgres.EmbeddedPostgres
      const wrong = new URL(Redacted.value(url))
      wrong.password = "wrong-password"
      const error = yield* Effect.flip(
        Effect.asVoid(MsgStore.MsgStore).pipe(Effect.provide(PgMsgStore.layer({ url: Redacted.make(wrong.href) })))
      )
      assert.instanceOf(error, MsgStoreError.MsgStoreError)
      assert.strictEqual(error.reason._tag, "Unavailable")
      assert.notInclude(`${error.message} ${JSON.stringify(error)}`, "wrong-password")
    }).pipe(Effect.provide(EmbeddedPostgres.layer())))
})

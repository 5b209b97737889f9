/**
 * What needs a server of this file's own. Killed with SIGKILL under load, several times, it loses nothing that was accepted,
 * stores nothing twice, and clients go on when it is back.
 */
import { PgClient } from "@effect/sql-pg"
import { assert, describe, it } from "@effect/vitest"
import { EmbeddedPostgres } from "@restante/embedded-postgres"
import { PgMigrations, PgMsgStore } from "@restante/postgres"
import { Effect, Fiber, Layer, Option, Redacted, Ref, Schedule } from "effect"
import { Message, MessageId, MsgStore, MsgStoreError } from "restante"
import { ownerLayer } from "./PostgresDatabase.ts"

const writers = 32
const messagesPerWriter = 40
const queueCount = 8

/** What every client does: repeat what may be repeated, until the server is back. */
const untilAnswered = <A, E, R>(call: Effect.Effect<A, E, R>) =>
  Effect.retry(call, {
    while: (error) => error instanceof MsgStoreError.MsgStoreError && error.isRetryable,
    schedule: Schedule.spaced("20 millis")
  })

/** Kills the server each time the count passes one of the marks, and starts it again. */
const killAt = Effect.fnUntraced(function*(count: Ref.Ref<number>, marks: ReadonlyArray<number>) {
  const server = yield* EmbeddedPostgres.EmbeddedPostgres
  for (const mark of marks) {
    yield* Effect.repeat(Ref.get(count), { until: (n) => n >= mark, schedule: Schedule.spaced("1 millis") })
    yield* server.kill
    yield* server.restart
  }
  return marks.length
})

const services = Layer.unwrap(
  Effect.gen(function*() {
    const { url } = yield* EmbeddedPostgres.EmbeddedPostgres
    yield* Effect.provide(PgMigrations.migrate(), PgClient.layer({ url }))
    return Layer.merge(PgMsgStore.layer({ url, poolSize: 16 }), ownerLayer(url))
  })
).pipe(Layer.provideMerge(EmbeddedPostgres.layer()))

describe("a server of its own", () => {
  it.live("that is killed under load loses no accepted message and stores none twice, and readers get each once and in order", () =>
    Effect.gen(function*() {
      const store = yield* MsgStore.MsgStore
      const owner = yield* PgClient.PgClient
      const queues = yield* Effect.forEach(
        Array.from({ length: queueCount }),
        () => store.createQueue({ quota: 1_000_000 })
      )
      const total = writers * messagesPerWriter
      const queueOf = (writer: number) => queues[writer % queueCount] ?? assert.fail("no queue")

      const written = yield* Ref.make(0)
      const killer = yield* Effect.forkChild(killAt(written, [total / 4, total / 2, (3 * total) / 4]))
      yield* Effect.forEach(
        Array.from({ length: writers }, (_, w) => w),
        (writer) =>
          Effect.forEach(Array.from({ length: messagesPerWriter }, (_, i) => i), (i) =>
            Effect.gen(function*() {
              const text = `writer ${writer} message ${i}`
              const outcome = yield* untilAnswered(store.write(
                { senderId: queueOf(writer).senderId },
                { ...Message.fromText(text), id: MessageId.named(text) }
              ))
              assert.include(["Accepted", "AlreadyStored"], outcome._tag)
              yield* Ref.update(written, (n) => n + 1)
            })),
        { concurrency: "unbounded" }
      )
      assert.strictEqual(yield* Fiber.join(killer), 3)

      for (const [q, { recipientId }] of queues.entries()) {
        const entries = yield* store.peekBatch(recipientId, { limit: 1_000 })
        const texts = yield* Effect.forEach(entries, Message.bodyText)
        for (let writer = q; writer < writers; writer += queueCount) {
          assert.deepStrictEqual(
            texts.filter((text) => text.startsWith(`writer ${writer} `)),
            Array.from({ length: messagesPerWriter }, (_, i) => `writer ${writer} message ${i}`)
          )
        }
        assert.strictEqual(texts.length, total / queueCount)
      }

      const read = yield* Ref.make(0)
      const reaper = yield* Effect.forkChild(killAt(read, [total / 3, (2 * total) / 3]))
      yield* Effect.forEach(queues, ({ recipientId }) =>
        Effect.gen(function*() {
          let head = yield* untilAnswered(store.peek(recipientId))
          let last = 0n
          while (Option.isSome(head)) {
            const { id, sequence } = head.value
            assert.strictEqual(sequence, last + 1n)
            last = sequence
            yield* Ref.update(read, (n) => n + 1)
            const answer = yield* untilAnswered(store.acknowledgeAndPeek(recipientId, id))
            head = answer.next
          }
          assert.strictEqual(last, BigInt(total / queueCount))
        }), { concurrency: "unbounded" })
      assert.strictEqual(yield* Fiber.join(reaper), 2)
      assert.strictEqual(yield* Ref.get(read), total)

      const drifted = yield* owner`
        select q.key from restante.queues q
         where q.size <> (select count(*) from restante.messages m where m.queue_key = q.key)
            or q.size <> 0 or q.latched or q.head_sequence > q.next_sequence`
      assert.deepStrictEqual(drifted, [])
    }).pipe(Effect.provide(services)))

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
    }).pipe(Effect.provide(services)))

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

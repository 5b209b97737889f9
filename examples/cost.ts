/**
 * What one operation costs, on memory and on a PostgreSQL that writes durably, next to the least work that could do: two
 * bare transactions in memory, and one statement that does nothing or inserts one row on the server.
 *
 * Bodies of 1 KiB; each fiber has a queue of its own. Figures are medians of 5 rounds, in microseconds of wall time per
 * operation. Compare them with each other, not with those of another machine.
 */
import { NodeRuntime } from "@effect/platform-node"
import { PgClient } from "@effect/sql-pg"
import { EmbeddedPostgres } from "@restante/embedded-postgres"
import { PgMigrations, PgMsgStore } from "@restante/postgres"
import { Console, Duration, Effect, TxRef } from "effect"
import { MessageId, MsgStore, type RecipientId } from "restante"

const rounds = 5
const body = new Uint8Array(1_024)

/** Microseconds per operation: the median of some rounds in which `fibers` fibers do `each` operations. */
const cost = <E, R>(
  fibers: number,
  each: number,
  operation: (fiber: number, i: number) => Effect.Effect<unknown, E, R>
) =>
  Effect.map(
    Effect.replicateEffect(
      Effect.map(
        Effect.timed(Effect.forEach(
          Array.from({ length: fibers }, (_, fiber) => fiber),
          (fiber) =>
            Effect.forEach(Array.from({ length: each }, (_, i) => i), (i) => operation(fiber, i), { discard: true }),
          { concurrency: fibers, discard: true }
        )),
        ([duration]) => (Duration.toMillis(duration) * 1_000) / (fibers * each)
      ),
      rounds
    ),
    (figures) => figures.toSorted((a, b) => a - b)[Math.floor(rounds / 2)] ?? Number.NaN
  )

const report = (what: string, fibers: number, microseconds: number) =>
  Console.log(
    `${what.padEnd(44)} ${String(fibers).padStart(3)} ${fibers === 1 ? "fiber " : "fibers"} ${
      microseconds.toFixed(1).padStart(9)
    } µs ${Math.round(1_000_000 / microseconds).toLocaleString("en").padStart(10)} /s`
  )

const store = Effect.fnUntraced(function*(name: string, fibers: number, each: number) {
  const store = yield* MsgStore.MsgStore
  const queues = yield* Effect.forEach(
    Array.from({ length: fibers }),
    () => store.createQueue({ quota: 2_000_000_000 })
  )
  const senderOf = (fiber: number) => ({ senderId: queues[fiber % fibers]?.senderId ?? never() })
  const recipientOf = (fiber: number): RecipientId => queues[fiber % fibers]?.recipientId ?? never()
  const id = MessageId.named("m")
  yield* report(
    `${name}: write`,
    fibers,
    yield* cost(fibers, each, (fiber) => store.write(senderOf(fiber), { body }))
  )
  yield* report(`${name}: peek`, fibers, yield* cost(fibers, each, (fiber) => store.peek(recipientOf(fiber))))
  for (const { recipientId } of queues) {
    const { nextSequence } = yield* store.getQueue({ recipientId })
    yield* store.acknowledgeThrough(recipientId, { sequence: nextSequence - 1n })
  }
  yield* report(
    `${name}: write, then acknowledgeAndPeek`,
    fibers,
    yield* cost(fibers, each, (fiber) =>
      Effect.andThen(
        store.write(senderOf(fiber), { id, body }),
        store.acknowledgeAndPeek(recipientOf(fiber), id)
      ))
  )
})

const never = (): never => {
  throw new Error("every fiber has a queue")
}

const memory = Effect.gen(function*() {
  const ref = yield* TxRef.make(0)
  const modify = TxRef.modify(ref, (n) => [n, n + 1])
  yield* report("floor: two bare TxRef.modify", 1, yield* cost(1, 20_000, () => Effect.andThen(modify, modify)))
  yield* store("memory", 1, 20_000)
  yield* store("memory", 64, 500)
}).pipe(Effect.provide(MsgStore.layerMemory()))

const postgres = Effect.gen(function*() {
  const { url } = yield* EmbeddedPostgres.EmbeddedPostgres
  const floors = Effect.gen(function*() {
    const sql = yield* PgClient.PgClient
    yield* PgMigrations.migrate()
    yield* sql`create table bare (id bigint generated always as identity primary key, body bytea)`
    for (const fibers of [1, 64]) {
      yield* report("floor: select 1", fibers, yield* cost(fibers, 2_048 / fibers, () => sql`select 1`))
      yield* report(
        "floor: insert one row into a bare table",
        fibers,
        yield* cost(fibers, 2_048 / fibers, () => sql`insert into bare (body) values (${body})`)
      )
    }
  })
  yield* Effect.provide(floors, PgClient.layer({ url, maxConnections: 10 }))
  yield* Effect.andThen(store("PostgreSQL", 1, 1_000), store("PostgreSQL", 64, 32)).pipe(
    Effect.provide(PgMsgStore.layer({ url }))
  )
}).pipe(Effect.provide(EmbeddedPostgres.layer({ durable: true })))

Effect.andThen(memory, postgres).pipe(NodeRuntime.runMain)

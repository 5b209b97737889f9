/**
 * `node examples/outbox.ts`: the outbox. A row of your own table and the message that announces it are committed together, or
 * neither is: the store joins the transaction of the client that it was given.
 *
 * The server is the one that `DATABASE_URL` names, otherwise one of this process's own. The schema stays on the former.
 */
import { NodeRuntime } from "@effect/platform-node"
import { PgClient } from "@effect/sql-pg"
import { PostgresServer } from "@restante/embedded-postgres"
import { PgSession } from "@restante/pg-session"
import { PgMigrations, PgMsgStore } from "@restante/postgres"
import { Console, Data, Effect, Layer, Stream } from "effect"
import { Message, MessageId, MsgStore, RecipientId, SenderId } from "restante"

class OutOfStock extends Data.TaggedError("OutOfStock")<{ readonly article: string }> {}

const schema = "restante_example"

/** The outbox is a queue whose ids the program knows, so that creating it again is harmless. */
const outbox = { recipientId: RecipientId.named("outbox, reading"), senderId: SenderId.named("outbox, writing") }

const placeOrder = Effect.fn("placeOrder")(function*(order: { readonly number: number; readonly article: string }) {
  const sql = yield* PgClient.PgClient
  const store = yield* MsgStore.MsgStore
  yield* sql`insert into pg_temp.orders ${sql.insert(order)}`
  const message = Message.fromText(`order ${order.number}: ${order.article}`, {
    // An id made of the order's number: whatever is repeated, the announcement is stored once.
    id: MessageId.named(`order ${order.number}`)
  })
  const outcome = yield* store.write({ senderId: outbox.senderId }, message)
  yield* Console.log(`order ${order.number}, its announcement is ${outcome._tag}`)
  // Found out late, as it happens. The order is rolled back, and with it the message that the line above calls accepted.
  if (order.article === "unicorn") return yield* new OutOfStock({ article: order.article })
})

const program = Effect.gen(function*() {
  const sql = yield* PgClient.PgClient
  const store = yield* MsgStore.MsgStore
  yield* sql`create temporary table orders (number int primary key, article text not null)`
  yield* store.createQueue(outbox)

  for (const [i, article] of ["kettle", "unicorn", "teapot"].entries()) {
    yield* placeOrder({ number: i + 1, article }).pipe(
      sql.withTransaction,
      Effect.catchTag("OutOfStock", (error) => Console.log(`no ${error.article} in stock: rolled back`))
    )
  }

  yield* Console.log(`${(yield* sql`select from pg_temp.orders`).length} orders, announced:`)
  yield* store.receive(outbox.recipientId).pipe(
    Stream.take(2),
    Stream.runForEach((received) =>
      Effect.scoped(Effect.gen(function*() {
        const entry = yield* received
        yield* Console.log(`  ${yield* Message.bodyText(entry)}`)
      }))
    )
  )
  yield* Console.log(`${yield* store.size(outbox.recipientId)} left in the outbox`)
})

const services = Layer.unwrap(Effect.gen(function*() {
  const { url } = yield* PostgresServer.PostgresServer
  // One connection, because a temporary table belongs to its session. A real program has a table and a pool.
  const session = PgSession.layer({ url, maxConnections: 1 })
  yield* PgMigrations.migrate({ schema }).pipe(Effect.provide(PgClient.layer({ url })))
  return Layer.provideMerge(PgMsgStore.layerClient({ schema }), session)
}))

NodeRuntime.runMain(Effect.provide(program, Layer.provide(services, PostgresServer.layer())))

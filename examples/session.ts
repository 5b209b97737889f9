/**
 * `node examples/session.ts`: what `@restante/pg-session` adds to an ordinary `PgClient`. Readings are copied in, announced and
 * committed as one transaction; a bad file is refused with its line; a report is copied out.
 *
 * The server is the one that `DATABASE_URL` names, otherwise one of this process's own. Everything is in a temporary table.
 */
import { NodeRuntime } from "@effect/platform-node"
import { PgClient } from "@effect/sql-pg"
import { PostgresServer } from "@restante/embedded-postgres"
import { PgCopy, PgListener, PgSession, PgTransaction } from "@restante/pg-session"
import { Console, Effect, Layer, Stream } from "effect"

const readings = Stream.map(Stream.range(1, 100_000), (n) => [n % 10, new Date(n * 1_000), Math.sin(n)])

const table = { schema: "pg_temp", table: "readings" }

const program = Effect.gen(function*() {
  const sql = yield* PgClient.PgClient
  const listener = yield* PgListener.PgListener
  const subscription = yield* listener.subscribe("readings")
  // The first event of every subscription: whatever was notified before is to be looked up.
  yield* Console.log(`heard: ${JSON.stringify(yield* subscription.take)}`)

  yield* sql`create temporary table readings (sensor int, at timestamptz, value float8)`
  yield* PgTransaction.serializable(Effect.gen(function*() {
    const { rows } = yield* PgCopy.copyInRows(table, readings)
    yield* listener.notify("readings", `${rows} readings`)
  }))
  const event = yield* subscription.take
  yield* Console.log(`heard: ${event._tag === "Notification" ? event.payload : event.reason}`)

  const bad = Stream.make("1\t2026-11-21\t20.5", "2\tyesterday, about noon\t19.25")
  yield* Effect.catchReason(
    PgCopy.copyInLines(table, bad),
    "PgCopyError",
    "CopyError",
    ({ column, line, sqlstate }) => Console.log(`refused: line ${line}, column ${column} (${sqlstate})`)
  )

  const query = "select sensor, count(*) from pg_temp.readings group by sensor order by sensor limit 3"
  const report = yield* Stream.runCollect(PgCopy.copyOutRows({ query }))
  yield* Console.log(report.map(([sensor, count]) => `sensor ${sensor}: ${count} readings`).join("\n"))
})

// One connection, because a temporary table belongs to its session.
const session = Layer.unwrap(
  Effect.map(PostgresServer.PostgresServer, ({ url }) => PgSession.layer({ url, maxConnections: 1 }))
)

program.pipe(Effect.scoped, Effect.provide(Layer.provide(session, PostgresServer.layer())), NodeRuntime.runMain)

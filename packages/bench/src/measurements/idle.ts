/**
 * S13: what readers cost that wait for messages that do not come.
 */
import { PgClient } from "@effect/sql-pg"
import { Effect, Fiber, Redacted, Stream } from "effect"
import { MsgStore } from "restante"
import type { Measurement } from "./Measurement.ts"

interface Counts {
  readonly transactions: number
  readonly connections: number
}

/**
 * Readers have come to rest after this: they are registered, listen, and have looked once.
 *
 * Trap: a session that has nothing to do tells what it did up to 10 seconds late.
 */
const settling = "15 seconds"

export const measure: Measurement = ({ addresses, parameters, special }) =>
  Effect.gen(function*() {
    const store = yield* MsgStore.MsgStore
    const sql = yield* PgClient.PgClient
    // Statements outside transactions are transactions of their own; our own look is not one of the store's.
    const look = Effect.gen(function*() {
      yield* sql`select pg_stat_force_next_flush()`
      const [counts] = yield* sql<Counts>`
        select xact_commit::float8 as transactions,
               (select count(*)::int from pg_stat_activity
                 where datname = current_database() and application_name like 'restante%'
                   and application_name not like 'restante-bench%') as connections
          from pg_stat_database where datname = current_database()`
      return { ...counts ?? { transactions: 0, connections: 0 }, cpu: process.cpuUsage() }
    })
    const readers = yield* Effect.forkChild(Effect.forEach(
      addresses,
      ({ recipientId }) => Stream.runDrain(store.arrivals(recipientId)),
      { concurrency: "unbounded", discard: true }
    ))
    yield* Effect.sleep(settling)
    const before = yield* look
    yield* Effect.sleep(special.seconds * 1_000)
    const after = yield* look
    yield* Fiber.interrupt(readers)
    const cpu = after.cpu.user + after.cpu.system - before.cpu.user - before.cpu.system
    return [
      // Two of them are the look before.
      {
        measure: "statements",
        unit: "per second",
        value: Math.max(0, after.transactions - before.transactions - 2) / special.seconds
      },
      { measure: "client CPU share", unit: "%", value: cpu / 10_000 / special.seconds },
      { measure: "connections", unit: "connections", value: after.connections }
    ]
  }).pipe(Effect.provide(PgClient.layer({
    url: Redacted.make(parameters.url),
    maxConnections: 1,
    applicationName: "restante-bench look"
  })))

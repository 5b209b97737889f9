/**
 * Floor F5: `pg_notify` until LISTEN delivers it in another process.
 */
import { PgClient } from "@effect/sql-pg"
import { Effect, ManagedRuntime, Queue, Redacted } from "effect"
import { quantiles } from "../Loop.ts"
import { allOf, offerAtRate, offerElsewhere, Recorder } from "../measurements/wakeUp.ts"
import { withoutLoops } from "../Specials.ts"
import type { Sample, Special, Subject } from "../Subject.ts"
import { versions } from "../Versions.ts"

const channel = "bench"

const offer = (special: Special) =>
  Effect.flatMap(
    PgClient.PgClient,
    (sql) =>
      offerAtRate(special, () =>
        Effect.suspend(() => sql`select pg_notify(${channel}, ${String(process.hrtime.bigint())})`))
  )

export const subject: Subject = {
  id: "notify",
  role: "floor",
  works: [],
  versions,
  open: (parameters) => {
    const runtime = ManagedRuntime.make(
      PgClient.layer({ url: Redacted.make(parameters.url), maxConnections: parameters.pool })
    )
    const measure = (special: Special): Effect.Effect<ReadonlyArray<Sample>, unknown, PgClient.PgClient> =>
      Effect.gen(function*() {
        const sql = yield* PgClient.PgClient
        const recorder = new Recorder()
        let received = 0
        const notifications = yield* sql.listen(channel)
        yield* Effect.forkScoped(Effect.forever(Effect.map(Queue.take(notifications), ({ payload }) => {
          recorder.record(BigInt(payload), process.hrtime.bigint())
          received++
        })))
        const sent = yield* offerElsewhere("notify", parameters, special)
        yield* allOf(sent, () => received)
        return quantiles(recorder.latencies)
      }).pipe(Effect.scoped)
    return Promise.resolve({
      ...withoutLoops,
      measure: (special) => runtime.runPromise(special.name === "offer" ? offer(special) : measure(special)),
      close: () => runtime.dispose()
    })
  }
}

/**
 * `MsgStore` on PostgreSQL. Quotas are high enough never to act.
 *
 * Options: `coalesce`, `lanes`; `join` opens the store as it is, for a second process that works on it.
 */
import { PgClient } from "@effect/sql-pg"
import { PgMigrations, PgMsgStore } from "@restante/postgres"
import { Effect, ManagedRuntime, Metric, Redacted } from "effect"
import { MsgStore } from "restante"
import * as Fleet from "../Fleet.ts"
import * as Bulk from "../measurements/bulk.ts"
import * as Footprint from "../measurements/footprint.ts"
import * as Growth from "../measurements/growth.ts"
import * as HeldXmin from "../measurements/heldXmin.ts"
import * as Idle from "../measurements/idle.ts"
import * as Latency from "../measurements/latency.ts"
import type { Measurement } from "../measurements/Measurement.ts"
import * as WakeUp from "../measurements/wakeUp.ts"
import { notOffered } from "../Specials.ts"
import type { Parameters, Subject } from "../Subject.ts"
import { versions } from "../Versions.ts"
import * as Workers from "../Workers.ts"
import * as Loops from "./msgStore.ts"

const unlimited = 2_147_483_647

const measurements: Readonly<Record<string, Measurement>> = {
  latency: Latency.measure,
  import: Bulk.measureImport,
  export: Bulk.measureExport,
  growth: Growth.measure,
  footprint: Footprint.measure,
  heldXmin: HeldXmin.measure,
  idle: Idle.measure,
  wakeUp: WakeUp.measure,
  offer: WakeUp.offer
}

/** Installs the schema, unless it is there, and opens a store over it. */
export const open = (
  { options: { coalesce = true, lanes }, pool, url }: Parameters,
  schema = "restante"
) => {
  const redacted = Redacted.make(url)
  const install = Effect.provide(PgMigrations.migrate({ schema }), PgClient.layer({ url: redacted, maxConnections: 1 }))
  return Effect.as(
    install,
    PgMsgStore.layer({
      url: redacted,
      schema,
      poolSize: pool,
      defaultQuota: unlimited,
      coalesce: coalesce !== false,
      ...typeof lanes === "number" ? { lanes } : {}
    })
  )
}

/** From the metrics of the lanes. */
const batches = Effect.map(Metric.snapshot, (metrics) => {
  let [calls, statements] = [0, 0]
  for (const metric of metrics) {
    if (metric.id !== "restante_batch_calls" || metric.type !== "Histogram") continue
    calls += metric.state.sum
    statements += metric.state.count
  }
  return { calls, statements }
})

export const subject: Subject = {
  id: "msg-store",
  role: "ours",
  works: ["send", "sendMany", "cycle", "take", "peek"],
  versions,
  open: async (parameters) => {
    const { bodyBytes, options, queues } = parameters
    const addresses = Fleet.addresses(queues)
    const runtime = ManagedRuntime.make(await Effect.runPromise(open(parameters)))
    const loops = options["join"] === true ? undefined : await runtime.runPromise(
      Effect.flatMap(MsgStore.MsgStore, (store) => Loops.make(store, addresses, bodyBytes))
    )
    const run = <A>(f: (loops: Loops.Loops) => Effect.Effect<A, unknown>): Promise<A> =>
      runtime.runPromise(loops === undefined ? Effect.die(new Error("a store that was joined has no loops")) : f(loops))
    return {
      run: (work, given) => run((loops) => Workers.run(given, queues, loops.operations(given)[work])),
      prepare: (messages) => run((loops) => loops.prepare(messages)),
      clear: () => run((loops) => loops.clear),
      check: () => loops === undefined ? Promise.resolve(undefined) : runtime.runPromise(loops.check),
      measure: (special) => {
        const measurement = measurements[special.name]
        return measurement === undefined
          ? notOffered()
          : runtime.runPromise(measurement({ parameters, special, addresses, open }))
      },
      batches: () => runtime.runPromise(batches),
      close: () => runtime.dispose()
    }
  }
}

/**
 * S10: an old transaction stays open, so that no version of a row can be removed, while messages come and go at a fixed rate.
 */
import { PgClient } from "@effect/sql-pg"
import { Effect, Redacted } from "effect"
import { MsgStore } from "restante"
import { Histogram } from "../Histogram.ts"
import * as Loop from "../Loop.ts"
import type { Sample } from "../Subject.ts"
import * as Loops from "../subjects/msgStore.ts"
import * as Workers from "../Workers.ts"
import type { Measurement } from "./Measurement.ts"

const fibers = 64
const perSecond = 2_000

export const measure: Measurement = ({ addresses, parameters, special }) =>
  Effect.scoped(Effect.gen(function*() {
    const store = yield* MsgStore.MsgStore
    const sql = yield* PgClient.PgClient
    const loops = yield* Loops.make(store, addresses, parameters.bodyBytes)
    const old = yield* sql.reserve
    yield* old.executeUnprepared("begin isolation level repeatable read", [], undefined)
    yield* old.executeUnprepared("select count(*) from pg_class", [], undefined)

    const minutes = Math.max(1, Math.round(special.seconds / 60))
    const samples: Array<Sample> = []
    for (let minute = 1; minute <= minutes; minute++) {
      const start = performance.now()
      const end = start + (special.seconds / minutes) * 1_000
      const latencies = new Histogram()
      const run = {
        concurrency: fibers,
        batch: 1,
        isOver: () => performance.now() >= end,
        due: Loop.paced(start, end, perSecond),
        done: (_messages: number, began: number) => latencies.record(performance.now() - began)
      }
      yield* Workers.run(run, addresses.length, loops.operations(run).cycle)
      const [row] = yield* sql<{ readonly dead: number }>`
        select sum(n_dead_tup)::float8 as dead from pg_stat_user_tables`
      const took = (performance.now() - start) / 1_000
      samples.push(
        { measure: `rate, minute ${minute}`, unit: "msg/s", value: latencies.total / took },
        { measure: `p99, minute ${minute}`, unit: "ms", value: latencies.quantile(0.99) ?? 0 },
        { measure: `dead tuples, minute ${minute}`, unit: "rows", value: row?.dead ?? 0 }
      )
    }
    const problem = yield* loops.check
    return problem === undefined ? samples : yield* Effect.die(new Error(problem))
  })).pipe(Effect.provide(PgClient.layer({ url: Redacted.make(parameters.url), maxConnections: 2 })))

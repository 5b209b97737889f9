/**
 * H8: what a look at a queue costs in a large store and in a small one. Both lie in one database and are looked at in turns, as
 * fast as it goes: at a fixed rate, the milliseconds of a timer would hide the difference.
 */
import { PgClient } from "@effect/sql-pg"
import { Effect, Layer, Option, Redacted, Scope, Stream } from "effect"
import { MsgStore } from "restante"
import * as Fleet from "../Fleet.ts"
import { Histogram } from "../Histogram.ts"
import { median } from "../Statistics.ts"
import type { Measurement } from "./Measurement.ts"

const rounds = 7
const fibers = 64

export const measure: Measurement = ({ open, parameters, special }) =>
  Effect.scoped(Effect.gen(function*() {
    const scope = yield* Scope.Scope
    const number = (name: string): number => Number(special.params[name])
    const sizes = [
      { schema: "small", queues: 100, messages: 1_000 },
      { schema: "large", queues: number("queues"), messages: number("messages") }
    ]
    const stores = yield* Effect.forEach(sizes, ({ messages, queues, schema }) =>
      Effect.gen(function*() {
        const services = yield* Layer.buildWithScope(yield* open(parameters, schema), scope)
        const store = yield* Effect.provide(MsgStore.MsgStore, services)
        const addresses = Fleet.addresses(queues)
        const log = Fleet.log({ addresses, messages, bodyBytes: parameters.bodyBytes, first: 0 })
        yield* store.importLog(Stream.fromIterable(log))
        return { store, addresses, p99: Array<number>(), looks: 0 }
      }))
    const sql = yield* Effect.provide(
      PgClient.PgClient,
      yield* Layer.buildWithScope(PgClient.layer({ url: Redacted.make(parameters.url), maxConnections: 1 }), scope)
    )
    yield* sql.unsafe("vacuum (analyze)").unprepared
    yield* sql.unsafe("checkpoint").unprepared

    const duration = (special.seconds * 1_000) / (2 * (rounds + 1))
    for (let round = 0; round <= rounds; round++) {
      for (const size of round % 2 === 0 ? stores : stores.toReversed()) {
        const latencies = new Histogram()
        const end = performance.now() + duration
        // Far from the neighbour, and each queue in its turn.
        const stride = 7_919
        yield* Effect.forEach(
          Array.from({ length: fibers }),
          Effect.fnUntraced(function*() {
            while (performance.now() < end) {
              const address = size.addresses[(size.looks++ * stride) % size.addresses.length]
              if (address === undefined) return
              const began = performance.now()
              const head = yield* size.store.peek(address.recipientId)
              latencies.record(performance.now() - began)
              if (Option.isNone(head)) return yield* Effect.die(new Error("a queue that was filled is empty"))
            }
          }),
          { concurrency: "unbounded", discard: true }
        )
        // The first round warms up.
        if (round > 0) size.p99.push(latencies.quantile(0.99) ?? Number.NaN)
      }
    }
    const [small, large] = stores
    const ratios = (large?.p99 ?? []).map((p99, round) => p99 / (small?.p99[round] ?? Number.NaN))
    return [
      { measure: "small p99", unit: "ms", value: median(small?.p99 ?? []) },
      { measure: "large p99", unit: "ms", value: median(large?.p99 ?? []) },
      { measure: "ratio", unit: "×", value: median(ratios) }
    ].flatMap(({ value, ...sample }) => value === undefined ? [] : [{ ...sample, value }])
  }))

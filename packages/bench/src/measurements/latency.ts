/**
 * H7: what one fiber pays for the lane: the latency of a write that coalesces against one that is a statement of its own. In
 * turns in one process, so that both see the same machine.
 */
import { Effect, Layer, Scope } from "effect"
import { MsgStore } from "restante"
import * as Fleet from "../Fleet.ts"
import { Histogram } from "../Histogram.ts"
import { bodies } from "../Payload.ts"
import { median } from "../Statistics.ts"
import type { Measurement } from "./Measurement.ts"

/** Writes in a row, before it is the other's turn. */
const burst = 20
/** Numbers of messages that nobody else uses. */
const firstNumber = 1 << 30

export const measure: Measurement = ({ addresses, open, parameters, special }) =>
  Effect.scoped(Effect.gen(function*() {
    const scope = yield* Scope.Scope
    const stores = yield* Effect.forEach([true, false], (coalesce) =>
      Effect.gen(function*() {
        const layer = yield* open({ ...parameters, options: { ...parameters.options, coalesce } })
        const services = yield* Layer.buildWithScope(layer, scope)
        const store = yield* Effect.provide(MsgStore.MsgStore, services)
        return { store, latencies: new Histogram(), means: Array<number>() }
      }))
    const body = bodies(parameters.bodyBytes)
    const end = performance.now() + special.seconds * 1_000
    let number = firstNumber
    for (let round = 0; performance.now() < end; round++) {
      for (const { latencies, means, store } of round % 2 === 0 ? stores : stores.toReversed()) {
        const from = performance.now()
        for (let i = 0; i < burst; i++) {
          const address = addresses[number % addresses.length]
          if (address === undefined) break
          const began = performance.now()
          yield* store.write({ senderId: address.senderId }, { id: Fleet.idOf(number), body: body(number) })
          number++
          // The first round warms up.
          if (round > 0) latencies.record(performance.now() - began)
        }
        if (round > 0) means.push((performance.now() - from) / burst)
      }
    }
    const [lane, direct] = stores
    const ratios = (lane?.means ?? []).flatMap((mean, round) => {
      const other = direct?.means[round]
      return other === undefined ? [] : [mean / other]
    })
    return [
      { measure: "lane p50", unit: "ms", value: lane?.latencies.quantile(0.5) },
      { measure: "direct p50", unit: "ms", value: direct?.latencies.quantile(0.5) },
      { measure: "ratio", unit: "×", value: median(ratios) }
    ].flatMap(({ value, ...sample }) => value === undefined ? [] : [{ ...sample, value }])
  }))

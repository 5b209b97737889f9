/**
 * S15: a whole store in and out as a log.
 */
import { Effect, Stream } from "effect"
import { MsgStore } from "restante"
import * as Fleet from "../Fleet.ts"
import type { Measurement } from "./Measurement.ts"

/** Up to so many messages the log is made beforehand; a longer one would not fit into memory and is made on the way. */
const madeBefore = 100_000

const seconds = (from: number): number => (performance.now() - from) / 1_000

const peak = () => ({ measure: "peak memory", unit: "MiB", value: process.resourceUsage().maxRSS / 1_024 })

export const measureImport: Measurement = ({ addresses, parameters, special }) =>
  Effect.gen(function*() {
    const store = yield* MsgStore.MsgStore
    const messages = Number(special.params["messages"])
    const log = Fleet.log({ addresses, messages, bodyBytes: parameters.bodyBytes, first: 0 })
    const pieces = messages > madeBefore ? log : Array.from(log)
    const from = performance.now()
    const report = yield* store.importLog(Stream.fromIterable(pieces))
    const took = seconds(from)
    if (report.messages !== messages) {
      return yield* Effect.die(new Error(`${report.messages} of ${messages} messages were imported`))
    }
    return [{ measure: "rate", unit: "msg/s", value: messages / took }, peak()]
  })

export const measureExport: Measurement = ({ special }) =>
  Effect.gen(function*() {
    const store = yield* MsgStore.MsgStore
    const messages = Number(special.params["messages"])
    let last: Uint8Array = new Uint8Array()
    const from = performance.now()
    yield* Stream.runForEach(store.exportLog(), (bytes) =>
      Effect.sync(() => {
        last = bytes
      }))
    const took = seconds(from)
    if (!Buffer.from(last).toString("latin1").endsWith(`"entries":${messages}}\n`)) {
      return yield* Effect.die(new Error(`the export does not end with ${messages} entries`))
    }
    return [{ measure: "rate", unit: "msg/s", value: messages / took }, peak()]
  })

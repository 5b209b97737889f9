/**
 * Floor F6: what memory costs without a store: a `Map` of arrays, and two bare STM boundaries.
 */
import { Effect, TxRef } from "effect"
import { bodies } from "../Payload.ts"
import * as PerOperation from "../PerOperation.ts"
import { withoutLoops } from "../Specials.ts"
import type { Sample, Subject } from "../Subject.ts"
import { versions } from "../Versions.ts"

const up = (n: number): [number, number] => [n, n + 1]
const down = (n: number): [number, number] => [n, n - 1]

/** Two changes of one ref, as a write and an acknowledgement are. */
const txRef = (seconds: number): Promise<ReadonlyArray<Sample>> => {
  const ref = TxRef.makeUnsafe(0)
  return PerOperation.measure(seconds, () => Effect.andThen(TxRef.modify(ref, up), TxRef.modify(ref, down)))
}

const map = (seconds: number, queues: number, bodyBytes: number): Promise<ReadonlyArray<Sample>> => {
  const body = bodies(bodyBytes)
  const all = new Map(Array.from({ length: queues }, (_, queue) => [queue, Array<Uint8Array>()]))
  return PerOperation.measure(seconds, (turn) =>
    Effect.sync(() => {
      const queue = all.get(turn % queues)
      queue?.push(body(turn))
      queue?.shift()
    }))
}

export const subject: Subject = {
  id: "plain",
  role: "floor",
  works: [],
  versions,
  open: ({ bodyBytes, queues }) => {
    return Promise.resolve({
      ...withoutLoops,
      measure: ({ name, seconds }) => name === "map" ? map(seconds, queues, bodyBytes) : txRef(seconds),
      close: () => Promise.resolve()
    })
  }
}

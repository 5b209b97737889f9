/**
 * `MsgStore` in memory.
 */
import { Effect, ManagedRuntime, Option } from "effect"
import { setFlagsFromString } from "node:v8"
import { runInNewContext } from "node:vm"
import { MsgStore } from "restante"
import * as Fleet from "../Fleet.ts"
import { bodies } from "../Payload.ts"
import * as PerOperation from "../PerOperation.ts"
import type { Sample, Special, Subject } from "../Subject.ts"
import { versions } from "../Versions.ts"
import * as Workers from "../Workers.ts"
import * as Loops from "./msgStore.ts"

/** Numbers of messages that the loops do not use. */
const firstNumber = 1 << 30

setFlagsFromString("--expose-gc")

/** Of what is still needed: the garbage is collected first. */
const bytesInUse = (): number => {
  runInNewContext("gc()")
  const { arrayBuffers, heapUsed } = process.memoryUsage()
  return heapUsed + arrayBuffers
}

export const subject: Subject = {
  id: "msg-store-memory",
  role: "ours",
  works: ["send", "sendMany", "cycle", "take", "peek"],
  versions,
  open: async ({ bodyBytes, queues }) => {
    const addresses = Fleet.addresses(queues)
    const runtime = ManagedRuntime.make(MsgStore.layerMemory({ defaultQuota: 2_147_483_647 }))
    const store = await runtime.runPromise(MsgStore.MsgStore)
    const loops = await runtime.runPromise(Loops.make(store, addresses, bodyBytes))
    const body = bodies(bodyBytes)
    let number = firstNumber

    /** Per operation at the depth that `params` asks for, which stays the same. */
    const measure = async ({ name, params, seconds }: Special): Promise<ReadonlyArray<Sample>> => {
      const depth = Number(params["depth"] ?? 0)
      await runtime.runPromise(loops.clear)
      if (depth > 0) await runtime.runPromise(loops.prepare(depth * queues))
      const at = (turn: number): Fleet.Address => {
        const address = addresses[turn % queues]
        if (address === undefined) throw new Error("there is no such queue")
        return address
      }
      /** What was written and not acknowledged: the heads, in the order in which they will be. */
      const heads = await runtime.runPromise(Effect.forEach(addresses, ({ recipientId }) => store.peek(recipientId)))
      switch (name) {
        case "send + settle": {
          if (depth === 0) {
            // An id is free again once its message is acknowledged, so a few are enough, and making them is not measured.
            const ids = Array.from({ length: 1_024 }, (_, i) => Fleet.idOf(firstNumber + i))
            return PerOperation.measure(seconds, (turn) => {
              const { recipientId, senderId } = at(turn)
              const id = ids[turn % ids.length]
              return Effect.andThen(
                store.write({ senderId }, { id, body: body(turn) }),
                id === undefined ? Effect.void : store.acknowledge(recipientId, id)
              )
            })
          }
          return PerOperation.measure(seconds, (turn) => {
            const { recipientId, senderId } = at(turn)
            const head = heads[turn % queues]
            if (head === undefined || Option.isNone(head)) {
              return Effect.die(new Error("a queue that was filled is empty"))
            }
            return Effect.andThen(
              store.write({ senderId }, { id: Fleet.idOf(number++), body: body(turn) }),
              Effect.map(store.acknowledgeAndPeek(recipientId, head.value.id), ({ next }) => {
                heads[turn % queues] = next
              })
            )
          })
        }
        case "peek":
          return PerOperation.measure(seconds, (turn) => store.peek(at(turn).recipientId))
        case "send":
          return PerOperation.measure(
            seconds,
            (turn) => store.write({ senderId: at(turn).senderId }, { id: Fleet.idOf(number++), body: body(turn) })
          )
        case "footprint": {
          const before = bytesInUse()
          const created = await runtime.runPromise(
            Effect.forEach(Array.from({ length: queues }), () => store.createQueue())
          )
          const withQueues = bytesInUse()
          const messages = Number(params["messages"])
          await runtime.runPromise(loops.prepare(messages))
          const withMessages = bytesInUse()
          return [
            { measure: "a message", unit: "bytes", value: (withMessages - withQueues) / messages },
            { measure: "an empty queue", unit: "bytes", value: (withQueues - before) / created.length }
          ]
        }
        default:
          throw new Error("not offered")
      }
    }

    return {
      run: (work, given) => runtime.runPromise(Workers.run(given, queues, loops.operations(given)[work])),
      prepare: (messages) => runtime.runPromise(loops.prepare(messages)),
      clear: () => runtime.runPromise(loops.clear),
      // What `measure` stores behind the back of the loops is not theirs to count.
      check: () => number === firstNumber ? runtime.runPromise(loops.check) : Promise.resolve(undefined),
      measure,
      close: () => runtime.dispose()
    }
  }
}

/**
 * The metric of every store: how calls end, by operation and result.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Metric, Stream } from "effect"
import { Message, MessageId, MsgStore, RecipientId } from "restante"

/** Calls that were counted in the registry of the fiber, by operation and result. */
const calls = Effect.map(Metric.snapshot, (metrics) => {
  const counts: Record<string, number | bigint> = {}
  for (const metric of metrics) {
    if (metric.type !== "Counter" || metric.id !== "restante_msg_store_calls") continue
    counts[Object.values(metric.attributes ?? {}).join(" ")] = metric.state.count
  }
  return counts
})

const withRegistry = Effect.provideService(Metric.MetricRegistry)

describe("the calls of a store are counted", () => {
  it.effect("by operation and result, however operations take turns", () =>
    Effect.gen(function*() {
      const store = yield* MsgStore.MsgStore
      const { recipientId, senderId } = yield* store.createQueue()
      const id = MessageId.named("m1")
      for (let round = 0; round < 3; round++) {
        yield* store.write({ senderId }, { ...Message.fromText("m1"), id })
        yield* store.acknowledge(recipientId, id)
      }
      yield* Effect.flip(store.acknowledge(RecipientId.named("unknown"), id))
      yield* Effect.flip(store.write({ senderId }, { body: new Uint8Array(11) }))
      yield* Effect.flip(store.peekBatch(recipientId, { limit: 0 }))
      assert.deepStrictEqual(yield* calls, {
        "createQueue success": 1,
        "write success": 3,
        "acknowledge success": 3,
        "acknowledge failure": 1,
        "write failure": 1,
        "peekBatch failure": 1
      })
    }).pipe(withRegistry(new Map()), Effect.provide(MsgStore.layerMemory({ maxBodyBytes: 10 }))))

  it.effect("as a failure when they are interrupted", () =>
    Effect.gen(function*() {
      const store = yield* MsgStore.MsgStore
      const importing = yield* Effect.forkChild(store.importLog(Stream.never), { startImmediately: true })
      yield* Fiber.interrupt(importing)
      assert.deepStrictEqual(yield* calls, { "importLog failure": 1 })
    }).pipe(withRegistry(new Map()), Effect.provide(MsgStore.layerMemory())))

  it.effect("in the registry and under the attributes of each caller, for one effect that several run", () =>
    Effect.gen(function*() {
      const store = yield* MsgStore.MsgStore
      const registries = [new Map(), new Map()] as const
      const call = Effect.flip(store.size(RecipientId.named("unknown")))
      yield* withRegistry(call, registries[0])
      yield* withRegistry(call, registries[1])
      yield* call.pipe(
        Effect.provideService(Metric.CurrentMetricAttributes, { region: "north" }),
        withRegistry(registries[1])
      )
      assert.deepStrictEqual(yield* withRegistry(calls, registries[0]), { "size failure": 1 })
      const snapshot = yield* withRegistry(Metric.snapshot, registries[1])
      assert.deepStrictEqual(snapshot.map(({ attributes }) => attributes), [
        { operation: "size", result: "failure" },
        { operation: "size", result: "failure", region: "north" }
      ])
    }).pipe(Effect.provide(MsgStore.layerMemory())))
})

import { MsgStoreModel } from "@restante/conformance"
import { Effect, Layer, Stream } from "effect"
import type { Message } from "restante"
import { MessageId, MsgStore, RecipientId, SenderId } from "restante"
import { driverOf, type WrongStore } from "./WrongStore.ts"

const stamp = (message: Message.NewMessage): MsgStoreModel.ModelMessage => ({
  id: message.id ?? MessageId.randomUnsafe(),
  timestamp: message.timestamp ?? 0,
  notify: message.notify ?? false,
  body: message.body
})

/** The model as it stands, where others have the checks of `MsgStoreDriver.makeStore` in front. */
const make = (limits: MsgStore.Limits): MsgStore.MsgStore["Service"] => {
  const model = new MsgStoreModel.MsgStoreModel(limits)
  const driver = driverOf(model, {})
  return {
    ...driver,
    createQueue: (queue) =>
      driver.createQueue({
        recipientId: queue?.recipientId ?? RecipientId.randomUnsafe(),
        senderId: queue?.senderId ?? SenderId.randomUnsafe(),
        quota: queue?.quota,
        status: queue?.status ?? "active"
      }, 0),
    // Only the reader's half: the overloads are not what this mistake is about.
    getQueue: (target: { readonly recipientId: RecipientId } | { readonly senderId: SenderId }) =>
      "recipientId" in target ? driver.getQueue(target.recipientId) : Effect.die(new Error("not offered")),
    setQueueStatus: (recipientId, status) => driver.setQueueStatus(recipientId, status, 0),
    setQuota: (recipientId, quota) => driver.setQuota(recipientId, quota, 0),
    deleteQueue: (recipientId) => driver.deleteQueue(recipientId, 0),
    write: (target, message) => driver.write({ target, message: stamp(message) }, 128),
    writeMany: (items) =>
      Effect.map(
        driver.writeMany(Array.from(items, (item) => ({ target: item.target, message: stamp(item.message) })), 128),
        (results) => Array.from(results)
      ),
    peekBatch: (recipientId, { after = 0n, limit }) =>
      driver.peekBatch(recipientId, { after, limit, maxBytes: 8_388_608 }),
    acknowledgeThrough: (recipientId, through) =>
      typeof through === "string"
        ? driver.acknowledgeThroughMessage(recipientId, through)
        : driver.acknowledgeThroughSequence(recipientId, through.sequence),
    arrivals: () => Stream.die(new Error("not offered")),
    receive: () => Stream.die(new Error("not offered")),
    exportLog: () => Stream.die(new Error("not offered")),
    importLog: () => Effect.die(new Error("not offered")),
    expireAll: ({ batchSize = 100, before }) =>
      Stream.runFold(
        driver.expireAll(before, batchSize),
        () => ({ visited: 0, expired: 0, skipped: 0, failed: 0 }),
        (sum, { expired, visited }) => ({ ...sum, visited: sum.visited + visited, expired: sum.expired + expired })
      ),
    compactDeleted: ({ batchSize = 100, before }) =>
      Stream.runFold(driver.compactDeleted(before, batchSize), () => 0, (sum, count) => sum + count),
    recount: () => Effect.succeed(model.recount()),
    messages: (recipientId) =>
      Stream.fromIterableEffect(driver.peekBatch(recipientId, { after: 0n, limit: 5_000, maxBytes: 8_388_608 }))
  }
}

export const store: WrongStore = {
  mistake: "takes any argument as it comes",
  caughtBy: ["2", "2.1", "2.2", "2.5", "2.6", "4.3", "4.9", "4.11", "4.14", "9", "14", "16", "27", "44"],
  caughtByHistories: true,
  layer: (limits) => Layer.sync(MsgStore.MsgStore, () => make(limits))
}

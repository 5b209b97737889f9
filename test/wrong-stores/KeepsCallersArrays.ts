import { Effect } from "effect"
import type { Message, MessageId, MsgStoreError, RecipientId, SenderId } from "restante"
import { ofMemory, type WrongStore } from "./WrongStore.ts"

export const store: WrongStore = {
  mistake: "keeps the array that the caller passed in, not a copy",
  caughtBy: ["2.4"],
  caughtByHistories: false,
  layer: ofMemory((memory) => {
    const readers = new Map<SenderId, RecipientId>()
    const arrays = new Map<string, Uint8Array>()
    const key = (target: MsgStoreError.Target, messageId: MessageId | undefined) =>
      `${"senderId" in target ? readers.get(target.senderId) : target.recipientId} ${messageId}`
    const asKept = (recipientId: RecipientId) => (entry: Message.Entry): Message.Entry =>
      entry.kind === "quota" ? entry : { ...entry, body: arrays.get(key({ recipientId }, entry.id)) ?? entry.body }
    return {
      createQueue: (queue) =>
        Effect.map(memory.createQueue(queue), (record) => {
          readers.set(record.senderId, record.recipientId)
          return record
        }),
      write: (target, message) =>
        Effect.map(memory.write(target, message), (outcome) => {
          if (outcome._tag === "Accepted") arrays.set(key(target, message.id), message.body)
          return outcome
        }),
      // Batches are copied, as they should be.
      writeMany: (items) =>
        Effect.suspend(() => {
          const all = Array.from(items)
          for (const { message, target } of all) arrays.delete(key(target, message.id))
          return memory.writeMany(all)
        }),
      // What is imported is copied too, and may have ids that were there before.
      importLog: (bytes, options) =>
        Effect.suspend(() => {
          arrays.clear()
          return memory.importLog(bytes, options)
        }),
      peekBatch: (recipientId, range) =>
        Effect.map(memory.peekBatch(recipientId, range), (entries) => entries.map(asKept(recipientId)))
    }
  })
}

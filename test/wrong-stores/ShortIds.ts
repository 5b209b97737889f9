import { Effect, Result } from "effect"
import { MessageId, RecipientId } from "restante"
import { ofMemory, type WrongStore } from "./WrongStore.ts"

/** The first bytes of a drawn id, and few enough of them to be drawn twice. */
const short = (bytes: Uint8Array) => bytes.subarray(0, 2)

export const store: WrongStore = {
  mistake: "draws ids that are too short",
  caughtBy: ["1", "2.2", "41", "2.8"],
  caughtByHistories: false,
  layer: ofMemory((memory) => ({
    createQueue: (queue = {}) =>
      memory.createQueue({
        ...queue,
        recipientId: queue.recipientId ??
          Result.getOrThrow(RecipientId.fromBytes(short(RecipientId.toBytes(RecipientId.randomUnsafe()))))
      }),
    write: (target, message) =>
      Effect.suspend(() =>
        memory.write(target, {
          ...message,
          id: message.id ?? Result.getOrThrow(MessageId.fromBytes(short(MessageId.toBytes(MessageId.randomUnsafe()))))
        })
      )
  }))
}

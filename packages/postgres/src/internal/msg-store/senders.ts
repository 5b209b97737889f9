/**
 * Which queue a sender id writes to. Stored functions are keyed by recipient id (spec 10.3), so a writer's client looks the
 * binding up and remembers it. A binding never changes while the queue or its tombstone exists; if a call answers that it
 * is gone, it is looked up once more.
 */
import type { RecipientId, SenderId } from "restante"

export interface Senders {
  readonly get: (senderId: SenderId) => RecipientId | undefined
  readonly set: (senderId: SenderId, recipientId: RecipientId) => void
  readonly forget: (senderId: SenderId) => void
}

/** About 3 MB of ids when full. */
const capacity = 10_000

/** Forgets the binding that was not used for the longest time when it is full. */
export const make = (): Senders => {
  const bindings = new Map<SenderId, RecipientId>()
  return {
    get: (senderId) => {
      const recipientId = bindings.get(senderId)
      // A map keeps the order of insertion: what was used last goes to the end.
      if (recipientId !== undefined) {
        bindings.delete(senderId)
        bindings.set(senderId, recipientId)
      }
      return recipientId
    },
    set: (senderId, recipientId) => {
      if (bindings.size >= capacity && !bindings.has(senderId)) {
        for (const oldest of bindings.keys()) {
          bindings.delete(oldest)
          break
        }
      }
      bindings.set(senderId, recipientId)
    },
    forget: (senderId) => {
      bindings.delete(senderId)
    }
  }
}

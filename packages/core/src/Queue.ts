/**
 * A queue as a record: its ids, its quota, its status, and where it stands.
 */
import { Schema } from "effect"
import { Sequence, Timestamp } from "./Message.ts"
import { RecipientId, SenderId } from "./QueueId.ts"

/** `'suspended'` refuses writes and nothing else. */
export const QueueStatus = Schema.Literals(["active", "suspended"])
export type QueueStatus = typeof QueueStatus.Type

/** How many entries a queue may hold before it overflows: an integer from 0 to 2^31 - 1. */
export const Quota = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 2_147_483_647 }))

/** A queue as its reader sees it; one snapshot. Times are milliseconds since the epoch. */
export const QueueRecord = Schema.Struct({
  recipientId: RecipientId.schema,
  senderId: SenderId.schema,
  /** The queue's own quota; absent: the `defaultQuota` of the layer that performs the write. */
  quota: Schema.optionalKey(Quota),
  status: QueueStatus,
  /** Number of entries, the marker included. */
  size: Schema.Int,
  /** A marker was stored and the queue has not been empty since. */
  latched: Schema.Boolean,
  /** Sequence of the head; absent when the queue is empty. */
  firstSequence: Schema.optionalKey(Sequence),
  /** Sequence that the next entry will get. */
  nextSequence: Sequence,
  createdAt: Timestamp,
  /** Changed by `createQueue`, `setQueueStatus` and `setQuota` alone. */
  updatedAt: Timestamp
})
export type QueueRecord = typeof QueueRecord.Type

/** A queue as its writer sees it. */
export const SenderView = Schema.Struct({ senderId: SenderId.schema, status: QueueStatus })
export type SenderView = typeof SenderView.Type

/** What to create. Absent ids are drawn: 24 random bytes each. */
export interface NewQueue {
  readonly recipientId?: RecipientId | undefined
  readonly senderId?: SenderId | undefined
  /** Absent: the queue follows the `defaultQuota` of whichever layer writes. */
  readonly quota?: number | undefined
  /** Absent: `'active'`. */
  readonly status?: QueueStatus | undefined
}

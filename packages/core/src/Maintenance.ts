/**
 * What the operations over a whole store take and answer: expiry, compaction, statistics, recounting.
 */
import type { Effect } from "effect"
import { Schema } from "effect"
import { RecipientId } from "./QueueId.ts"

/** How many queues are handled together: an integer from 1 to 10,000. Default 100. */
export interface BatchOptions {
  readonly batchSize?: number | undefined
}

/** What an `expireAll` did so far. */
export const ExpiryCounts = Schema.Struct({
  /** Queues that had something to expire. */
  visited: Schema.Int,
  /** Messages removed from them. */
  expired: Schema.Int,
  /** Queues that had something to expire and were in somebody else's hands; the next run finds them. Always 0 in memory. */
  skipped: Schema.Int,
  /** Queues whose expiry failed; nothing was removed from them. `recount` finds what is wrong with damaged ones. */
  failed: Schema.Int
})
export type ExpiryCounts = typeof ExpiryCounts.Type

export interface ExpireOptions extends BatchOptions {
  /** Messages are fresh at or after this time: milliseconds since the epoch. */
  readonly before: number
  /** Told the counts so far after each batch, which by then is committed. */
  readonly onProgress?: ((counts: ExpiryCounts) => Effect.Effect<void>) | undefined
}

export interface CompactOptions extends BatchOptions {
  /** Queues deleted before this time are forgotten, one deleted at it is not: milliseconds since the epoch. */
  readonly before: number
}

/** How much there is. All but `tombstones` concerns live queues only. */
export const Stats = Schema.Struct({
  queues: Schema.Int,
  /** Of the queues, those that refuse writes. */
  suspended: Schema.Int,
  /** Of the queues, those that have not been emptied since they overflowed. */
  latched: Schema.Int,
  /** Stored messages, markers not included. */
  messages: Schema.Int,
  markers: Schema.Int,
  /** Deleted queues whose ids are still reserved. */
  tombstones: Schema.Int
})
export type Stats = typeof Stats.Type

/** A counter that does not agree with the entries of its queue. */
export const Drift = Schema.Struct({
  recipientId: RecipientId.schema,
  field: Schema.Literals(["size", "latched", "headSequence", "nextSequence"]),
  stored: Schema.Union([Schema.BigInt, Schema.Boolean]),
  actual: Schema.Union([Schema.BigInt, Schema.Boolean])
})
export type Drift = typeof Drift.Type

/** Damage that counting cannot mend. */
export const Violation = Schema.Struct({
  recipientId: RecipientId.schema,
  problem: Schema.Literals(["MarkerNotLast", "SeveralMarkers", "MalformedEntry"])
})
export type Violation = typeof Violation.Type

export interface RecountOptions extends BatchOptions {
  /** Whether to correct what was found. Default true. */
  readonly repair?: boolean | undefined
}

export const RecountReport = Schema.Struct({
  /** Live queues looked at. */
  checked: Schema.Int,
  /** What was found, and confirmed under the queue's lock. */
  drifted: Schema.Array(Drift),
  /** Queues that were corrected. */
  repaired: Schema.Int,
  /** What was found and left alone. */
  violations: Schema.Array(Violation)
})
export type RecountReport = typeof RecountReport.Type

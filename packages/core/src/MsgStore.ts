/**
 * `MsgStore`: queues that keep messages for recipients who are away.
 *
 * Any number of queues, each a strict first-in first-out list of opaque messages with a quota. One side writes with the
 * *sender id*, the other reads and acknowledges with the *recipient id*; knowing one never gives the other.
 *
 * The quota is a latch, not a size test. The message that finds the queue full is replaced by the *quota marker*, the
 * last entry; from then on every new message is refused until the queue has been emptied completely, marker included.
 *
 * This file is the contract. Every store keeps it, and `@restante/conformance` checks that it does.
 */
import type { Option, Result, Scope, Stream } from "effect"
import { Context, Effect, Layer, Schema } from "effect"
import * as memory from "./internal/msg-store/memory.ts"
import type { InvalidArgument } from "./InvalidArgument.ts"
import type {
  CompactOptions,
  ExpireOptions,
  ExpiryCounts,
  RecountOptions,
  RecountReport,
  Stats
} from "./Maintenance.ts"
import type { Entry, MessageId, NewMessage } from "./Message.ts"
import { Sequence } from "./Message.ts"
import type { ExportOptions, ImportOptions, ImportRejected, ImportReport } from "./MessageLog.ts"
import * as MsgStoreDriver from "./MsgStoreDriver.ts"
import type {
  MessageTooLarge,
  MsgStoreError,
  QueueIdTaken,
  QueueNotFound,
  QueueSuspended,
  SequenceNotAssigned,
  Target
} from "./MsgStoreError.ts"
import type { NewQueue, QueueRecord, QueueStatus, SenderView } from "./Queue.ts"
import type { RecipientId, SenderId } from "./QueueId.ts"

/**
 * What became of a write.
 *
 * - `Accepted`: stored at `sequence`; `wasEmpty` tells that the queue held nothing before, so its reader may be asleep.
 * - `AlreadyStored`: a message with this id is stored at `sequence`; nothing changed. The answer to a repeated write.
 * - `QuotaReached`: this message found the queue full. Its marker is stored in its place and the queue is latched.
 * - `QuotaExceeded`: the queue is latched. Nothing was stored; write again once the recipient has emptied it.
 */
export const WriteOutcome = Schema.TaggedUnion({
  Accepted: { wasEmpty: Schema.Boolean, sequence: Sequence },
  AlreadyStored: { sequence: Sequence },
  QuotaReached: {},
  QuotaExceeded: {}
})
export type WriteOutcome = typeof WriteOutcome.Type

/** Why one message of a write was not taken. */
export type WriteFailure = QueueNotFound | QueueSuspended | MessageTooLarge

/** One message of a `writeMany`, with its queue. */
export interface WriteItem {
  readonly target: Target
  readonly message: NewMessage
}

/** What `acknowledgeAndPeek` removed, if anything, and the head afterwards, if any. */
export interface AcknowledgedAndNext {
  readonly acknowledged: Option.Option<Entry>
  readonly next: Option.Option<Entry>
}

/** Which entries of a queue to look at. */
export interface PeekRange {
  /** At most this many entries: an integer from 1 to `maxBatchItems`. */
  readonly limit: number
  /** Only entries whose sequence is greater. Absent: from the head. */
  readonly after?: bigint | undefined
}

/** Up to and including which entry to acknowledge. */
export type Through = MessageId | { readonly sequence: bigint }

/** A message that `receive` hands over: it is acknowledged when the scope in which this runs closes successfully. */
export type Received = Effect.Effect<Entry, never, Scope.Scope>

/**
 * The operations. What holds for all of them:
 *
 * - **atomic**: a call takes effect at one instant between its start and its end, or not at all; operations on one queue
 *   are linearizable, and none affects another queue (source: spec/msg-store.md 6.1, I12)
 * - **order**: entries are read in the order in which they were accepted; timestamps never influence it (I1)
 * - **errors**: `InvalidArgument` is decided before the store is contacted and before anything else. `MsgStoreError`
 *   tells in its `reason` whether anything may have happened. `QueueNotFound` does not tell a deleted queue from one
 *   that never existed (4.2, 4.3, 7.3)
 * - **interruption**: waiting for the store is interruptible and leaves no trace; what has been sent completes, and the
 *   interruption is seen afterwards (7.1)
 * - **bytes are values**: arrays are copied when the operation is called, and what is handed out is the caller's (2.4)
 * - **time** is the `Clock` of the calling fiber, in milliseconds; the store's own clock is never used (2.5)
 */
export class MsgStore extends Context.Service<MsgStore, {
  /**
   * Creates a queue. Repeating the call with the same pair of ids returns the queue's present record unchanged, so a
   * retry after a lost answer is harmless.
   *
   * - units: `quota` counts entries, 0 to 2^31 - 1
   * - errors: `QueueIdTaken` if either id belongs to another queue or to a deleted one (nothing was created, neither id
   *   is reserved); `InvalidArgument` also when both ids are the same bytes
   * - source: 2.2, 4.7
   */
  readonly createQueue: (
    queue?: NewQueue
  ) => Effect.Effect<QueueRecord, QueueIdTaken | InvalidArgument | MsgStoreError>

  /**
   * The record of a queue for its reader, or the writer's narrower view for its sender id. Never waits for writers.
   *
   * - errors: `QueueNotFound`
   * - source: 2.6, 2.7, 6.3
   */
  readonly getQueue: GetQueue

  /**
   * Suspends a queue, so that it refuses writes, or makes it active again. Reading and acknowledging go on. Setting the
   * present status changes nothing.
   *
   * - errors: `QueueNotFound`
   * - source: 2.6, case 8
   */
  readonly setQueueStatus: (
    recipientId: RecipientId,
    status: QueueStatus
  ) => Effect.Effect<QueueRecord, QueueNotFound | InvalidArgument | MsgStoreError>

  /**
   * Gives a queue its own quota, or with `undefined` makes it follow the default again. Entries stay, however many; a
   * latched queue stays latched until it has been emptied, however high the new quota.
   *
   * - units: entries, 0 to 2^31 - 1; with 0 every first message overflows
   * - errors: `QueueNotFound`
   * - source: 4.2, cases 33 to 35
   */
  readonly setQuota: (
    recipientId: RecipientId,
    quota: number | undefined
  ) => Effect.Effect<QueueRecord, QueueNotFound | InvalidArgument | MsgStoreError>

  /**
   * Deletes a queue and, in the same step, everything in it; answers how many entries were discarded, the marker
   * included. Both ids stay reserved. Of any number of concurrent deletions exactly one succeeds.
   *
   * - errors: `QueueNotFound`, which after `OutcomeUnknown` means that it is gone
   * - source: 4.8
   */
  readonly deleteQueue: (
    recipientId: RecipientId
  ) => Effect.Effect<number, QueueNotFound | InvalidArgument | MsgStoreError>

  /**
   * Writes one message, by either id of the queue. While the message is stored, writing its id again changes nothing and
   * answers `AlreadyStored` (or `QuotaReached` for the marker), even when the queue is suspended or latched meanwhile: the
   * writer learns what became of the first attempt. Body, flag and timestamp are not compared. Once the entry has been
   * removed its id is free, and a late retry is a new message; readers who need exactly-once discard by id. An id or
   * timestamp that is absent is drawn or read each time the effect runs: who wants to retry supplies the id.
   *
   * - units: `timestamp` in milliseconds since the epoch
   * - errors: `MessageTooLarge` (before everything but `InvalidArgument`), `QueueNotFound`, `QueueSuspended`
   * - source: 2.8, 4.2 to 4.4
   */
  readonly write: (
    target: Target,
    message: NewMessage
  ) => Effect.Effect<WriteOutcome, WriteFailure | InvalidArgument | MsgStoreError>

  /**
   * Writes messages to one or several queues in one atomic step. The answer has one element per item, in the same order;
   * an item that fails does not affect the others. Per queue the items apply in input order with nothing in between.
   * After a `MsgStoreError` nothing was stored, or for `OutcomeUnknown` all or nothing.
   *
   * - units: at most `maxBatchItems` items with together at most `maxBatchBytes` bytes of body, not counting bodies that
   *   are too large by themselves
   * - errors: `InvalidArgument` for the whole call if there are more, or if any item is malformed
   * - source: 4.5
   */
  readonly writeMany: (
    items: Iterable<WriteItem>
  ) => Effect.Effect<Array<Result.Result<WriteOutcome, WriteFailure>>, InvalidArgument | MsgStoreError>

  /**
   * The head of the queue, which stays where it is. Never waits for writers.
   *
   * - errors: `QueueNotFound`
   * - source: 4.2, 6.3
   */
  readonly peek: (
    recipientId: RecipientId
  ) => Effect.Effect<Option.Option<Entry>, QueueNotFound | InvalidArgument | MsgStoreError>

  /**
   * The first entries in order, the marker included, which stay where they are. With `after` a reader can run ahead of
   * its acknowledgements. Stops before the bodies would exceed `maxBatchBytes`, but always has the first entry if there
   * is one, so an empty answer means that there is nothing more.
   *
   * - errors: `QueueNotFound`
   * - source: 4.6
   */
  readonly peekBatch: (
    recipientId: RecipientId,
    range: PeekRange
  ) => Effect.Effect<Array<Entry>, QueueNotFound | InvalidArgument | MsgStoreError>

  /**
   * Removes the head if it has this id, and answers it; otherwise changes nothing and answers none. Exactly one of
   * several concurrent calls gets the entry. Repeating after a lost answer gives none, as long as nobody has written
   * the id again meanwhile. Writers do that with the id of a marker: to repeat the acknowledgement of one, use
   * `acknowledgeThrough` with its sequence, which can name no other entry.
   *
   * - errors: `QueueNotFound`
   * - source: 4.2, I10
   */
  readonly acknowledge: (
    recipientId: RecipientId,
    messageId: MessageId
  ) => Effect.Effect<Option.Option<Entry>, QueueNotFound | InvalidArgument | MsgStoreError>

  /**
   * `acknowledge`, and the head afterwards, in one step: the loop of a reader costs one call per message. `next` is the
   * present head whether or not anything was removed, so a lost answer is repaired by calling again (for a marker, see
   * `acknowledge`).
   *
   * - errors: `QueueNotFound`
   * - source: 4.2
   */
  readonly acknowledgeAndPeek: (
    recipientId: RecipientId,
    messageId: MessageId
  ) => Effect.Effect<AcknowledgedAndNext, QueueNotFound | InvalidArgument | MsgStoreError>

  /**
   * Removes an entry and all before it, named by its id or its sequence, and answers how many that were, the marker
   * included. An id that is not stored removes nothing; a sequence removes what is left at or before it. So repeating
   * the call answers 0.
   *
   * - errors: `QueueNotFound`; `SequenceNotAssigned` for a sequence that the queue has not given out yet
   * - source: 4.2
   */
  readonly acknowledgeThrough: (
    recipientId: RecipientId,
    through: Through
  ) => Effect.Effect<number, QueueNotFound | SequenceNotAssigned | InvalidArgument | MsgStoreError>

  /**
   * How many entries the queue holds, the marker included. Never waits for writers.
   *
   * - errors: `QueueNotFound`
   * - source: 4.2, 6.3
   */
  readonly size: (recipientId: RecipientId) => Effect.Effect<number, QueueNotFound | InvalidArgument | MsgStoreError>

  /**
   * Removes the messages in front of the first fresh one, and answers how many that were. A message is fresh if its
   * timestamp is at or after `before`; if none is fresh, all go. The marker never expires: a queue of which only the
   * marker is left stays latched until the marker is acknowledged.
   *
   * - units: `before` in milliseconds since the epoch
   * - errors: `QueueNotFound`
   * - source: 4.10
   */
  readonly deleteExpired: (
    recipientId: RecipientId,
    before: number
  ) => Effect.Effect<number, QueueNotFound | InvalidArgument | MsgStoreError>

  /**
   * The entries that are there at the start, in order, in pages of `peekBatch`, removing nothing. Entries that are there
   * throughout are emitted exactly once; those that go meanwhile may or may not appear.
   *
   * - errors: `QueueNotFound`, also when the queue is deleted meanwhile
   * - source: 4.12
   */
  readonly messages: (
    recipientId: RecipientId
  ) => Stream.Stream<Entry, QueueNotFound | InvalidArgument | MsgStoreError>

  /**
   * Says when the queue may have something to read: at once if it holds something, and at least once after every later
   * change from empty to not empty, by a message, a marker or an import, wherever that was made. It is a hint: elements
   * may be merged, come late or for nothing, and are never lost. Read until `peek` answers none before waiting again.
   * The stream does not end by itself.
   *
   * - units: on PostgreSQL a wake-up that could not be delivered is late by at most `arrivalsPollInterval` and the time of
   *   a look, and so is the end of a stream whose queue is deleted
   * - errors: `QueueNotFound`, also when the queue is deleted meanwhile. `MsgStoreError` when the store cannot be asked what
   *   there is; a reader that waits sits out an outage
   * - source: 4.15
   */
  readonly arrivals: (
    recipientId: RecipientId
  ) => Stream.Stream<void, QueueNotFound | InvalidArgument | MsgStoreError>

  /**
   * The messages of a queue one after another, waiting for the next, as a reader wants them: `arrivals`, `peek` and
   * an acknowledgement in one. Run each element in a scope of its own. When that closes successfully the message is
   * acknowledged; if it fails or is interrupted, the message stays, and is the next one again. So a message is handled at
   * least once, and the marker is one of them.
   *
   * The next element waits until the one before has been run and its scope has closed, so buffers and concurrency
   * downstream acknowledge nothing early and repeat nothing; an element that is thrown away is waited for in vain. One that
   * is run again is the same message. After a failure the message is the next one at once: who goes on waits first, or a
   * message that cannot be handled keeps the store busy. Meant for one reader per queue: several are handed the same message.
   *
   * - errors: `QueueNotFound`, also when the queue is deleted meanwhile; `MsgStoreError`, also of an acknowledgement: it is
   *   tried once more before the next message, which is not handed out unless it has succeeded
   * - source: 4.2, 4.15
   */
  readonly receive: (
    recipientId: RecipientId
  ) => Stream.Stream<Received, QueueNotFound | InvalidArgument | MsgStoreError>

  /**
   * `deleteExpired` on every queue that has something to expire, in order of recipient ids, each at most once. Queues that
   * are in somebody else's hands are skipped and counted, not waited for. Each batch is applied before the next begins:
   * interruption and errors keep what is done, and a new run does the rest.
   *
   * - units: `before` in milliseconds since the epoch; `batchSize` queues, 1 to 10,000, default 100
   * - errors: `InvalidArgument`, `MsgStoreError`; repeating is safe
   * - source: 4.11
   */
  readonly expireAll: (options: ExpireOptions) => Effect.Effect<ExpiryCounts, InvalidArgument | MsgStoreError>

  /**
   * Forgets queues that were deleted before a time, and answers how many. Their ids are free again; a queue that is
   * created with them starts at sequence 1. In batches, each of which is applied before the next: interruption and errors
   * keep what is done.
   *
   * - units: `before` in milliseconds since the epoch; `batchSize` queues, 1 to 10,000, default 100
   * - errors: `InvalidArgument`, `MsgStoreError`; repeating is safe
   * - source: 4.9
   */
  readonly compactDeleted: (options: CompactOptions) => Effect.Effect<number, InvalidArgument | MsgStoreError>

  /**
   * How much the store holds, from the records of the queues. It reads all of them, at slightly different instants: for
   * people and dashboards, not for each request.
   *
   * - source: 4.13
   */
  readonly stats: Effect.Effect<Stats, MsgStoreError>

  /**
   * Compares the record of every queue with its entries and, unless `repair` is false, corrects it. Suspects are found
   * without a lock and looked at again under it, so that what is reported is true drift. There should never be any.
   *
   * - units: `batchSize` queues, 1 to 10,000, default 100
   * - errors: `InvalidArgument`, `MsgStoreError`; what was corrected stays so
   * - source: 4.14, 10.7
   */
  readonly recount: (options?: RecountOptions) => Effect.Effect<RecountReport, InvalidArgument | MsgStoreError>

  /**
   * The live queues with their entries as bytes of a log, by recipient id and sequence. Each queue is seen at one instant.
   * The stream works in pages, so a slow consumer costs no memory. The `restante` format is lossless: imported into an
   * empty store and exported again it gives the same bytes, unless an open queue holds more messages than its quota: the
   * import latches it. Inside a transaction of the caller it still sees what is
   * committed, not what that transaction has changed.
   *
   * - errors: `MsgStoreError`; damaged entries fail it with `Corrupt`
   * - source: 8.1 to 8.3, 8.8
   */
  readonly exportLog: (options?: ExportOptions) => Stream.Stream<Uint8Array, InvalidArgument | MsgStoreError>

  /**
   * Reads a log, by default of format `restante` and in tolerant mode, and adds it to the store in one step: after any failure, and when interrupted, nothing was imported. Import
   * restores, so it ignores status and `maxBodyBytes`, expires nothing, and drops nothing because of a quota: a queue with
   * more messages than its quota ends latched. Messages that are stored already are not stored again, so importing a file
   * twice changes nothing. A tolerant import of a file in another format may succeed with every line rejected: look at the
   * report. What belongs to a queue that is deleted while the import runs is discarded with it.
   *
   * - errors: `ImportRejected` with the report; those of `bytes` and `rejects`, as they are; after `OutcomeUnknown` import
   *   again
   * - source: 8.4 to 8.8
   */
  readonly importLog: <E = never, R = never, E2 = never, R2 = never>(
    bytes: Stream.Stream<Uint8Array, E, R>,
    options?: ImportOptions<E2, R2>
  ) => Effect.Effect<ImportReport, ImportRejected | InvalidArgument | MsgStoreError | E | E2, R | R2>
}>()("restante/MsgStore") {}

/** The reader sees the whole record, the writer only what a writer may know. */
export interface GetQueue {
  (target: { readonly recipientId: RecipientId }): Effect.Effect<
    QueueRecord,
    QueueNotFound | InvalidArgument | MsgStoreError
  >
  (target: { readonly senderId: SenderId }): Effect.Effect<SenderView, QueueNotFound | InvalidArgument | MsgStoreError>
}

/** Limits that every layer takes. */
export interface Limits {
  /** Quota of queues without one of their own: entries, 0 to 2^31 - 1. Default 128. */
  readonly defaultQuota?: number | undefined
  /** Bytes, 0 to 8,388,608. Default 65,536. */
  readonly maxBodyBytes?: number | undefined
  /** Limit of `peekBatch` and `writeMany`: entries, at least 1. Default 1,000. */
  readonly maxBatchItems?: number | undefined
  /** Bodies of one `peekBatch` answer or one `writeMany` call: bytes, at least `maxBodyBytes`. Default 8,388,608. */
  readonly maxBatchBytes?: number | undefined
}

/**
 * A store that lives and dies with its layer, for tests and for programs that need no durability. It is built on STM, so
 * its operations may be composed in the caller's own `Effect.tx`. On one thread a mutable structure would be as atomic
 * and faster; STM buys that composition, and readers that wait. Fails with `InvalidArgument` when a limit is out of
 * bounds.
 */
export const layerMemory = (limits: Limits = {}): Layer.Layer<MsgStore, InvalidArgument> =>
  Layer.effect(MsgStore, Effect.flatMap(memory.make, (driver) => MsgStoreDriver.makeStore(driver, limits)))

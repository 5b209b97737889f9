/**
 * What a backend has to provide, and the one place that makes a `MsgStore` of it.
 *
 * A driver is small and dumb: its arguments are checked, defaults are filled in, and the time is an argument. What is the
 * same for every backend (bounds, generated ids, the clock, copies, batches that carry oversized bodies, paging, metrics)
 * is written once, in `makeStore`.
 */
import type { Option, Scope } from "effect"
import { Array as Arr, Effect, Exit, Fiber, Metric, Result, Stream } from "effect"
import * as Export from "./internal/msg-log/export.ts"
import { codecs } from "./internal/msg-log/formats.ts"
import * as Import from "./internal/msg-log/import.ts"
import * as Arguments from "./internal/msg-store/arguments.ts"
import * as Arrivals from "./internal/msg-store/arrivals.ts"
import { InvalidArgument } from "./InvalidArgument.ts"
import type { ExpiryCounts, RecountReport, Stats } from "./Maintenance.ts"
import type { Entry, MessageId } from "./Message.ts"
import type { AcknowledgedAndNext, Limits, MsgStore, PeekRange, WriteFailure, WriteOutcome } from "./MsgStore.ts"
import type {
  MsgStoreError,
  QueueIdTaken,
  QueueNotFound,
  QueueSuspended,
  SequenceNotAssigned,
  Target
} from "./MsgStoreError.ts"
import type { QueueRecord, QueueStatus, SenderView } from "./Queue.ts"
import { RecipientId, SenderId } from "./QueueId.ts"

/** A message whose defaults are filled in. The driver owns `body`. */
export interface StampedMessage {
  readonly id: MessageId
  readonly timestamp: number
  readonly notify: boolean
  readonly body: Uint8Array
}

/** A message and the queue it goes to. */
export interface StampedItem {
  readonly target: Target
  readonly message: StampedMessage
}

/**
 * One method per operation of the contract whose atomicity matters; `MsgStore` says what each means. All times are
 * milliseconds since the epoch. An entry that is handed out belongs to the caller.
 */
export interface MsgStoreDriver {
  readonly createQueue: (
    queue: {
      readonly recipientId: RecipientId
      readonly senderId: SenderId
      readonly quota: number | undefined
      readonly status: QueueStatus
    },
    now: number
  ) => Effect.Effect<QueueRecord, QueueIdTaken | MsgStoreError>
  readonly getQueue: (recipientId: RecipientId) => Effect.Effect<QueueRecord, QueueNotFound | MsgStoreError>
  readonly getSender: (senderId: SenderId) => Effect.Effect<SenderView, QueueNotFound | MsgStoreError>
  readonly setQueueStatus: (
    recipientId: RecipientId,
    status: QueueStatus,
    now: number
  ) => Effect.Effect<QueueRecord, QueueNotFound | MsgStoreError>
  readonly setQuota: (
    recipientId: RecipientId,
    quota: number | undefined,
    now: number
  ) => Effect.Effect<QueueRecord, QueueNotFound | MsgStoreError>
  readonly deleteQueue: (recipientId: RecipientId, now: number) => Effect.Effect<number, QueueNotFound | MsgStoreError>
  readonly write: (
    item: StampedItem,
    defaultQuota: number
  ) => Effect.Effect<WriteOutcome, QueueNotFound | QueueSuspended | MsgStoreError>
  /** One result per item, in the same order. */
  readonly writeMany: (
    items: ReadonlyArray<StampedItem>,
    defaultQuota: number
  ) => Effect.Effect<ReadonlyArray<Result.Result<WriteOutcome, QueueNotFound | QueueSuspended>>, MsgStoreError>
  readonly peek: (recipientId: RecipientId) => Effect.Effect<Option.Option<Entry>, QueueNotFound | MsgStoreError>
  /** Up to `limit` entries with a sequence above `after`, as long as their bodies fit `maxBytes`, but always the first. */
  readonly peekBatch: (
    recipientId: RecipientId,
    range: { readonly limit: number; readonly after: bigint; readonly maxBytes: number }
  ) => Effect.Effect<Array<Entry>, QueueNotFound | MsgStoreError>
  readonly acknowledge: (
    recipientId: RecipientId,
    messageId: MessageId
  ) => Effect.Effect<Option.Option<Entry>, QueueNotFound | MsgStoreError>
  readonly acknowledgeAndPeek: (
    recipientId: RecipientId,
    messageId: MessageId
  ) => Effect.Effect<AcknowledgedAndNext, QueueNotFound | MsgStoreError>
  readonly acknowledgeThroughMessage: (
    recipientId: RecipientId,
    messageId: MessageId
  ) => Effect.Effect<number, QueueNotFound | MsgStoreError>
  readonly acknowledgeThroughSequence: (
    recipientId: RecipientId,
    sequence: bigint
  ) => Effect.Effect<number, QueueNotFound | SequenceNotAssigned | MsgStoreError>
  readonly size: (recipientId: RecipientId) => Effect.Effect<number, QueueNotFound | MsgStoreError>
  readonly deleteExpired: (
    recipientId: RecipientId,
    before: number
  ) => Effect.Effect<number, QueueNotFound | MsgStoreError>
  /**
   * Registers a reader of a queue, who looks afterwards and then waits. The answered effect completes when the queue may
   * have a head with at least this sequence, or may be gone; early or for nothing is fine, never is not. Every wait counts
   * what happened since the registration, not since its own start.
   */
  readonly watch: (
    recipientId: RecipientId
  ) => Effect.Effect<(from: bigint) => Effect.Effect<void, MsgStoreError>, MsgStoreError, Scope.Scope>
  /** Expires batch after batch, in order of recipient ids; each element is a batch that has been applied. */
  readonly expireAll: (before: number, batchSize: number) => Stream.Stream<ExpiryCounts, MsgStoreError>
  /** Removes tombstones batch after batch; each element is the size of a batch that has been applied. */
  readonly compactDeleted: (before: number, batchSize: number) => Stream.Stream<number, MsgStoreError>
  readonly stats: Effect.Effect<Stats, MsgStoreError>
  /** Recounts batch after batch; each element is the report of one. */
  readonly recount: (batchSize: number, repair: boolean) => Stream.Stream<RecountReport, MsgStoreError>
  /** Pages of records in the order of rule 8.2; of at most so many records, and bodies of so many bytes, but at least one. */
  readonly exportLog: (
    page: { readonly limit: number; readonly maxBytes: number }
  ) => Stream.Stream<ReadonlyArray<LogRecord>, MsgStoreError>
  /** Runs an import in one transaction, which commits if `use` succeeds and leaves nothing otherwise. */
  readonly importLog: <A, E, R>(
    use: (session: ImportSession) => Effect.Effect<A, E, R>
  ) => Effect.Effect<A, E | MsgStoreError, R>
}

/** A queue as a log has it. */
export interface LogQueue {
  readonly recipientId: RecipientId
  readonly senderId: SenderId
  readonly quota: number | undefined
  readonly status: QueueStatus
  readonly createdAt: number
  readonly updatedAt: number
  readonly nextSequence: bigint
}

/** A queue, or an entry of one. An entry whose format has no sequences has sequence 0. */
export type LogRecord =
  | { readonly _tag: "Queue"; readonly queue: LogQueue }
  | { readonly _tag: "Entry"; readonly recipientId: RecipientId; readonly entry: Entry }

/** Which records of a page were refused, by position, and why. */
export type Refusals = ReadonlyArray<{ readonly index: number; readonly reason: "QueueNotFound" | "QueueConflict" }>

/** An import under way: records are staged page by page, and applied at the end by rule 8.5. */
export interface ImportSession {
  /**
   * Takes a page of records in the order of the file. They are lent, with their bodies, until this has answered. The answered
   * effect says which of them were refused, once that is known: some more pages may be staged before it is asked.
   */
  readonly stage: (
    records: ReadonlyArray<LogRecord>
  ) => Effect.Effect<Effect.Effect<Refusals, MsgStoreError>, MsgStoreError>
  /** Applies what was staged, once, as the last step. */
  readonly merge: (defaultQuota: number) => Effect.Effect<
    {
      readonly queuesCreated: number
      readonly queuesExisting: number
      readonly messages: number
      readonly duplicates: number
      readonly latchedQueues: number
    },
    MsgStoreError
  >
}

// Trap: one counter under several `Metric.withAttributes` caches one key, which is made anew (sorted and serialised)
// whenever they take turns: a tenth of the time of writing and acknowledging in turn. So each has a counter of its own.
const calls = (operation: string, result: "success" | "failure") =>
  Metric.counter("restante_msg_store_calls", {
    description: "Calls of MsgStore operations, by operation and result",
    incremental: true,
    attributes: { operation, result }
  })

/**
 * Counts how calls of one operation end. The attributes hold no id: metrics are read by people who may not read queues.
 *
 * Every call pays for it, so it runs no effect of its own. With `Effect.onExit`, `Metric.update` and one counter for all,
 * what a store pays for a write and an acknowledgement besides the driver was 0.75 of two bare `TxRef.modify`; now 0.28.
 */
const counted = (operation: string) => {
  const succeeded = calls(operation, "success")
  const failed = calls(operation, "failure")
  const count = (exit: Exit.Exit<unknown, unknown>): undefined => {
    const fiber = Fiber.getCurrent()
    if (fiber !== undefined) (Exit.isSuccess(exit) ? succeeded : failed).updateUnsafe(1, fiber.context)
  }
  return <A, E, R>(call: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> => Effect.onExitPrimitive(call, count)
}

/** Reads the clock of the calling fiber, per call (spec 2.5). */
const withClock = <A, E>(call: (now: number) => Effect.Effect<A, E>): Effect.Effect<A, E> =>
  Effect.clockWith((clock) => call(Math.floor(clock.currentTimeMillisUnsafe())))

/** Makes the call unless there is a problem with its arguments. */
const unless = <P, A, E, R>(problem: P | undefined, call: () => Effect.Effect<A, E, R>): Effect.Effect<A, E | P, R> =>
  problem === undefined ? call() : Effect.fail(problem)

/** A stream of a reader, whose recipient id is checked when it runs. */
const ofReader = <A, E>(
  recipientId: RecipientId,
  stream: () => Stream.Stream<A, E>
): Stream.Stream<A, E | InvalidArgument> => {
  const problem = Arguments.recipientId(recipientId)
  return problem === undefined ? stream() : Stream.fail(problem)
}

/** How often a generated id that is taken is drawn again (spec 2.2). */
const redraws = 3

/** The `MsgStore` of a driver. Fails with `InvalidArgument` when a limit is out of bounds. */
export const makeStore = (
  driver: MsgStoreDriver,
  limits: Limits
): Effect.Effect<MsgStore["Service"], InvalidArgument> =>
  Effect.map(Arguments.limits(limits), (limits): MsgStore["Service"] => {
    const { defaultQuota, maxBatchBytes, maxBatchItems, maxBodyBytes } = limits

    /** An operation of a reader: checks the recipient id and what else it takes, then calls. */
    const byRecipient = <A, B, E>(
      operation: string,
      check: (argument: A) => InvalidArgument | undefined,
      call: (recipientId: RecipientId, argument: A) => Effect.Effect<B, E>
    ) => {
      const count = counted(operation)
      return (recipientId: RecipientId, argument: A): Effect.Effect<B, E | InvalidArgument> =>
        count(unless(Arguments.recipientId(recipientId) ?? check(argument), () => call(recipientId, argument)))
    }

    const draw = (
      queue: { readonly quota: number | undefined; readonly status: QueueStatus },
      ids: { readonly recipientId: RecipientId | undefined; readonly senderId: SenderId | undefined },
      now: number,
      attempt: number
    ): Effect.Effect<QueueRecord, QueueIdTaken | InvalidArgument | MsgStoreError> =>
      Effect.flatMap(
        Effect.all([
          ids.recipientId === undefined ? RecipientId.random : Effect.succeed(ids.recipientId),
          ids.senderId === undefined ? SenderId.random : Effect.succeed(ids.senderId)
        ]),
        ([recipientId, senderId]) =>
          Effect.catchTag(
            driver.createQueue({ ...queue, recipientId, senderId }, now),
            "QueueIdTaken",
            (error) => ids[error.field] === undefined && attempt < redraws ? draw(queue, ids, now, attempt + 1) : error
          )
      )

    const countGetQueue = counted("getQueue")
    const countCreateQueue = counted("createQueue")
    const countWrite = counted("write")
    const countWriteMany = counted("writeMany")
    const countExpireAll = counted("expireAll")
    const countCompactDeleted = counted("compactDeleted")
    const countRecount = counted("recount")
    const countImportLog = counted("importLog")

    function getQueue(
      target: { readonly recipientId: RecipientId }
    ): Effect.Effect<QueueRecord, QueueNotFound | InvalidArgument | MsgStoreError>
    function getQueue(
      target: { readonly senderId: SenderId }
    ): Effect.Effect<SenderView, QueueNotFound | InvalidArgument | MsgStoreError>
    function getQueue(
      target: Target
    ): Effect.Effect<QueueRecord | SenderView, QueueNotFound | InvalidArgument | MsgStoreError> {
      const find = (): Effect.Effect<QueueRecord | SenderView, QueueNotFound | MsgStoreError> =>
        "senderId" in target ? driver.getSender(target.senderId) : driver.getQueue(target.recipientId)
      return countGetQueue(unless(Arguments.target(target, "target"), find))
    }

    const peek = byRecipient("peek", Arguments.none, driver.peek)

    const acknowledge = byRecipient("acknowledge", Arguments.messageId, driver.acknowledge)

    const acknowledgeThrough = byRecipient(
      "acknowledgeThrough",
      Arguments.through,
      (recipientId, through): Effect.Effect<number, QueueNotFound | SequenceNotAssigned | MsgStoreError> =>
        typeof through === "string"
          ? driver.acknowledgeThroughMessage(recipientId, through)
          : driver.acknowledgeThroughSequence(recipientId, through.sequence)
    )

    const peekBatch = byRecipient(
      "peekBatch",
      (range: PeekRange) => Arguments.range(range, maxBatchItems),
      (recipientId, { after, limit }) =>
        driver.peekBatch(recipientId, { limit, after: after ?? 0n, maxBytes: maxBatchBytes })
    )

    return {
      createQueue: (queue = {}) =>
        countCreateQueue(unless(Arguments.newQueue(queue), () =>
          withClock((now) =>
            draw(
              { quota: queue.quota, status: queue.status ?? "active" },
              { recipientId: queue.recipientId, senderId: queue.senderId },
              now,
              0
            )
          ))),

      getQueue,

      setQueueStatus: byRecipient(
        "setQueueStatus",
        Arguments.status,
        (recipientId, status) => withClock((now) => driver.setQueueStatus(recipientId, status, now))
      ),

      setQuota: byRecipient(
        "setQuota",
        Arguments.quota,
        (recipientId, quota) => withClock((now) => driver.setQuota(recipientId, quota, now))
      ),

      deleteQueue: byRecipient(
        "deleteQueue",
        Arguments.none,
        (recipientId) => withClock((now) => driver.deleteQueue(recipientId, now))
      ),

      write: (target, message) =>
        countWrite(unless(
          Arguments.target(target, "target") ??
            Arguments.message(message, "message") ??
            Arguments.bodySize(message, maxBodyBytes),
          () => {
            const own = Arguments.copy(message)
            return withClock((now) => driver.write({ target, message: Arguments.stamp(own, now) }, defaultQuota))
          }
        )),

      writeMany: (iterable) => {
        // Read and copied when it is called, not when it runs: an iterable may be good for one reading only, and a call
        // that is repeated must write the same.
        const items = Arguments.items(iterable)
        return countWriteMany(unless(Arguments.batch(items, limits), () => {
          const all = items ?? []
          const tooLarge = all.map((item) => Arguments.bodySize(item.message, maxBodyBytes))
          const fitting = all.filter((_, i) => tooLarge[i] === undefined).map(({ message, target }) => ({
            target,
            message: Arguments.copy(message)
          }))
          const store = fitting.length === 0 ? Effect.succeed([]) : withClock((now) =>
            driver.writeMany(
              fitting.map(({ message, target }) => ({ target, message: Arguments.stamp(message, now) })),
              defaultQuota
            )
          )
          return Effect.map(store, (results) => {
            let next = 0
            return tooLarge.map((failure): Result.Result<WriteOutcome, WriteFailure> =>
              failure === undefined ? Arr.getUnsafe(results, next++) : Result.fail(failure)
            )
          })
        }))
      },

      peek,

      peekBatch,

      acknowledge,

      acknowledgeAndPeek: byRecipient("acknowledgeAndPeek", Arguments.messageId, driver.acknowledgeAndPeek),

      acknowledgeThrough,

      size: byRecipient("size", Arguments.none, driver.size),

      deleteExpired: byRecipient(
        "deleteExpired",
        (before: number) => Arguments.time(before, "before"),
        driver.deleteExpired
      ),

      expireAll: (options) =>
        countExpireAll(unless(Arguments.expireOptions(options), () => {
          const { batchSize = Arguments.defaultBatchSize, before, onProgress } = options
          return Stream.runFoldEffect(
            driver.expireAll(before, batchSize),
            (): ExpiryCounts => ({ visited: 0, expired: 0, skipped: 0, failed: 0 }),
            (sum, batch) => {
              const counts = {
                visited: sum.visited + batch.visited,
                expired: sum.expired + batch.expired,
                skipped: sum.skipped + batch.skipped,
                failed: sum.failed + batch.failed
              }
              return onProgress === undefined ? Effect.succeed(counts) : Effect.as(onProgress(counts), counts)
            }
          )
        })),

      compactDeleted: (options) =>
        countCompactDeleted(unless(Arguments.compactOptions(options), () =>
          Stream.runFold(
            driver.compactDeleted(options.before, options.batchSize ?? Arguments.defaultBatchSize),
            () => 0,
            (sum, batch) => sum + batch
          ))),

      stats: counted("stats")(driver.stats),

      recount: (options = {}) =>
        countRecount(unless(Arguments.recountOptions(options), () =>
          Effect.map(
            Stream.runCollect(
              driver.recount(options.batchSize ?? Arguments.defaultBatchSize, options.repair ?? true)
            ),
            (batches): RecountReport => ({
              checked: batches.reduce((sum, { checked }) => sum + checked, 0),
              drifted: batches.flatMap(({ drifted }) => drifted),
              repaired: batches.reduce((sum, { repaired }) => sum + repaired, 0),
              violations: batches.flatMap(({ violations }) => violations)
            })
          ))),

      arrivals: (recipientId) => ofReader(recipientId, () => Arrivals.arrivals(driver, recipientId)),

      receive: (recipientId) =>
        ofReader(recipientId, () => Arrivals.receive(driver, { acknowledge, acknowledgeThrough, peek }, recipientId)),

      // Up to what was there at the start: a reader slower than the writer would never come to an end.
      messages: (recipientId) =>
        Stream.unwrap(
          Effect.map(getQueue({ recipientId }), ({ nextSequence }) =>
            Stream.paginate(0n, (after: bigint) =>
              Effect.map(peekBatch(recipientId, { limit: maxBatchItems, after }), (page) =>
                Arguments.pageBelow(page, nextSequence))))
        ),

      exportLog: (options = {}) => {
        const problem = Arguments.exportOptions(options)
        return problem === undefined
          ? Export.exportLog(driver, codecs[options.format ?? "restante"], maxBatchBytes, options.onProgress)
          : Stream.fail(problem)
      },

      importLog: (bytes, options = {}) =>
        countImportLog(
          unless(Arguments.importOptions(bytes, options), () =>
            driver.importLog((session) =>
              Import.importLog(session, bytes, {
                codec: codecs[options.format ?? "restante"],
                isStrict: options.mode === "strict",
                maxBytes: maxBatchBytes,
                defaultQuota,
                rejects: options.rejects,
                onProgress: options.onProgress
              })
            ))
        )
    }
  })

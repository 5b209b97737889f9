/**
 * The bounds of section 2 of the specification, checked before the store is contacted. A check answers the problem, or
 * `undefined` if there is none. It stands in front of every operation, so it costs nanoseconds and builds nothing.
 */
import { Effect, Option, Predicate, Result, Stream } from "effect"
import { InvalidArgument } from "../../InvalidArgument.ts"
import type { CompactOptions, ExpireOptions, RecountOptions } from "../../Maintenance.ts"
import type { Entry, NewMessage } from "../../Message.ts"
import { hardBodyLimit, MessageId } from "../../Message.ts"
import type { ExportOptions, ImportOptions } from "../../MessageLog.ts"
import type { Limits, PeekRange, Through, WriteItem } from "../../MsgStore.ts"
import type { StampedMessage } from "../../MsgStoreDriver.ts"
import type { Target } from "../../MsgStoreError.ts"
import { MessageTooLarge } from "../../MsgStoreError.ts"
import type { NewQueue, QueueStatus } from "../../Queue.ts"
import { RecipientId, SenderId } from "../../QueueId.ts"

type Problem = InvalidArgument | undefined

const maxQuota = 2_147_483_647
const maxSequence = 2n ** 63n - 1n

const idForm = "must be 1 to 64 bytes, written as unpadded base64url"
const timeForm = "must be an integer number of milliseconds since the epoch, from 0 to 2^53 - 1"

const isIntegerBetween = (value: unknown, minimum: number, maximum: number): boolean =>
  Number.isSafeInteger(value) && Number(value) >= minimum && Number(value) <= maximum

const integer = (value: unknown, field: string, minimum: number, maximum: number): Problem =>
  isIntegerBetween(value, minimum, maximum)
    ? undefined
    : new InvalidArgument({ field, problem: `must be an integer from ${minimum} to ${maximum}` })

export const recipientId = (id: unknown): Problem =>
  RecipientId.is(id) ? undefined : new InvalidArgument({ field: "recipientId", problem: idForm })

/** For an operation that takes nothing else. */
export const none = (_argument: void): Problem => undefined

// The types forbid most of what is checked here; callers in JavaScript, and casts, do not know that.

export const target = (target: Target, field: string): Problem => {
  if (!Predicate.isObject(target)) {
    return new InvalidArgument({ field, problem: "must be an object with a senderId or a recipientId" })
  }
  if ("senderId" in target && "recipientId" in target) {
    return new InvalidArgument({ field, problem: "must have a senderId or a recipientId, not both" })
  }
  if ("senderId" in target) {
    return SenderId.is(target.senderId)
      ? undefined
      : new InvalidArgument({ field: `${field}.senderId`, problem: idForm })
  }
  return RecipientId.is(target.recipientId)
    ? undefined
    : new InvalidArgument({ field: `${field}.recipientId`, problem: idForm })
}

export const messageId = (id: MessageId, field = "messageId"): Problem =>
  MessageId.is(id) ? undefined : new InvalidArgument({ field, problem: idForm })

export const time = (value: unknown, field: string): Problem =>
  isIntegerBetween(value, 0, Number.MAX_SAFE_INTEGER)
    ? undefined
    : new InvalidArgument({ field, problem: timeForm })

const sequence = (value: unknown, field: string): Problem =>
  typeof value === "bigint" && value >= 0n && value <= maxSequence
    ? undefined
    : new InvalidArgument({ field, problem: "must be a bigint from 0 to 2^63 - 1" })

export const status = (value: QueueStatus): Problem =>
  value === "active" || value === "suspended"
    ? undefined
    : new InvalidArgument({ field: "status", problem: "must be 'active' or 'suspended'" })

export const quota = (value: number | undefined): Problem =>
  value === undefined ? undefined : integer(value, "quota", 0, maxQuota)

export const range = (range: PeekRange, maxBatchItems: number): Problem =>
  Predicate.isObject(range)
    ? integer(range.limit, "limit", 1, maxBatchItems) ?? sequence(range.after ?? 0n, "after")
    : new InvalidArgument({ field: "range", problem: "must be an object with a limit" })

export const through = (through: Through): Problem =>
  Predicate.isObject(through) ? sequence(through.sequence, "sequence") : messageId(through)

export const newQueue = (queue: NewQueue): Problem => {
  if (typeof queue !== "object" || queue === null) {
    return new InvalidArgument({ field: "queue", problem: "must be an object" })
  }
  const { senderId } = queue
  if (queue.recipientId !== undefined && !RecipientId.is(queue.recipientId)) {
    return new InvalidArgument({ field: "recipientId", problem: idForm })
  }
  if (senderId !== undefined && !SenderId.is(senderId)) {
    return new InvalidArgument({ field: "senderId", problem: idForm })
  }
  // The two are of different types, and still may carry the same bytes.
  if (senderId !== undefined && String(queue.recipientId) === String(senderId)) {
    return new InvalidArgument({ field: "senderId", problem: "must differ from the recipientId" })
  }
  return quota(queue.quota) ?? (queue.status === undefined ? undefined : status(queue.status))
}

export const message = (message: NewMessage, field: string): Problem => {
  if (!Predicate.isObject(message)) return new InvalidArgument({ field, problem: "must be an object with a body" })
  if (!(message.body instanceof Uint8Array)) {
    return new InvalidArgument({
      field: `${field}.body`,
      problem: "must be a Uint8Array; Message.fromText makes a message of a text"
    })
  }
  return (message.id === undefined ? undefined : messageId(message.id, `${field}.id`)) ??
    (message.timestamp === undefined ? undefined : time(message.timestamp, `${field}.timestamp`)) ??
    (message.notify === undefined || typeof message.notify === "boolean"
      ? undefined
      : new InvalidArgument({ field: `${field}.notify`, problem: "must be a boolean" }))
}

export const bodySize = (message: NewMessage, maxBodyBytes: number): MessageTooLarge | undefined =>
  message.body.length <= maxBodyBytes
    ? undefined
    : new MessageTooLarge({ size: message.body.length, limit: maxBodyBytes })

/** How many queues are handled together where nothing else is asked. */
export const defaultBatchSize = 100

const batchSize = (value: number | undefined): Problem =>
  value === undefined ? undefined : integer(value, "batchSize", 1, 10_000)

const options = (options: unknown): Problem =>
  Predicate.isObject(options) ? undefined : new InvalidArgument({ field: "options", problem: "must be an object" })

const callback = (value: unknown, field: string): Problem =>
  value === undefined || typeof value === "function"
    ? undefined
    : new InvalidArgument({ field, problem: "must be a function" })

export const compactOptions = (given: CompactOptions): Problem =>
  options(given) ?? time(given.before, "before") ?? batchSize(given.batchSize)

export const expireOptions = (given: ExpireOptions): Problem =>
  compactOptions(given) ??
    callback(given.onProgress, "onProgress")

export const recountOptions = (given: RecountOptions): Problem =>
  options(given) ?? batchSize(given.batchSize) ??
    (given.repair === undefined || typeof given.repair === "boolean"
      ? undefined
      : new InvalidArgument({ field: "repair", problem: "must be a boolean" }))

const format = (value: unknown): Problem =>
  value === undefined || value === "restante" || value === "simplex-v3"
    ? undefined
    : new InvalidArgument({ field: "format", problem: "must be 'restante' or 'simplex-v3'" })

export const exportOptions = (given: ExportOptions): Problem =>
  options(given) ?? format(given.format) ?? callback(given.onProgress, "onProgress")

export const importOptions = (bytes: unknown, given: ImportOptions<unknown, unknown>): Problem => {
  if (!Stream.isStream(bytes)) return new InvalidArgument({ field: "bytes", problem: "must be a stream" })
  const problem = options(given)
  if (problem !== undefined) return problem
  const { format: name, mode, onProgress, rejects } = given
  return format(name) ??
    (mode === undefined || mode === "tolerant" || mode === "strict"
      ? undefined
      : new InvalidArgument({ field: "mode", problem: "must be 'tolerant' or 'strict'" })) ??
    callback(rejects, "rejects") ?? callback(onProgress, "onProgress")
}

/** The items of a batch, read once; `undefined` if they are none. */
export const items = (items: Iterable<WriteItem>): ReadonlyArray<WriteItem> | undefined =>
  Predicate.isIterable(items) ? Array.from(items) : undefined

export const batch = (items: ReadonlyArray<WriteItem> | undefined, limits: ResolvedLimits): Problem => {
  if (items === undefined) return new InvalidArgument({ field: "items", problem: "must be an iterable of items" })
  if (items.length > limits.maxBatchItems) {
    return new InvalidArgument({ field: "items", problem: `must be at most ${limits.maxBatchItems}` })
  }
  let bytes = 0
  for (const [i, item] of items.entries()) {
    if (!Predicate.isObject(item)) {
      return new InvalidArgument({ field: `items[${i}]`, problem: "must be an object with a target and a message" })
    }
    const problem = target(item.target, `items[${i}].target`) ?? message(item.message, `items[${i}].message`)
    if (problem !== undefined) return problem
    if (item.message.body.length <= limits.maxBodyBytes) bytes += item.message.body.length
  }
  return bytes <= limits.maxBatchBytes
    ? undefined
    : new InvalidArgument({
      field: "items",
      problem: `must have bodies of at most ${limits.maxBatchBytes} bytes together`
    })
}

/** A message as it is now, with a body of its own: the caller may go on using the array, whenever the call runs. */
export const copy = ({ body, id, notify, timestamp }: NewMessage): NewMessage => ({
  id,
  timestamp,
  notify,
  // Trap: `slice` of a Node Buffer is a view of the same memory, not a copy.
  body: new Uint8Array(body)
})

/** Fills in the defaults, each time a call runs. */
export const stamp = (message: NewMessage, now: number): StampedMessage => ({
  id: message.id ?? MessageId.randomUnsafe(),
  timestamp: message.timestamp ?? now,
  notify: message.notify ?? false,
  body: message.body
})

/** The entries of a page below a sequence, and where the next page starts; nowhere once that sequence is reached. */
export const pageBelow = (
  page: ReadonlyArray<Entry>,
  end: bigint
): readonly [ReadonlyArray<Entry>, Option.Option<bigint>] => {
  const entries = page.filter((entry) => entry.sequence < end)
  const last = entries.at(-1)
  return [
    entries,
    last === undefined || entries.length < page.length ? Option.none() : Option.some(last.sequence)
  ]
}

export type ResolvedLimits = { readonly [K in keyof Limits]-?: NonNullable<Limits[K]> }

export const limits = (limits: Limits): Effect.Effect<ResolvedLimits, InvalidArgument> => {
  const maxBodyBytes = limits.maxBodyBytes ?? 65_536
  const resolved = {
    defaultQuota: limits.defaultQuota ?? 128,
    maxBodyBytes,
    maxBatchItems: limits.maxBatchItems ?? 1_000,
    maxBatchBytes: limits.maxBatchBytes ?? hardBodyLimit
  }
  const problem = integer(resolved.defaultQuota, "defaultQuota", 0, maxQuota) ??
    integer(maxBodyBytes, "maxBodyBytes", 0, hardBodyLimit) ??
    integer(resolved.maxBatchItems, "maxBatchItems", 1, maxQuota) ??
    integer(resolved.maxBatchBytes, "maxBatchBytes", maxBodyBytes, Number.MAX_SAFE_INTEGER)
  return Effect.fromResult(problem === undefined ? Result.succeed(resolved) : Result.fail(problem))
}

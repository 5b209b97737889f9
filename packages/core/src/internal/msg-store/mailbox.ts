/**
 * What the operations of `MsgStore` mean, as pure functions from a queue to an answer and a queue. Nothing here knows
 * Effect, id spaces or storage; it is section 4.2 of the specification, row by row, and small enough to be read as the
 * definition. PostgreSQL has to agree with it; the model in `@restante/conformance` judges both.
 */
import { HashMap, Option, Result } from "effect"
import type { Entry, MessageId } from "../../Message.ts"
import type { WriteOutcome } from "../../MsgStore.ts"
import type { StampedMessage } from "../../MsgStoreDriver.ts"
import { QueueSuspended, SequenceNotAssigned } from "../../MsgStoreError.ts"
import type { QueueStatus } from "../../Queue.ts"
import type { RecipientId, SenderId } from "../../QueueId.ts"
import * as Fifo from "./fifo.ts"

/** A live queue. `sequences` finds an entry by its id, so that repeated writes cost the same at any length. */
export interface Mailbox {
  readonly recipientId: RecipientId
  readonly senderId: SenderId
  readonly quota: number | undefined
  readonly status: QueueStatus
  readonly createdAt: number
  readonly updatedAt: number
  readonly entries: Fifo.Fifo<Entry>
  readonly sequences: HashMap.HashMap<MessageId, bigint>
  /** Id of the marker. There is one exactly while the queue is latched, and it is the last entry. */
  readonly marker: MessageId | undefined
  readonly nextSequence: bigint
}

/** What an operation answers, and the queue afterwards. */
export type Step<A> = [answer: A, next: Mailbox]

const noBytes = new Uint8Array(0)
const noSequences = HashMap.empty<MessageId, bigint>()

export const create = (queue: {
  readonly recipientId: RecipientId
  readonly senderId: SenderId
  readonly quota: number | undefined
  readonly status: QueueStatus
}, now: number): Mailbox => ({
  ...queue,
  createdAt: now,
  updatedAt: now,
  entries: Fifo.empty,
  sequences: noSequences,
  marker: undefined,
  nextSequence: 1n
})

const append = (box: Mailbox, entry: Entry): Mailbox => ({
  ...box,
  entries: Fifo.push(box.entries, entry),
  sequences: HashMap.set(box.sequences, entry.id, entry.sequence),
  marker: entry.kind === "quota" ? entry.id : box.marker,
  nextSequence: entry.sequence + 1n
})

/** Removing the last entry opens the latch; nothing else does. */
const removeHead = (box: Mailbox, head: Entry): Mailbox =>
  box.entries.size === 1
    ? { ...box, entries: Fifo.empty, sequences: noSequences, marker: undefined }
    : { ...box, entries: Fifo.pop(box.entries), sequences: HashMap.remove(box.sequences, head.id) }

/** Removes heads as long as they satisfy the predicate, and counts them. */
const removeWhile = (box: Mailbox, predicate: (entry: Entry) => boolean): Step<number> => {
  let rest = box
  for (let head = Fifo.peek(rest.entries); head !== undefined && predicate(head); head = Fifo.peek(rest.entries)) {
    rest = removeHead(rest, head)
  }
  return [box.entries.size - rest.entries.size, rest]
}

export const write = (
  box: Mailbox,
  message: StampedMessage,
  defaultQuota: number
): Step<Result.Result<WriteOutcome, QueueSuspended>> => {
  const stored = HashMap.get(box.sequences, message.id)
  if (Option.isSome(stored)) {
    return [
      Result.succeed(
        message.id === box.marker ? { _tag: "QuotaReached" } : { _tag: "AlreadyStored", sequence: stored.value }
      ),
      box
    ]
  }
  if (box.status === "suspended") return [Result.fail(new QueueSuspended()), box]
  if (box.marker !== undefined) return [Result.succeed({ _tag: "QuotaExceeded" }), box]
  const { id, timestamp } = message
  const sequence = box.nextSequence
  if (box.entries.size < (box.quota ?? defaultQuota)) {
    return [
      Result.succeed({ _tag: "Accepted", wasEmpty: box.entries.size === 0, sequence }),
      append(box, { kind: "message", id, timestamp, notify: message.notify, body: message.body, sequence })
    ]
  }
  return [
    Result.succeed({ _tag: "QuotaReached" }),
    append(box, { kind: "quota", id, timestamp, notify: false, body: noBytes, sequence })
  ]
}

export const peek = (box: Mailbox): Option.Option<Entry> => Option.fromUndefinedOr(Fifo.peek(box.entries))

export const peekBatch = (
  box: Mailbox,
  range: { readonly limit: number; readonly after: bigint; readonly maxBytes: number }
): Array<Entry> => {
  const batch: Array<Entry> = []
  let bytes = 0
  for (const entry of Fifo.values(box.entries)) {
    if (entry.sequence <= range.after) continue
    bytes += entry.body.length
    if (batch.length === range.limit || (batch.length > 0 && bytes > range.maxBytes)) break
    batch.push(entry)
  }
  return batch
}

export const acknowledge = (box: Mailbox, id: MessageId): Step<Option.Option<Entry>> => {
  const head = Fifo.peek(box.entries)
  return head === undefined || head.id !== id ? [Option.none(), box] : [Option.some(head), removeHead(box, head)]
}

export const acknowledgeThroughSequence = (
  box: Mailbox,
  sequence: bigint
): Step<Result.Result<number, SequenceNotAssigned>> => {
  if (sequence >= box.nextSequence) return [Result.fail(new SequenceNotAssigned({ next: box.nextSequence })), box]
  const [removed, next] = removeWhile(box, (entry) => entry.sequence <= sequence)
  return [Result.succeed(removed), next]
}

export const acknowledgeThroughMessage = (box: Mailbox, id: MessageId): Step<number> => {
  const stored = HashMap.get(box.sequences, id)
  return Option.isNone(stored) ? [0, box] : removeWhile(box, (entry) => entry.sequence <= stored.value)
}

/** The marker is the last entry, so stopping at it keeps it. */
export const deleteExpired = (box: Mailbox, before: number): Step<number> =>
  removeWhile(box, (entry) => entry.kind === "message" && entry.timestamp < before)

export const setStatus = (box: Mailbox, status: QueueStatus, now: number): Mailbox =>
  box.status === status ? box : { ...box, status, updatedAt: now }

export const setQuota = (box: Mailbox, quota: number | undefined, now: number): Mailbox =>
  box.quota === quota ? box : { ...box, quota, updatedAt: now }

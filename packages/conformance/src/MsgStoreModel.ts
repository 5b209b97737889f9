/**
 * The naive reference model of `MsgStore`: arrays, loops and mutable fields. It shares nothing with any backend but the
 * types of the contract, and it is the judge of all of them. It reads like table 4.2 of spec/msg-store.md and is meant to
 * be checked against it by eye; nothing here is fast and nothing is clever.
 *
 * The time is an argument, ids are always given, and failures are plain values. Bounds of arguments are not its business,
 * except for the two that are rules of an operation: the size of a body and the size of a batch.
 */
import type { Message, MessageId, MsgStore, MsgStoreError, Queue, RecipientId, SenderId } from "restante"

/** A message whose defaults are filled in. */
export interface ModelMessage {
  readonly id: MessageId
  readonly timestamp: number
  readonly notify: boolean
  readonly body: Uint8Array
}

/** A message and the queue it goes to. */
export interface ModelItem {
  readonly target: MsgStoreError.Target
  readonly message: ModelMessage
}

/** What an operation can fail with: the fields of the errors of the contract. */
export type ModelFailure =
  | { readonly _tag: "QueueNotFound"; readonly target: MsgStoreError.Target }
  | { readonly _tag: "QueueIdTaken"; readonly field: "recipientId" | "senderId" }
  | { readonly _tag: "QueueSuspended" }
  | { readonly _tag: "MessageTooLarge"; readonly size: number; readonly limit: number }
  | { readonly _tag: "SequenceNotAssigned"; readonly next: bigint }
  | { readonly _tag: "InvalidArgument"; readonly field: string }

/** How a call ended. */
export type ModelAnswer<A> = { readonly success: A } | { readonly failure: ModelFailure }

/** A queue that is live, or was: a deleted one keeps its ids and nothing else. */
export interface ModelQueue {
  readonly recipientId: RecipientId
  readonly senderId: SenderId
  quota: number | undefined
  status: Queue.QueueStatus
  entries: Array<Message.Entry>
  latched: boolean
  nextSequence: bigint
  readonly createdAt: number
  updatedAt: number
  deleted: boolean
}

const succeeded = <A>(success: A): ModelAnswer<A> => ({ success })
const failed = (failure: ModelFailure): { readonly failure: ModelFailure } => ({ failure })

export class MsgStoreModel {
  readonly limits: Required<{ readonly [K in keyof MsgStore.Limits]: number }>
  readonly queues: Array<ModelQueue> = []

  constructor(limits: MsgStore.Limits = {}) {
    this.limits = {
      defaultQuota: limits.defaultQuota ?? 128,
      maxBodyBytes: limits.maxBodyBytes ?? 65_536,
      maxBatchItems: limits.maxBatchItems ?? 1_000,
      maxBatchBytes: limits.maxBatchBytes ?? 8_388_608
    }
  }

  createQueue(
    queue: {
      readonly recipientId: RecipientId
      readonly senderId: SenderId
      readonly quota?: number | undefined
      readonly status?: Queue.QueueStatus | undefined
    },
    now: number
  ): ModelAnswer<Queue.QueueRecord> {
    for (const other of this.queues) {
      if (other.recipientId === queue.recipientId && other.senderId === queue.senderId && !other.deleted) {
        return succeeded(this.record(other))
      }
    }
    for (const other of this.queues) {
      if (other.recipientId === queue.recipientId) return failed({ _tag: "QueueIdTaken", field: "recipientId" })
    }
    for (const other of this.queues) {
      if (other.senderId === queue.senderId) return failed({ _tag: "QueueIdTaken", field: "senderId" })
    }
    const created: ModelQueue = {
      recipientId: queue.recipientId,
      senderId: queue.senderId,
      quota: queue.quota,
      status: queue.status ?? "active",
      entries: [],
      latched: false,
      nextSequence: 1n,
      createdAt: now,
      updatedAt: now,
      deleted: false
    }
    this.queues.push(created)
    return succeeded(this.record(created))
  }

  getQueue(target: MsgStoreError.Target): ModelAnswer<Queue.QueueRecord | Queue.SenderView> {
    const queue = this.find(target)
    if (queue === undefined) return failed({ _tag: "QueueNotFound", target })
    if ("senderId" in target) return succeeded({ senderId: queue.senderId, status: queue.status })
    return succeeded(this.record(queue))
  }

  setQueueStatus(recipientId: RecipientId, status: Queue.QueueStatus, now: number): ModelAnswer<Queue.QueueRecord> {
    const queue = this.find({ recipientId })
    if (queue === undefined) return failed({ _tag: "QueueNotFound", target: { recipientId } })
    if (queue.status !== status) {
      queue.status = status
      queue.updatedAt = now
    }
    return succeeded(this.record(queue))
  }

  setQuota(recipientId: RecipientId, quota: number | undefined, now: number): ModelAnswer<Queue.QueueRecord> {
    const queue = this.find({ recipientId })
    if (queue === undefined) return failed({ _tag: "QueueNotFound", target: { recipientId } })
    if (queue.quota !== quota) {
      queue.quota = quota
      queue.updatedAt = now
    }
    return succeeded(this.record(queue))
  }

  deleteQueue(recipientId: RecipientId): ModelAnswer<number> {
    const queue = this.find({ recipientId })
    if (queue === undefined) return failed({ _tag: "QueueNotFound", target: { recipientId } })
    const discarded = queue.entries.length
    queue.deleted = true
    queue.entries = []
    return succeeded(discarded)
  }

  write(target: MsgStoreError.Target, message: ModelMessage): ModelAnswer<MsgStore.WriteOutcome> {
    const limit = this.limits.maxBodyBytes
    if (message.body.length > limit) return failed({ _tag: "MessageTooLarge", size: message.body.length, limit })
    const queue = this.find(target)
    if (queue === undefined) return failed({ _tag: "QueueNotFound", target })
    return this.writeTo(queue, message)
  }

  /** The rows of `write` in table 4.2, from top to bottom. */
  writeTo(queue: ModelQueue, message: ModelMessage): ModelAnswer<MsgStore.WriteOutcome> {
    for (const entry of queue.entries) {
      if (entry.id !== message.id) continue
      if (entry.kind === "message") return succeeded({ _tag: "AlreadyStored", sequence: entry.sequence })
      return succeeded({ _tag: "QuotaReached" })
    }
    if (queue.status === "suspended") return failed({ _tag: "QueueSuspended" })
    if (queue.latched) return succeeded({ _tag: "QuotaExceeded" })
    if (this.hasRoom(queue)) {
      const wasEmpty = queue.entries.length === 0
      const sequence = this.append(queue, this.stored(message))
      return succeeded({ _tag: "Accepted", wasEmpty, sequence })
    }
    this.append(queue, this.marker(message))
    queue.latched = true
    return succeeded({ _tag: "QuotaReached" })
  }

  writeMany(items: ReadonlyArray<ModelItem>): ModelAnswer<Array<ModelAnswer<MsgStore.WriteOutcome>>> {
    if (items.length > this.limits.maxBatchItems) return failed({ _tag: "InvalidArgument", field: "items" })
    let bytes = 0
    for (const { message } of items) {
      if (message.body.length <= this.limits.maxBodyBytes) bytes += message.body.length
    }
    if (bytes > this.limits.maxBatchBytes) return failed({ _tag: "InvalidArgument", field: "items" })
    const results: Array<ModelAnswer<MsgStore.WriteOutcome>> = []
    for (const { message, target } of items) results.push(this.write(target, message))
    return succeeded(results)
  }

  peek(recipientId: RecipientId): ModelAnswer<Message.Entry | undefined> {
    const queue = this.find({ recipientId })
    if (queue === undefined) return failed({ _tag: "QueueNotFound", target: { recipientId } })
    return succeeded(queue.entries[0])
  }

  peekBatch(recipientId: RecipientId, range: MsgStore.PeekRange): ModelAnswer<Array<Message.Entry>> {
    const queue = this.find({ recipientId })
    if (queue === undefined) return failed({ _tag: "QueueNotFound", target: { recipientId } })
    const batch: Array<Message.Entry> = []
    let bytes = 0
    for (const entry of queue.entries) {
      if (range.after !== undefined && entry.sequence <= range.after) continue
      if (batch.length === range.limit) break
      if (batch.length > 0 && bytes + entry.body.length > this.limits.maxBatchBytes) break
      bytes += entry.body.length
      batch.push(entry)
    }
    return succeeded(batch)
  }

  acknowledge(recipientId: RecipientId, messageId: MessageId): ModelAnswer<Message.Entry | undefined> {
    const queue = this.find({ recipientId })
    if (queue === undefined) return failed({ _tag: "QueueNotFound", target: { recipientId } })
    return succeeded(queue.entries[0]?.id === messageId ? this.removeFirst(queue) : undefined)
  }

  acknowledgeAndPeek(
    recipientId: RecipientId,
    messageId: MessageId
  ): ModelAnswer<{ readonly acknowledged: Message.Entry | undefined; readonly next: Message.Entry | undefined }> {
    const queue = this.find({ recipientId })
    if (queue === undefined) return failed({ _tag: "QueueNotFound", target: { recipientId } })
    const acknowledged = queue.entries[0]?.id === messageId ? this.removeFirst(queue) : undefined
    return succeeded({ acknowledged, next: queue.entries[0] })
  }

  acknowledgeThrough(recipientId: RecipientId, through: MsgStore.Through): ModelAnswer<number> {
    const queue = this.find({ recipientId })
    if (queue === undefined) return failed({ _tag: "QueueNotFound", target: { recipientId } })
    let last = 0n
    if (typeof through === "string") {
      for (const entry of queue.entries) {
        if (entry.id === through) last = entry.sequence
      }
    } else {
      if (through.sequence >= queue.nextSequence) {
        return failed({ _tag: "SequenceNotAssigned", next: queue.nextSequence })
      }
      last = through.sequence
    }
    let removed = 0
    while (queue.entries[0] !== undefined && queue.entries[0].sequence <= last) {
      this.removeFirst(queue)
      removed++
    }
    return succeeded(removed)
  }

  size(recipientId: RecipientId): ModelAnswer<number> {
    const queue = this.find({ recipientId })
    if (queue === undefined) return failed({ _tag: "QueueNotFound", target: { recipientId } })
    return succeeded(queue.entries.length)
  }

  /** Rule 4.10: the ordinary messages in front of the first fresh one go, and the marker never does. */
  deleteExpired(recipientId: RecipientId, before: number): ModelAnswer<number> {
    const queue = this.find({ recipientId })
    if (queue === undefined) return failed({ _tag: "QueueNotFound", target: { recipientId } })
    let removed = 0
    while (queue.entries[0] !== undefined && queue.entries[0].kind === "message") {
      if (queue.entries[0].timestamp >= before) break
      this.removeFirst(queue)
      removed++
    }
    return succeeded(removed)
  }

  /** The live queue that is meant, if there is one. */
  find(target: MsgStoreError.Target): ModelQueue | undefined {
    for (const queue of this.queues) {
      if (queue.deleted) continue
      if ("senderId" in target ? queue.senderId === target.senderId : queue.recipientId === target.recipientId) {
        return queue
      }
    }
    return undefined
  }

  record(queue: ModelQueue): Queue.QueueRecord {
    const { createdAt, latched, nextSequence, recipientId, senderId, status, updatedAt } = queue
    const size = queue.entries.length
    const first = queue.entries[0]
    return {
      recipientId,
      senderId,
      status,
      size,
      latched,
      nextSequence,
      createdAt,
      updatedAt,
      ...(queue.quota === undefined ? {} : { quota: queue.quota }),
      ...(first === undefined ? {} : { firstSequence: first.sequence })
    }
  }

  hasRoom(queue: ModelQueue): boolean {
    return queue.entries.length < (queue.quota ?? this.limits.defaultQuota)
  }

  stored(message: ModelMessage): Omit<Message.StoredMessage, "sequence"> {
    const { body, id, notify, timestamp } = message
    return { kind: "message", id, timestamp, notify, body }
  }

  marker(message: ModelMessage): Omit<Message.QuotaMarker, "sequence"> {
    return { kind: "quota", id: message.id, timestamp: message.timestamp, notify: false, body: new Uint8Array(0) }
  }

  append(queue: ModelQueue, entry: Omit<Message.StoredMessage, "sequence"> | Omit<Message.QuotaMarker, "sequence">) {
    const sequence = queue.nextSequence
    queue.nextSequence = sequence + 1n
    queue.entries.push({ ...entry, sequence })
    return sequence
  }

  /** Rule 4.1: any removal that leaves the queue empty opens the latch, and nothing else does. */
  removeFirst(queue: ModelQueue): Message.Entry | undefined {
    const first = queue.entries.shift()
    if (queue.entries.length === 0) queue.latched = false
    return first
  }
}

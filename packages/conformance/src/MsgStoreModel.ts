/**
 * The naive reference model of `MsgStore`: arrays, loops and mutable fields. It shares nothing with any backend but the
 * types of the contract, and it is the judge of all of them. It reads like table 4.2 of spec/msg-store.md and is meant to
 * be checked against it by eye; nothing here is fast and nothing is clever.
 *
 * The time is an argument, ids are always given, and failures are plain values. Bounds of arguments are not its business,
 * except for the two that are rules of an operation: the size of a body and the size of a batch.
 */
import { Result } from "effect"
import type {
  Maintenance,
  Message,
  MessageLog,
  MsgStore,
  MsgStoreDriver,
  MsgStoreError,
  Queue,
  SenderId
} from "restante"
import { MessageId, RecipientId } from "restante"
import { end, header, printLine, readLine } from "./internal/msg-store/logText.ts"
import { sha256 } from "./internal/sha256.ts"

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
  | { readonly _tag: "ImportRejected"; readonly report: MessageLog.ImportReport }

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
  deletedAt?: number
}

/** Is the first id before the second? Byte by byte, and a prefix before what it begins. */
const isBefore = (a: RecipientId, b: RecipientId): boolean => {
  const [x, y] = [RecipientId.toBytes(a), RecipientId.toBytes(b)]
  for (let i = 0; i < x.length && i < y.length; i++) {
    const [left = 0, right = 0] = [x[i], y[i]]
    if (left !== right) return left < right
  }
  return x.length < y.length
}

/** What an import has accepted so far, in the order of the file. */
export interface ModelImport {
  readonly accepted: Array<MsgStoreDriver.LogRecord>
  /** Queues that were there when they were named. */
  readonly present: Array<RecipientId>
  /** Queues with a line that was refused. */
  readonly refused: Array<RecipientId>
}

/** What a merge did. */
export type ModelMerge = Pick<
  MessageLog.ImportReport,
  "queuesCreated" | "queuesExisting" | "messages" | "duplicates" | "latchedQueues"
>

/** Rule 8.5, step 5: the id of a marker that is derived from the id of a message. */
export const derivedMarkerId = (recipientId: RecipientId, from: MessageId): MessageId => {
  const recipient = RecipientId.toBytes(recipientId)
  const message = MessageId.toBytes(from)
  const name = Array.from("restante-quota", (letter) => letter.charCodeAt(0))
  const digest = sha256([...name, recipient.length, ...recipient, message.length, ...message])
  return Result.getOrThrow(MessageId.fromBytes(Uint8Array.from(digest.slice(0, 24))))
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

  deleteQueue(recipientId: RecipientId, now = 0): ModelAnswer<number> {
    const queue = this.find({ recipientId })
    if (queue === undefined) return failed({ _tag: "QueueNotFound", target: { recipientId } })
    const discarded = queue.entries.length
    queue.deleted = true
    queue.deletedAt = now
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

  /** Rule 4.15: there is something to read at or behind this sequence, or nothing will ever be because the queue is gone. */
  mayHaveArrived(recipientId: RecipientId, from: bigint): boolean {
    const queue = this.find({ recipientId })
    if (queue === undefined) return true
    // Another queue by now.
    if (queue.nextSequence < from) return true
    return queue.entries[0] !== undefined && queue.entries[0].sequence >= from
  }

  /** Rule 4.11: what rule 4.10 removes from each queue, in order of recipient ids. One element for each batch. */
  *expireAll(before: number, batchSize: number): Generator<Maintenance.ExpiryCounts> {
    let visited = 0
    let expired = 0
    for (const queue of this.inOrder()) {
      const answer = this.deleteExpired(queue.recipientId, before)
      if ("failure" in answer || answer.success === 0) continue
      visited += 1
      expired += answer.success
      if (visited < batchSize) continue
      yield { visited, expired, skipped: 0, failed: 0 }
      visited = 0
      expired = 0
    }
    if (visited > 0) yield { visited, expired, skipped: 0, failed: 0 }
  }

  /** Rule 4.9: what was deleted before this time is forgotten; its ids are known no more. */
  compactDeleted(before: number): number {
    const forgotten = this.queues.filter((queue) => queue.deleted && (queue.deletedAt ?? 0) < before)
    for (const queue of forgotten) this.queues.splice(this.queues.indexOf(queue), 1)
    return forgotten.length
  }

  /** Rule 4.13. */
  stats(): Maintenance.Stats {
    const live = this.queues.filter((queue) => !queue.deleted)
    const entries = live.flatMap((queue) => queue.entries)
    return {
      queues: live.length,
      suspended: live.filter((queue) => queue.status === "suspended").length,
      latched: live.filter((queue) => queue.latched).length,
      messages: entries.filter((entry) => entry.kind === "message").length,
      markers: entries.filter((entry) => entry.kind === "quota").length,
      tombstones: this.queues.length - live.length
    }
  }

  /** Rule 4.14: the model keeps no counter that could drift. */
  recount(): Maintenance.RecountReport {
    const checked = this.queues.filter((queue) => !queue.deleted).length
    return { checked, drifted: [], repaired: 0, violations: [] }
  }

  inOrder(): Array<ModelQueue> {
    return this.queues.toSorted((a, b) => isBefore(a.recipientId, b.recipientId) ? -1 : 1)
  }

  /** Rule 8.2: live queues by recipient id, each followed by its entries. */
  exportRecords(): Array<MsgStoreDriver.LogRecord> {
    const records: Array<MsgStoreDriver.LogRecord> = []
    for (const queue of this.inOrder()) {
      if (queue.deleted) continue
      const { createdAt, nextSequence, quota, recipientId, senderId, status, updatedAt } = queue
      records.push({
        _tag: "Queue",
        queue: { recipientId, senderId, quota, status, createdAt, updatedAt, nextSequence }
      })
      for (const entry of queue.entries) records.push({ _tag: "Entry", recipientId, entry })
    }
    return records
  }

  /** Rule 8.1: the lines of an export. */
  exportLog(format: MessageLog.Format): Array<string> {
    const records = this.exportRecords()
    const lines = records.map((record) => printLine(record, format)).filter((line) => line !== undefined)
    if (format === "simplex-v3") return lines
    const queues = records.filter((record) => record._tag === "Queue").length
    return [header, ...lines, end(queues, records.length - queues)]
  }

  /** Rule 8.4: takes the next record of an import, or says why it is refused. */
  stage(staged: ModelImport, record: MsgStoreDriver.LogRecord): "QueueNotFound" | "QueueConflict" | undefined {
    if (record._tag === "Entry") {
      const { recipientId } = record
      if (staged.refused.includes(recipientId)) return "QueueNotFound"
      const isLive = this.find({ recipientId }) !== undefined
      const isNamed = staged.accepted.some((other) => other._tag === "Queue" && other.queue.recipientId === recipientId)
      if (!isLive && !isNamed) return "QueueNotFound"
      if (isLive) staged.present.push(recipientId)
      staged.accepted.push(record)
      return undefined
    }
    const { recipientId, senderId } = record.queue
    const isOther = (ids: { readonly recipientId: RecipientId; readonly senderId: SenderId }) =>
      (ids.recipientId === recipientId) !== (ids.senderId === senderId)
    const isTaken =
      this.queues.some((queue) => isOther(queue) || (queue.deleted && queue.recipientId === recipientId)) ||
      staged.accepted.some((other) => other._tag === "Queue" && isOther(other.queue))
    if (isTaken) {
      staged.refused.push(recipientId)
      return "QueueConflict"
    }
    if (this.find({ recipientId }) !== undefined) staged.present.push(recipientId)
    staged.accepted.push(record)
    return undefined
  }

  /** Whether an id of a queue that is to be created was taken by somebody else since it was staged. */
  isOvertaken(staged: ModelImport): boolean {
    return staged.accepted.some((record) => {
      if (record._tag === "Entry" || staged.present.includes(record.queue.recipientId)) return false
      const { recipientId, senderId } = record.queue
      return this.queues.some((queue) =>
        (queue.recipientId === recipientId) !== (queue.senderId === senderId) ||
        (queue.deleted && queue.recipientId === recipientId)
      )
    })
  }

  /** Rule 8.5 for each queue that was named. */
  merge(staged: ModelImport): ModelMerge {
    const counts = { queuesCreated: 0, queuesExisting: 0, messages: 0, duplicates: 0, latchedQueues: 0 }
    const named = staged.accepted.map((record) =>
      record._tag === "Queue" ? record.queue.recipientId : record.recipientId
    )
    for (const recipientId of new Set(named)) {
      const lines: Array<MsgStoreDriver.LogQueue> = []
      const entries: Array<Message.Entry> = []
      for (const record of staged.accepted) {
        if (record._tag === "Queue" && record.queue.recipientId === recipientId) lines.push(record.queue)
        if (record._tag === "Entry" && record.recipientId === recipientId) entries.push(record.entry)
      }
      const line = lines[0]
      let queue = this.find({ recipientId })
      let nextSequence = 1n
      if (queue === undefined) {
        // Gone meanwhile, or its ids are: everything for it is discarded.
        if (line === undefined || staged.present.includes(recipientId)) continue
        if ("failure" in this.createQueue(line, line.createdAt)) continue
        queue = this.find({ recipientId })
        if (queue === undefined) continue
        queue.updatedAt = line.updatedAt
        nextSequence = line.nextSequence
        counts.queuesCreated++
        counts.queuesExisting += lines.length - 1
      } else {
        if (line !== undefined && line.senderId !== queue.senderId) continue
        counts.queuesExisting += lines.length
      }
      const { duplicates, messages } = this.mergeInto(queue, entries)
      if (queue.nextSequence < nextSequence) queue.nextSequence = nextSequence
      counts.messages += messages
      counts.duplicates += duplicates
      if (queue.latched) counts.latchedQueues++
    }
    return counts
  }

  /** Rule 8.5, steps 1 to 5. */
  mergeInto(queue: ModelQueue, entries: ReadonlyArray<Message.Entry>): { messages: number; duplicates: number } {
    let messages = 0
    let duplicates = 0
    let fromFile: Message.Entry | undefined
    const present = queue.entries.find((entry) => entry.kind === "quota")
    const ordinary = queue.entries.filter((entry) => entry.kind === "message")
    const place = (own: bigint) => {
      const sequence = own >= queue.nextSequence ? own : queue.nextSequence
      queue.nextSequence = sequence + 1n
      return sequence
    }
    for (const entry of this.inSequence(entries)) {
      if (entry.kind === "quota") {
        fromFile = entry
      } else if (ordinary.some((other) => other.id === entry.id)) {
        duplicates++
      } else {
        ordinary.push({ ...entry, sequence: place(entry.sequence) })
        messages++
      }
    }
    const quota = queue.quota ?? this.limits.defaultQuota
    queue.latched = queue.latched || fromFile !== undefined || (messages > 0 && ordinary.length > quota)
    if (!queue.latched) queue.entries = ordinary
    if (queue.latched && (messages > 0 || present === undefined)) {
      queue.entries = ordinary
      const takenOver = fromFile ?? present
      const last = ordinary.at(-1)
      const isOrdinary = (id: MessageId) => ordinary.some((entry) => entry.id === id)
      let id = takenOver?.id ?? (last === undefined ? undefined : derivedMarkerId(queue.recipientId, last.id))
      if (id !== undefined && last !== undefined && isOrdinary(id)) {
        id = derivedMarkerId(queue.recipientId, last.id)
        while (isOrdinary(id)) id = derivedMarkerId(queue.recipientId, id)
      }
      const timestamp = takenOver?.timestamp ?? last?.timestamp
      if (id === undefined || timestamp === undefined) throw new Error("a queue overflowed without a message")
      const marker = this.marker({ id, timestamp, notify: false, body: new Uint8Array(0) })
      queue.entries.push({ ...marker, sequence: place(takenOver?.sequence ?? 0n) })
    }
    return { messages, duplicates }
  }

  /** Rule 8.5, step 1. */
  inSequence(entries: ReadonlyArray<Message.Entry>): ReadonlyArray<Message.Entry> {
    return entries.toSorted((a, b) => Number(a.sequence > b.sequence) - Number(a.sequence < b.sequence))
  }

  /** Section 8.4: a log as one text. */
  importLog(
    text: string,
    { format, mode }: { readonly format: MessageLog.Format; readonly mode: "tolerant" | "strict" }
  ): ModelAnswer<MessageLog.ImportReport> {
    const lines = text.split("\n")
    if (lines.at(-1) === "") lines.pop()
    const rejections: Array<MessageLog.Rejection> = []
    const staged: ModelImport = { accepted: [], present: [], refused: [] }
    let hasHeader = format === "simplex-v3"
    let hasEnd = format === "simplex-v3"
    let between = 0
    let read = 0
    for (const ended of lines) {
      read++
      const line = ended.endsWith("\r") ? ended.slice(0, -1) : ended
      if (line === "") continue
      const meaning = readLine(line, format)
      if (!hasHeader) {
        if (meaning._tag === "Header") {
          hasHeader = true
          continue
        }
        rejections.push({ line: read, reason: meaning._tag === "Rejected" ? meaning.reason : "Malformed" })
        return failed({ _tag: "ImportRejected", report: this.report(read, rejections) })
      }
      if (format === "restante" && hasEnd) {
        rejections.push({ line: read, reason: "Malformed" })
        continue
      }
      if (meaning._tag === "End") {
        hasEnd = true
        if (meaning.total !== between) rejections.push({ line: read, reason: "CountMismatch" })
        continue
      }
      between++
      if (meaning._tag === "Rejected" || meaning._tag === "Header") {
        rejections.push({ line: read, reason: meaning._tag === "Rejected" ? meaning.reason : "Malformed" })
        continue
      }
      const reason = this.stage(staged, meaning)
      if (reason !== undefined) rejections.push({ line: read, reason })
    }
    if (!hasHeader) {
      rejections.push({ line: Math.max(read, 1), reason: "Malformed" })
      return failed({ _tag: "ImportRejected", report: this.report(read, rejections) })
    }
    if (!hasEnd) rejections.push({ line: read, reason: "CountMismatch" })
    if (mode === "strict" && rejections.length > 0) {
      return failed({ _tag: "ImportRejected", report: this.report(read, rejections) })
    }
    return succeeded({ ...this.report(read, rejections), ...this.merge(staged) })
  }

  report(lines: number, all: ReadonlyArray<MessageLog.Rejection>): MessageLog.ImportReport {
    const count = (reason: MessageLog.RejectionReason) => all.filter((rejection) => rejection.reason === reason).length
    return {
      lines,
      queuesCreated: 0,
      queuesExisting: 0,
      messages: 0,
      duplicates: 0,
      latchedQueues: 0,
      rejected: {
        Malformed: count("Malformed"),
        LineTooLong: count("LineTooLong"),
        BodyTooLarge: count("BodyTooLarge"),
        QueueNotFound: count("QueueNotFound"),
        QueueConflict: count("QueueConflict"),
        CountMismatch: count("CountMismatch")
      },
      rejections: all.slice(0, 100)
    }
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

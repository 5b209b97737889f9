/**
 * Export and import of the memory store.
 *
 * An export reads one queue after another, each as it was last committed, so it disturbs nobody. An import holds what it
 * has read beside the store, and applies everything in one transaction at the end.
 */
import { Effect, Option, Stream, TxHashMap, TxRef } from "effect"
import * as Digest from "effect/crypto/Digest"
import { PreventSchedulerYield } from "effect/Scheduler"
import type { Entry } from "../../Message.ts"
import { MessageId } from "../../Message.ts"
import type { ImportSession, LogQueue, LogRecord, MsgStoreDriver, Refusals } from "../../MsgStoreDriver.ts"
import { fromCause, Unavailable } from "../../MsgStoreError.ts"
import { RecipientId, type SenderId } from "../../QueueId.ts"
import type { Directory, Slot, Tombstone } from "./directory.ts"
import { inOrder, isLive, look } from "./directory.ts"
import * as Fifo from "./fifo.ts"
import type { Mailbox } from "./mailbox.ts"
import * as Mailboxes from "./mailbox.ts"
import { type Merge, merge } from "./merge.ts"

/** Between staging and merging somebody took an id of a queue that is to be created: imported again, the line is refused. */
const idsTaken = Effect.suspend(() =>
  Effect.fail(
    fromCause(
      "importLog",
      new Unavailable(),
      new Error("an id of a new queue was taken while the import was under way")
    )
  )
)

function* pages(
  directory: Directory,
  { limit, maxBytes }: { readonly limit: number; readonly maxBytes: number }
): Generator<ReadonlyArray<LogRecord>> {
  let page: Array<LogRecord> = []
  let bytes = 0
  for (const slot of inOrder(directory)) {
    const box = slot.value
    if (!isLive(box)) continue
    for (const record of records(box)) {
      const size = record._tag === "Queue" ? 0 : record.entry.body.length
      if (page.length > 0 && (page.length === limit || bytes + size > maxBytes)) {
        yield page
        page = []
        bytes = 0
      }
      page.push(record)
      bytes += size
    }
  }
  if (page.length > 0) yield page
}

function* records(box: Mailbox): Generator<LogRecord> {
  const { createdAt, nextSequence, quota, recipientId, senderId, status, updatedAt } = box
  yield { _tag: "Queue", queue: { recipientId, senderId, quota, status, createdAt, updatedAt, nextSequence } }
  for (const entry of Fifo.values(box.entries)) yield { _tag: "Entry", recipientId, entry }
}

export const exportLog = (directory: Directory): MsgStoreDriver["exportLog"] => (page) =>
  Stream.suspend(() => Stream.fromIterable(pages(directory, page), { chunkSize: 1 }))

const label = new TextEncoder().encode("restante-quota")

/** The id of a marker that has none of its own (rule 8.5, step 5). */
const deriveMarkerId = Effect.fnUntraced(function*(recipientId: RecipientId, from: MessageId) {
  const recipient = RecipientId.toBytes(recipientId)
  const message = MessageId.toBytes(from)
  const digest = yield* Digest.Digest
  const hash = yield* digest.digest(
    Digest.sha256,
    Uint8Array.of(...label, recipient.length, ...recipient, message.length, ...message)
  )
  return yield* Effect.orDie(Effect.fromResult(MessageId.fromBytes(hash.subarray(0, 24))))
})

/** What a file has of one queue. */
interface Staged {
  /** Whether the queue was there when the file first named it. */
  readonly wasThere: boolean
  /** Its first line that was accepted, and the queue of that line, empty. */
  line: LogQueue | undefined
  blank: Mailbox | undefined
  /** How many lines were. */
  lines: number
  readonly entries: Array<Entry>
  /** What was worked out last, and for which state of the queue. */
  worked: { readonly from: Mailbox; readonly merge: Merge } | undefined
}

const blankQueue = (line: LogQueue): Mailbox => ({
  ...Mailboxes.create(line, line.createdAt),
  updatedAt: line.updatedAt
})

/** An import under way. Merging is worked out queue by queue and committed in one transaction, which is short. */
const session = (directory: Directory): ImportSession => {
  const { byRecipient, bySender } = directory
  const stagedQueues = new Map<RecipientId, Staged>()
  const senders = new Map<SenderId, RecipientId>()
  /** Recipient ids with a line that was refused: no entry after it is taken. */
  const refused = new Set<RecipientId>()
  const markerIds = new Map<string, MessageId>()

  const present = (recipientId: RecipientId): Effect.Effect<Mailbox | Tombstone | undefined> =>
    Effect.flatMap(
      look(byRecipient, recipientId),
      (slot): Effect.Effect<Mailbox | Tombstone | undefined> =>
        Option.isSome(slot) ? TxRef.get(slot.value) : Effect.succeed(undefined)
    )

  const stagedQueue = (recipientId: RecipientId, wasThere: boolean): Staged => {
    const known = stagedQueues.get(recipientId)
    if (known !== undefined) return known
    const staged: Staged = { wasThere, line: undefined, blank: undefined, lines: 0, entries: [], worked: undefined }
    stagedQueues.set(recipientId, staged)
    return staged
  }

  const acceptLine = (line: LogQueue, wasThere: boolean): void => {
    const staged = stagedQueue(line.recipientId, wasThere)
    if (staged.line === undefined) {
      staged.line = line
      staged.blank = blankQueue(line)
    }
    staged.lines++
    senders.set(line.senderId, line.recipientId)
  }

  /** Whether the ids of a line are bound to each other, or to nothing. */
  const stageLine = Effect.fnUntraced(function*(line: LogQueue) {
    const { recipientId, senderId } = line
    const known = stagedQueues.get(recipientId)?.line
    if (known !== undefined) {
      if (known.senderId !== senderId) return false
      acceptLine(line, true)
      return true
    }
    if (senders.has(senderId)) return false
    const queue = yield* present(recipientId)
    if (
      queue === undefined
        ? Option.isSome(yield* look(bySender, senderId))
        : !isLive(queue) || queue.senderId !== senderId
    ) {
      return false
    }
    acceptLine(line, queue !== undefined)
    return true
  })

  const stageEntry = (recipientId: RecipientId, entry: Entry): Effect.Effect<boolean> =>
    Effect.map(present(recipientId), (queue) => {
      if (queue === undefined || !isLive(queue)) return false
      stagedQueue(recipientId, true).entries.push(entry)
      return true
    })

  const stage: ImportSession["stage"] = (page) =>
    Effect.gen(function*() {
      const refusals: Array<Refusals[number]> = []
      for (const [index, record] of page.entries()) {
        if (record._tag === "Queue") {
          if (yield* stageLine(record.queue)) continue
          refused.add(record.queue.recipientId)
          refusals.push({ index, reason: "QueueConflict" })
          continue
        }
        const { recipientId } = record
        const entry = { ...record.entry, body: new Uint8Array(record.entry.body) }
        const staged = stagedQueues.get(recipientId)
        if (refused.has(recipientId)) refusals.push({ index, reason: "QueueNotFound" })
        else if (staged !== undefined) staged.entries.push(entry)
        else if (!(yield* stageEntry(recipientId, entry))) refusals.push({ index, reason: "QueueNotFound" })
      }
      return Effect.succeed(refusals)
    })

  /** What to merge into: the queue as it is, or a new one; nothing if the queue that was meant is gone. */
  const base = (staged: Staged, queue: Mailbox | Tombstone | undefined): Mailbox | undefined => {
    if (queue === undefined) return staged.wasThere ? undefined : staged.blank
    return isLive(queue) && (staged.line === undefined || staged.line.senderId === queue.senderId) ? queue : undefined
  }

  const work = (staged: Staged, box: Mailbox, defaultQuota: number): Merge => {
    const { worked } = staged
    if (worked?.from === box && worked.merge._tag === "Merged") return worked.merge
    const result = merge(box, staged.entries, defaultQuota, (from) => markerIds.get(`${box.recipientId} ${from}`))
    staged.worked = { from: box, merge: result }
    return result
  }

  /** Works out one queue, with what has to be derived for it, which takes time and so is done outside the transaction. */
  const prepare = Effect.fnUntraced(function*(recipientId: RecipientId, staged: Staged, defaultQuota: number) {
    for (;;) {
      const box = base(staged, yield* present(recipientId))
      const result = box === undefined ? undefined : work(staged, box, defaultQuota)
      if (result?._tag !== "DerivesFrom") return
      markerIds.set(`${recipientId} ${result.id}`, yield* deriveMarkerId(recipientId, result.id))
    }
  })

  /** Applies everything; applies nothing, and answers `undefined`, if a queue has changed so that it needs a new id. */
  const commit = (defaultQuota: number) =>
    Effect.gen(function*() {
      const counts = { queuesCreated: 0, queuesExisting: 0, messages: 0, duplicates: 0, latchedQueues: 0 }
      const changes: Array<Effect.Effect<void, never, Effect.Transaction>> = []
      for (const [recipientId, staged] of stagedQueues) {
        const slot = yield* TxHashMap.get(byRecipient, recipientId)
        const box = base(staged, Option.isSome(slot) ? yield* TxRef.get(slot.value) : undefined)
        const isNew = Option.isNone(slot)
        if (!staged.wasThere && (box === undefined || (isNew && (yield* TxHashMap.has(bySender, box.senderId))))) {
          return yield* idsTaken
        }
        if (box === undefined) continue
        const result = work(staged, box, defaultQuota)
        if (result._tag === "DerivesFrom") return undefined
        const { box: merged, duplicates, messages } = result
        counts.messages += messages
        counts.duplicates += duplicates
        counts.queuesExisting += staged.lines - (isNew ? 1 : 0)
        if (isNew) counts.queuesCreated++
        if (merged.marker !== undefined) counts.latchedQueues++
        changes.push(isNew ? create(merged, staged) : merged === box ? Effect.void : TxRef.set(slot.value, merged))
      }
      for (const change of changes) yield* change
      return counts
    }).pipe(
      Effect.tx,
      // In one go: writers that come between would make it start again, for ever if there are many of them.
      Effect.provideService(PreventSchedulerYield, true)
    )

  const create = (box: Mailbox, { line }: Staged): Effect.Effect<void> => {
    const nextSequence = line !== undefined && line.nextSequence > box.nextSequence
      ? line.nextSequence
      : box.nextSequence
    const slot: Slot = TxRef.makeUnsafe<Mailbox | Tombstone>({ ...box, nextSequence })
    return Effect.andThen(
      TxHashMap.set(byRecipient, box.recipientId, slot),
      TxHashMap.set(bySender, box.senderId, slot)
    )
  }

  const mergeAll = Effect.fnUntraced(function*(defaultQuota: number) {
    for (;;) {
      for (const [recipientId, staged] of stagedQueues) yield* prepare(recipientId, staged, defaultQuota)
      const counts = yield* commit(defaultQuota)
      if (counts !== undefined) return counts
    }
  }, Effect.provide(Digest.layerWebCrypto))

  return { stage, merge: mergeAll }
}

export const importLog = (directory: Directory): MsgStoreDriver["importLog"] => (use) =>
  Effect.suspend(() => use(session(directory)))

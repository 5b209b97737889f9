/**
 * The memory driver: a directory of `TxRef`s, one per queue, and one transaction per operation around a function of
 * `mailbox.ts`.
 *
 * A ref is looked up in the directory before the transaction, so that queues which come and go never make an operation on
 * another queue run again. Whoever holds the ref of a queue that is deleted meanwhile finds the tombstone in
 * it, not an orphan to write into.
 *
 * The boundary is the price: writing and acknowledging 1 KiB take 1.8 times as long as two bare `TxRef.modify` (2.8 before
 * metrics, ids and reads were made cheap), of which the bodies' two copies are 0.15. Assigning to the ref where there is no
 * transaction would make it 0.8, and would stand on how `TxRef` commits, which is Effect's to change.
 */
import { Effect, Option, Result, TxHashMap, TxRef } from "effect"
import type { Entry } from "../../Message.ts"
import type { WriteOutcome } from "../../MsgStore.ts"
import type { MsgStoreDriver, StampedItem } from "../../MsgStoreDriver.ts"
import type { Target } from "../../MsgStoreError.ts"
import { QueueIdTaken, QueueNotFound, type QueueSuspended } from "../../MsgStoreError.ts"
import type { QueueRecord } from "../../Queue.ts"
import type { RecipientId, SenderId } from "../../QueueId.ts"
import type { Slot, Tombstone } from "./directory.ts"
import { content, isLive, look, lookThen } from "./directory.ts"
import * as Fifo from "./fifo.ts"
import * as Log from "./log.ts"
import * as Mailbox from "./mailbox.ts"
import * as Maintenance from "./maintenance.ts"

const record = (box: Mailbox.Mailbox): QueueRecord => {
  const head = Fifo.peek(box.entries)
  return {
    recipientId: box.recipientId,
    senderId: box.senderId,
    ...(box.quota === undefined ? {} : { quota: box.quota }),
    status: box.status,
    size: box.entries.size,
    latched: box.marker !== undefined,
    ...(head === undefined ? {} : { firstSequence: head.sequence }),
    nextSequence: box.nextSequence,
    createdAt: box.createdAt,
    updatedAt: box.updatedAt
  }
}

/** A copy for the caller, who may change its bytes; a removed entry too, since a transaction may be rolled back. */
const handOut = (entry: Entry): Entry => ({ ...entry, body: new Uint8Array(entry.body) })

/** Waits for a head with at least this sequence, on the one ref; answers false if the queue is deleted. */
const untilHead = (slot: Slot, from: bigint): Effect.Effect<boolean> =>
  Effect.tx(Effect.flatMap(TxRef.get(slot), (queue): Effect.Effect<boolean, never, Effect.Transaction> => {
    if (!isLive(queue)) return Effect.succeed(false)
    const head = Fifo.peek(queue.entries)
    return head !== undefined && head.sequence >= from ? Effect.succeed(true) : Effect.txRetry
  }))

export const make: Effect.Effect<MsgStoreDriver> = Effect.gen(function*() {
  const byRecipient = yield* TxHashMap.empty<RecipientId, Slot>()
  const bySender = yield* TxHashMap.empty<SenderId, Slot>()
  const directory = { byRecipient, bySender }

  /** Uses the ref of a queue, which may hold a tombstone by now. */
  const withSlot = <A, E>(
    target: Target,
    use: (slot: Slot) => Effect.Effect<A, E>
  ): Effect.Effect<A, E | QueueNotFound> => {
    const useFound = (slot: Option.Option<Slot>): Effect.Effect<A, E | QueueNotFound> =>
      Option.isSome(slot) ? use(slot.value) : Effect.fail(new QueueNotFound({ target }))
    return "senderId" in target
      ? lookThen(bySender, target.senderId, useFound)
      : lookThen(byRecipient, target.recipientId, useFound)
  }

  /** Runs one transition on a live queue; the transition's own failures are values until the transaction is over. */
  const change = <A, E>(
    target: Target,
    transition: (box: Mailbox.Mailbox) => [answer: Result.Result<A, E>, next: Mailbox.Mailbox | Tombstone]
  ): Effect.Effect<A, E | QueueNotFound> =>
    withSlot(target, (slot) =>
      Effect.flatMap(
        TxRef.modify(
          slot,
          (queue): [Result.Result<A, E | QueueNotFound>, Mailbox.Mailbox | Tombstone] =>
            isLive(queue) ? transition(queue) : [Result.fail(new QueueNotFound({ target })), queue]
        ),
        Effect.fromResult
      ))

  /** `change` for a transition that cannot fail. */
  const update = <A>(
    recipientId: RecipientId,
    transition: (box: Mailbox.Mailbox) => [answer: A, next: Mailbox.Mailbox | Tombstone]
  ) =>
    change({ recipientId }, (box) => {
      const [answer, next] = transition(box)
      return [Result.succeed(answer), next]
    })

  const read = <A>(target: Target, look: (box: Mailbox.Mailbox) => A): Effect.Effect<A, QueueNotFound> =>
    withSlot(target, (slot) =>
      Effect.flatMap(
        content(slot),
        (queue) => isLive(queue) ? Effect.succeed(look(queue)) : Effect.fail(new QueueNotFound({ target }))
      ))

  const writeItem = (item: StampedItem, defaultQuota: number) =>
    change(item.target, (box) => Mailbox.write(box, item.message, defaultQuota))

  return {
    createQueue: (queue, now) =>
      Effect.gen(function*() {
        const own = yield* TxHashMap.get(byRecipient, queue.recipientId)
        if (Option.isSome(own)) {
          const present = yield* TxRef.get(own.value)
          return isLive(present) && present.senderId === queue.senderId
            ? Result.succeed(record(present))
            : Result.fail(new QueueIdTaken({ field: "recipientId" }))
        }
        if (yield* TxHashMap.has(bySender, queue.senderId)) return Result.fail(new QueueIdTaken({ field: "senderId" }))
        const box = Mailbox.create(queue, now)
        const slot: Slot = TxRef.makeUnsafe<Mailbox.Mailbox | Tombstone>(box)
        yield* TxHashMap.set(byRecipient, queue.recipientId, slot)
        yield* TxHashMap.set(bySender, queue.senderId, slot)
        return Result.succeed(record(box))
      }).pipe(Effect.tx, Effect.flatMap(Effect.fromResult)),

    getQueue: (recipientId) => read({ recipientId }, record),

    getSender: (senderId) => read({ senderId }, (box) => ({ senderId: box.senderId, status: box.status })),

    setQueueStatus: (recipientId, status, now) =>
      update(recipientId, (box) => {
        const next = Mailbox.setStatus(box, status, now)
        return [record(next), next]
      }),

    setQuota: (recipientId, quota, now) =>
      update(recipientId, (box) => {
        const next = Mailbox.setQuota(box, quota, now)
        return [record(next), next]
      }),

    deleteQueue: (recipientId, now) =>
      update(recipientId, (box) => [box.entries.size, { senderId: box.senderId, deletedAt: now }]),

    write: writeItem,

    writeMany: (items, defaultQuota) =>
      Effect.tx(Effect.forEach(items, (item): Effect.Effect<
        Result.Result<WriteOutcome, QueueNotFound | QueueSuspended>
      > => Effect.result(writeItem(item, defaultQuota)))),

    peek: (recipientId) => read({ recipientId }, (box) => Option.map(Mailbox.peek(box), handOut)),

    peekBatch: (recipientId, range) => read({ recipientId }, (box) => Mailbox.peekBatch(box, range).map(handOut)),

    acknowledge: (recipientId, messageId) =>
      update(recipientId, (box) => {
        const [acknowledged, next] = Mailbox.acknowledge(box, messageId)
        return [Option.map(acknowledged, handOut), next]
      }),

    acknowledgeAndPeek: (recipientId, messageId) =>
      update(recipientId, (box) => {
        const [acknowledged, next] = Mailbox.acknowledge(box, messageId)
        return [
          { acknowledged: Option.map(acknowledged, handOut), next: Option.map(Mailbox.peek(next), handOut) },
          next
        ]
      }),

    acknowledgeThroughMessage: (recipientId, messageId) =>
      update(recipientId, (box) => Mailbox.acknowledgeThroughMessage(box, messageId)),

    acknowledgeThroughSequence: (recipientId, sequence) =>
      change({ recipientId }, (box) => Mailbox.acknowledgeThroughSequence(box, sequence)),

    size: (recipientId) => read({ recipientId }, (box) => box.entries.size),

    deleteExpired: (recipientId, before) => update(recipientId, (box) => Mailbox.deleteExpired(box, before)),

    ...Maintenance.make({ byRecipient, bySender }),

    // A queue that is deleted is seen as its tombstone, and from then on as whatever the directory has.
    watch: (recipientId) =>
      Effect.map(look(byRecipient, recipientId), (slot) => {
        let known = slot
        return (from) =>
          Effect.flatMap(Option.isSome(known) ? Effect.succeed(known) : look(byRecipient, recipientId), (slot) => {
            known = slot
            return Option.isNone(slot) ? Effect.void : Effect.map(untilHead(slot.value, from), (there) => {
              if (!there) known = Option.none()
            })
          })
      }),

    exportLog: Log.exportLog(directory),
    importLog: Log.importLog(directory)
  }
})

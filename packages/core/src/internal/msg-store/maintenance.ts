/**
 * The operations of the memory driver over all queues: those that are there at the start, one transaction each (spec 9.4),
 * so that they neither hold up nor are held up by the users of other queues.
 */
import { Array as Arr, Effect, Option, Stream, TxHashMap, TxRef } from "effect"
import type { Stats } from "../../Maintenance.ts"
import type { MsgStoreDriver } from "../../MsgStoreDriver.ts"
import type { RecipientId } from "../../QueueId.ts"
import { compareIds, content, type Directory, isLive, type Slot } from "./directory.ts"
import * as Fifo from "./fifo.ts"
import * as Mailbox from "./mailbox.ts"

type Known = readonly [RecipientId, Slot]

/**
 * Goes through queues in batches of so many for which `handle` did something, that is, answered a number above 0. Each
 * element is made of what it answered for the queues of one batch.
 */
const batches = <A>(
  queues: Effect.Effect<ReadonlyArray<Known>>,
  batchSize: number,
  handle: (queue: Known) => Effect.Effect<number>,
  summary: (answers: ReadonlyArray<number>) => A
): Stream.Stream<A> =>
  Stream.unwrap(Effect.map(queues, (queues) =>
    Stream.paginate(0, (start: number) =>
      Effect.gen(function*() {
        const answers: Array<number> = []
        let next = start
        while (next < queues.length && answers.length < batchSize) {
          const answer = yield* handle(Arr.getUnsafe(queues, next))
          next += 1
          if (answer > 0) answers.push(answer)
        }
        return [
          answers.length === 0 ? [] : [summary(answers)],
          next < queues.length ? Option.some(next) : Option.none()
        ]
      }))))

const expire = (slot: Slot, before: number): Effect.Effect<number> =>
  Effect.flatMap(content(slot), (queue) => {
    const head = isLive(queue) ? Fifo.peek(queue.entries) : undefined
    // Looked at first, because setting a ref to what it was wakes everybody who waits for a change of it.
    return head?.kind === "message" && head.timestamp < before
      ? TxRef.modify(slot, (queue) => isLive(queue) ? Mailbox.deleteExpired(queue, before) : [0, queue])
      : Effect.succeed(0)
  })

const compact = ({ byRecipient, bySender }: Directory, [recipientId, slot]: Known, before: number) =>
  Effect.tx(Effect.gen(function*() {
    const queue = yield* TxRef.get(slot)
    if (isLive(queue) || queue.deletedAt >= before) return 0
    const known = yield* TxHashMap.get(byRecipient, recipientId)
    // Somebody else may have compacted it meanwhile, and the ids may belong to another queue.
    if (Option.isNone(known) || known.value !== slot) return 0
    yield* TxHashMap.remove(byRecipient, recipientId)
    yield* TxHashMap.remove(bySender, queue.senderId)
    return 1
  }))

export const make = (
  directory: Directory
): Pick<MsgStoreDriver, "expireAll" | "compactDeleted" | "stats" | "recount"> => {
  const known = TxHashMap.entries(directory.byRecipient)
  const inOrder = Effect.map(known, (queues) => queues.toSorted(([a], [b]) => compareIds(a, b)))
  return {
    expireAll: (before, batchSize) =>
      batches(inOrder, batchSize, ([, slot]) => expire(slot, before), (expired) => ({
        visited: expired.length,
        expired: expired.reduce((sum, count) => sum + count, 0),
        skipped: 0,
        failed: 0
      })),

    compactDeleted: (before, batchSize) =>
      batches(known, batchSize, (queue) => compact(directory, queue, before), (compacted) => compacted.length),

    stats: Effect.gen(function*() {
      const counts: { -readonly [K in keyof Stats]: number } = {
        queues: 0,
        suspended: 0,
        latched: 0,
        messages: 0,
        markers: 0,
        tombstones: 0
      }
      for (const [, slot] of yield* known) {
        const queue = yield* content(slot)
        if (!isLive(queue)) {
          counts.tombstones += 1
          continue
        }
        const markers = queue.marker === undefined ? 0 : 1
        counts.queues += 1
        counts.suspended += queue.status === "suspended" ? 1 : 0
        counts.latched += markers
        counts.markers += markers
        counts.messages += queue.entries.size - markers
      }
      return counts
    }),

    // Nothing is counted apart from the entries, so nothing can drift.
    recount: (batchSize) =>
      batches(
        known,
        batchSize,
        ([, slot]) => Effect.map(content(slot), (queue) => isLive(queue) ? 1 : 0),
        (live) => ({ checked: live.length, drifted: [], repaired: 0, violations: [] })
      )
  }
}

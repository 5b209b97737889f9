/**
 * The queues of a memory store: both id spaces lead to one `TxRef` per queue. A queue that is deleted leaves a tombstone in
 * its ref, so that whoever holds the ref sees it.
 */
import type { Fiber, Option } from "effect"
import { Context, Effect, HashMap, TxHashMap, TxRef } from "effect"
import type { RecipientId, SenderId } from "../../QueueId.ts"
import type { Mailbox } from "./mailbox.ts"

/** A queue that was deleted keeps both ids reserved and nothing else. */
export interface Tombstone {
  readonly senderId: SenderId
  readonly deletedAt: number
}

export type Slot = TxRef.TxRef<Mailbox | Tombstone>

export interface Directory {
  readonly byRecipient: TxHashMap.TxHashMap<RecipientId, Slot>
  readonly bySender: TxHashMap.TxHashMap<SenderId, Slot>
}

export const isLive = (queue: Mailbox | Tombstone): queue is Mailbox => !("deletedAt" in queue)

/** Whether a fiber is in a transaction, which may hold what is not committed yet. */
const isInTransaction = (fiber: Fiber.Fiber<unknown, unknown>): boolean =>
  Context.getOrUndefined(fiber.context, Effect.Transaction) !== undefined

/**
 * Uses what the directory has. Outside a transaction it is read as it was last committed, at a tenth of the price of a
 * boundary. Inside the caller's own `Effect.tx` it has to be read through the journal, which may hold a queue created a
 * moment ago.
 */
export const lookThen = <Id, A, E>(
  directory: TxHashMap.TxHashMap<Id, Slot>,
  id: Id,
  use: (slot: Option.Option<Slot>) => Effect.Effect<A, E>
): Effect.Effect<A, E> =>
  Effect.withFiber((fiber) =>
    isInTransaction(fiber)
      ? Effect.flatMap(TxHashMap.get(directory, id), use)
      : use(HashMap.get(directory.ref.value, id))
  )

export const look = <Id>(directory: TxHashMap.TxHashMap<Id, Slot>, id: Id): Effect.Effect<Option.Option<Slot>> =>
  lookThen(directory, id, Effect.succeed)

/** What a ref holds, by the same rule: a boundary for a value that one step reads buys nothing. */
export const content = (slot: Slot): Effect.Effect<Mailbox | Tombstone> =>
  Effect.withFiber((fiber) => isInTransaction(fiber) ? TxRef.get(slot) : Effect.succeed(slot.value))

const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
const ranks = new Uint8Array(128)
for (let rank = 0; rank < alphabet.length; rank++) ranks[alphabet.charCodeAt(rank)] = rank

/** The order of ids: that of their bytes, a proper prefix first. It is not that of their texts (spec 2.1). */
export const compareIds = (a: string, b: string): number => {
  for (let i = 0; i < a.length && i < b.length; i++) {
    const difference = (ranks[a.charCodeAt(i)] ?? 0) - (ranks[b.charCodeAt(i)] ?? 0)
    if (difference !== 0) return difference
  }
  return a.length - b.length
}

/** All queues as they were last committed, in order of their recipient ids. */
export const inOrder = (directory: Directory): ReadonlyArray<Slot> =>
  Array.from(HashMap.entries(directory.byRecipient.ref.value))
    .toSorted(([a], [b]) => compareIds(a, b))
    .map(([, slot]) => slot)

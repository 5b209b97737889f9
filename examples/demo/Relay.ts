/**
 * A text goes from senders to recipients through queues: a whole program on the `MsgStore` service.
 *
 * Nothing here knows which store it runs on, or that somebody may kill the server meanwhile. Three habits make that work:
 *
 * 1. The sender chooses the id of each message, so a write whose answer was lost can simply be repeated.
 * 2. The recipient keeps a message first and acknowledges it afterwards, and discards by id what it has kept already.
 * 3. Every call is repeated while its error says that repeating helps.
 */
import { Effect, Option, Schedule } from "effect"
import type { Message, MessageId, RecipientId, SenderId } from "restante"
import { MsgStore, type MsgStoreError } from "restante"
import * as Paragraphs from "./Paragraphs.ts"

/** One sender, one recipient, the queue between them, and what is to go through it. */
export interface Route {
  readonly sender: { readonly name: string; readonly id: SenderId }
  readonly recipient: { readonly name: string; readonly id: RecipientId }
  readonly quota: number
  /** How many paragraphs the sender writes in one call. */
  readonly batch: number
  readonly paragraphs: ReadonlyArray<Paragraphs.Paragraph>
}

/** What a recipient has at the end. */
export interface Delivery {
  readonly route: Route
  /** The entries in the order in which they were read: paragraphs, and the markers that stood between them. */
  readonly entries: ReadonlyArray<Message.Entry>
  /** How many messages were discarded because a message with the same id had been kept before. */
  readonly duplicates: number
}

/** All routes at once. Ends when every recipient has everything. */
export const relay = (routes: ReadonlyArray<Route>) =>
  Effect.forEach(
    routes,
    Effect.fnUntraced(function*(route) {
      yield* open(route)
      const mailbox = makeMailbox(route)
      yield* Effect.all([send(route), receive(route, mailbox)], { concurrency: "unbounded" })
      // A write whose answer was lost may have been stored again after its first copy had been read.
      yield* readToTheEnd(route, mailbox)
      return mailbox.delivery()
    }),
    { concurrency: "unbounded" }
  )

/**
 * How a call is repeated: soon at first, then every 100 ms, for up to a minute. Only a `MsgStoreError` can be worth
 * repeating, and its reason says whether it is: `Unavailable` and `OutcomeUnknown` are, `SchemaMismatch` is not.
 */
const patience = Schedule.min([Schedule.exponential("5 millis"), Schedule.spaced("100 millis")]).pipe(
  Schedule.upTo({ duration: "1 minute" })
)

const patiently = <A, E extends { readonly _tag: string }, R>(
  call: Effect.Effect<A, E | MsgStoreError.MsgStoreError, R>
): Effect.Effect<A, E | MsgStoreError.MsgStoreError, R> =>
  Effect.retry(call, { schedule: patience, while: (error) => "isRetryable" in error && error.isRetryable })

/** Creating a queue again with the same ids answers the queue that is there, so this may be repeated too. */
const open = ({ quota, recipient, sender }: Route) =>
  MsgStore.MsgStore.use((store) =>
    patiently(store.createQueue({ recipientId: recipient.id, senderId: sender.id, quota }))
  )

/**
 * Writes the paragraphs in order, a few per call, and each until it is stored. `QuotaReached` and `QuotaExceeded` mean that
 * it was not: the queue is latched until the recipient has emptied it, so the sender waits and writes the same messages
 * again. `AlreadyStored` means that an earlier attempt was applied, and its answer lost.
 */
const send = Effect.fnUntraced(function*({ batch, paragraphs, sender }: Route) {
  const store = yield* MsgStore.MsgStore
  let next = 0
  while (next < paragraphs.length) {
    const items = paragraphs.slice(next, next + batch).map(({ bytes, number }) => ({
      target: { senderId: sender.id },
      message: { id: Paragraphs.messageId(number), body: bytes }
    }))
    const outcomes = yield* Effect.forEach(
      yield* patiently(store.writeMany(items)),
      (result) => Effect.fromResult(result)
    )
    // A message that is refused latches the queue, so nothing after it is stored and the order stays what it is.
    const refused = outcomes.findIndex(({ _tag }) => _tag === "QuotaReached" || _tag === "QuotaExceeded")
    if (refused === -1) {
      next += items.length
    } else {
      next += refused
      yield* Effect.sleep("2 millis")
    }
  }
})

/** The recipient is away until there is something to come for, then reads until nothing is left, and leaves again. */
const receive = Effect.fnUntraced(function*(route: Route, mailbox: Mailbox) {
  while (mailbox.missing() > 0) {
    yield* untilWorthComing(route, mailbox)
    yield* readToTheEnd(route, mailbox)
  }
})

/** A queue is worth coming for once it is latched, or holds all that is missing. */
const untilWorthComing = ({ recipient }: Route, mailbox: Mailbox) =>
  MsgStore.MsgStore.use((store) => patiently(store.getQueue({ recipientId: recipient.id }))).pipe(
    Effect.repeat({
      schedule: Schedule.spaced("5 millis"),
      until: ({ latched, size }) => latched || size >= mailbox.missing()
    })
  )

const readToTheEnd = Effect.fnUntraced(function*({ recipient }: Route, mailbox: Mailbox) {
  const store = yield* MsgStore.MsgStore
  let head = yield* patiently(store.peek(recipient.id))
  while (Option.isSome(head)) {
    const entry = head.value
    mailbox.keep(entry)
    if (entry.kind === "quota") {
      // Trap: the marker has the id of the message that overflowed, and its sender is about to write that message again.
      // Were the answer to `acknowledge` lost here, repeating it could remove the message itself, unread. A sequence is
      // never used twice. The marker is the last entry, so the queue is now empty and the sender may go on.
      yield* patiently(store.acknowledgeThrough(recipient.id, { sequence: entry.sequence }))
      return
    }
    head = (yield* patiently(store.acknowledgeAndPeek(recipient.id, entry.id))).next
  }
})

/** Where a recipient keeps what it has read. */
interface Mailbox {
  readonly keep: (entry: Message.Entry) => void
  /** How many paragraphs are still to come. */
  readonly missing: () => number
  readonly delivery: () => Delivery
}

const makeMailbox = (route: Route): Mailbox => {
  const entries: Array<Message.Entry> = []
  const kept = new Set<MessageId>()
  let duplicates = 0
  return {
    keep: (entry) => {
      if (entry.kind === "message" && kept.has(entry.id)) {
        duplicates++
        return
      }
      entries.push(entry)
      if (entry.kind === "message") kept.add(entry.id)
    },
    missing: () => route.paragraphs.length - kept.size,
    delivery: () => ({ route, entries, duplicates })
  }
}

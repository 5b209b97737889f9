/**
 * A queue of its own for each case, with messages that have names. Everything goes through the contract.
 */
import { Effect, Option, Stream } from "effect"
import * as TestClock from "effect/testing/TestClock"
import type { Message, MsgStore, Queue } from "restante"
import { MessageId, RecipientId, SenderId } from "restante"
import type { Store } from "./case.ts"

const encoder = new TextEncoder()
const decoder = new TextDecoder()

/** The UTF-8 of a text. */
export const bytes = (text: string): Uint8Array => encoder.encode(text)

/** As many bytes, all the same. */
export const filled = (length: number, byte = 7): Uint8Array => new Uint8Array(length).fill(byte)

/** The id of a named message. Ids of messages are unique within a queue only, so names can be short. */
export const id = (name: string): MessageId => MessageId.named(name)

/** The timestamp of messages that are written without another one. */
const defaultTimestamp = 1_000

/** The message of this name: its id and its body are the name. */
export const message = (name: string, overrides: Partial<Message.NewMessage> = {}): Message.NewMessage => ({
  id: id(name),
  timestamp: defaultTimestamp,
  notify: false,
  body: bytes(name),
  ...overrides
})

/** The entry that a message of this name becomes. */
export const entry = (
  name: string,
  sequence: bigint,
  overrides: Partial<Omit<Message.StoredMessage, "kind" | "id" | "sequence">> = {}
): Message.Entry => ({
  kind: "message",
  id: id(name),
  timestamp: defaultTimestamp,
  notify: false,
  body: bytes(name),
  ...overrides,
  sequence
})

/** The marker that stands for the message of this name. */
export const marker = (name: string, sequence: bigint, timestamp = defaultTimestamp): Message.Entry => ({
  kind: "quota",
  id: id(name),
  timestamp,
  notify: false,
  body: new Uint8Array(0),
  sequence
})

/** Accepted into an empty queue. */
export const acceptedFirst = (sequence: bigint): MsgStore.WriteOutcome => ({
  _tag: "Accepted",
  wasEmpty: true,
  sequence
})
/** Accepted behind something else. */
export const accepted = (sequence: bigint): MsgStore.WriteOutcome => ({ _tag: "Accepted", wasEmpty: false, sequence })
export const alreadyStored = (sequence: bigint): MsgStore.WriteOutcome => ({ _tag: "AlreadyStored", sequence })
export const quotaReached: MsgStore.WriteOutcome = { _tag: "QuotaReached" }
export const quotaExceeded: MsgStore.WriteOutcome = { _tag: "QuotaExceeded" }

/**
 * A value that the compiler would refuse, as it arrives from a program without types or from a cast. It is the only place
 * of the suite where a value is given another type, and exists because bounds hold at run time too.
 */
// oxlint-disable-next-line typescript/no-unnecessary-type-parameters, typescript/no-unsafe-type-assertion
export const unchecked = <A>(value: unknown): A => value as A

/** The name of a message from its id. */
export const nameOf = (messageId: MessageId): string => decoder.decode(MessageId.toBytes(messageId))

/** Which entry this is, for a person: its name, and whether it is the marker. */
export const label = (entry: Message.Entry): string =>
  entry.kind === "quota" ? `Q(${nameOf(entry.id)})` : nameOf(entry.id)

const labelOf = (found: Option.Option<Message.Entry>): string =>
  Option.match(found, { onNone: () => "none", onSome: label })

/**
 * Everything that `messages` gives, up to more than any case stores: a wrong store may give the same page for ever, and
 * the case should fail, not hang.
 */
export const allEntries = (store: Store, recipientId: RecipientId) =>
  Stream.runCollect(Stream.take(store.messages(recipientId), 2_600))

/** One queue and the calls on it, written by sender id and read by recipient id. */
export const queueUnderTest = (store: Store, recipientId: RecipientId, senderId: SenderId) => ({
  recipientId,
  senderId,
  reader: { recipientId },
  writer: { senderId },
  write: (name: string, overrides?: Partial<Message.NewMessage>) => store.write({ senderId }, message(name, overrides)),
  /** An item of a batch. */
  item: (name: string, overrides?: Partial<Message.NewMessage>): MsgStore.WriteItem => ({
    target: { senderId },
    message: message(name, overrides)
  }),
  peek: store.peek(recipientId),
  /** Which entry is the head; `none` if there is none. */
  head: Effect.map(store.peek(recipientId), labelOf),
  acknowledge: (name: string) => store.acknowledge(recipientId, id(name)),
  /** Which entry was removed; `none` if none was. */
  remove: (name: string) => Effect.map(store.acknowledge(recipientId, id(name)), labelOf),
  /** Which entry was removed and which is the head afterwards. */
  removeAndPeek: (name: string) =>
    Effect.map(store.acknowledgeAndPeek(recipientId, id(name)), ({ acknowledged, next }) => ({
      acknowledged: labelOf(acknowledged),
      next: labelOf(next)
    })),
  acknowledgeThrough: (through: string | { readonly sequence: bigint }) =>
    store.acknowledgeThrough(recipientId, typeof through === "string" ? id(through) : through),
  deleteExpired: (before: number) => store.deleteExpired(recipientId, before),
  size: store.size(recipientId),
  record: store.getQueue({ recipientId }),
  /** Up to 1,000 entries from the head. */
  entries: store.peekBatch(recipientId, { limit: 1_000 }),
  /** Which entries there are, from the head. */
  labels: Effect.map(store.peekBatch(recipientId, { limit: 1_000 }), (entries) => entries.map(label)),
  all: allEntries(store, recipientId),
  setQuota: (quota: number | undefined) => store.setQuota(recipientId, quota),
  setStatus: (status: Queue.QueueStatus) => store.setQueueStatus(recipientId, status),
  delete: store.deleteQueue(recipientId),
  /** Everything about the queue that the contract shows: its record and all entries. */
  state: Effect.all({
    record: store.getQueue({ recipientId }),
    entries: allEntries(store, recipientId)
  })
})
export type QueueUnderTest = ReturnType<typeof queueUnderTest>

/** A new queue that no other case knows, holding these messages. */
export const freshQueue = Effect.fnUntraced(function*(
  store: Store,
  options: { readonly quota?: number; readonly status?: Queue.QueueStatus; readonly holding?: ReadonlyArray<string> } =
    {}
) {
  const { holding = [], ...queue } = options
  const { recipientId, senderId } = yield* store.createQueue({
    ...queue,
    recipientId: RecipientId.randomUnsafe(),
    senderId: SenderId.randomUnsafe()
  })
  const created = queueUnderTest(store, recipientId, senderId)
  for (const name of holding) yield* created.write(name)
  return created
})

/** A queue that existed and was deleted while it held a message. */
export const deletedQueue = Effect.fnUntraced(function*(store: Store) {
  const queue = yield* freshQueue(store, { holding: ["M1"] })
  yield* queue.delete
  return queue
})

/** Ids that no queue has or had. */
export const unknownQueue = (store: Store): QueueUnderTest =>
  queueUnderTest(store, RecipientId.randomUnsafe(), SenderId.randomUnsafe())

/** Runs a part of a case at times that it sets itself with `TestClock.setTime`. It starts at 0. */
export const onTestClock = <A, E, R>(body: () => Effect.gen.Return<A, E, R>) =>
  Effect.provide(Effect.gen(body), TestClock.layer())

/** As many values, which may be none: `Array.makeBy` of Effect makes at least one. */
export const times = <A>(count: number, make: (i: number) => A): Array<A> =>
  Array.from({ length: count }, (_, i) => make(i))

/** `M1`, `M2` and so on. */
export const names = (count: number, prefix = "M"): Array<string> =>
  Array.from({ length: count }, (_, i) => `${prefix}${i + 1}`)

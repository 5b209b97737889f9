/**
 * What a queue holds: messages, and the marker that stands for the message that overflowed it.
 */
import { Effect, Schema } from "effect"
import * as ByteId from "./internal/byteId.ts"

/**
 * The id of a message within its queue: 1 to 64 bytes, held as unpadded base64url text. A writer who wants to repeat a
 * write whose answer was lost chooses the id; otherwise the store draws 24 random bytes.
 */
export type MessageId = ByteId.ByteId<"restante/MessageId">
export const MessageId: ByteId.ByteIdModule<"restante/MessageId"> = ByteId.make("restante/MessageId", "messageId")

/** Milliseconds since the epoch (UTC): an integer from 0 to 2^53 - 1. */
export const Timestamp = Schema.Int.check(Schema.isGreaterThanOrEqualTo(0))

/** The position of an entry in its queue, from 1 to 2^63 - 1; never reused while the queue exists. */
export const Sequence = Schema.BigInt.check(Schema.isBetweenBigInt({ minimum: 1n, maximum: 2n ** 63n - 1n }))

/** No body is larger, whatever `maxBodyBytes` a layer is given: 8 MiB. */
export const hardBodyLimit = 8_388_608

const Body = Schema.Uint8Array.check(
  Schema.makeFilter((bytes) => bytes.length <= hardBodyLimit, { expected: "at most 8,388,608 bytes" })
)
const NoBody = Schema.Uint8Array.check(Schema.makeFilter((bytes) => bytes.length === 0, { expected: "no bytes" }))

/** A message as a writer hands it over. */
export interface NewMessage {
  /** Absent: 24 random bytes. Supply it in order to be able to repeat the write. */
  readonly id?: MessageId | undefined
  /** Milliseconds since the epoch, an integer from 0 to 2^53 - 1. Absent: the clock of the calling fiber. */
  readonly timestamp?: number | undefined
  /** A flag for the reader; the store only keeps it. Absent: false. */
  readonly notify?: boolean | undefined
  /** 0 to `maxBodyBytes` bytes. The store keeps its own copy. */
  readonly body: Uint8Array
}

/** A message to write. */
export const make = (message: NewMessage): NewMessage => message

const encoder = new TextEncoder()
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true })

/** A message whose body is the UTF-8 of a text. */
export const fromText = (text: string, options?: Omit<NewMessage, "body">): NewMessage => ({
  ...options,
  body: encoder.encode(text)
})

/** The body of a message, read as UTF-8. Fails with `NotUtf8` when it is something else. */
export const bodyText = (entry: { readonly body: Uint8Array }): Effect.Effect<string, NotUtf8> =>
  Effect.try({ try: () => decoder.decode(entry.body), catch: () => new NotUtf8() })

/** The body of a message was read as text, but is not valid UTF-8. */
export class NotUtf8 extends Schema.TaggedError<NotUtf8>()("NotUtf8", {}) {
  override get message(): string {
    return "the body of the message is not valid UTF-8; read its bytes instead"
  }
}

/** A stored message. */
export const StoredMessage = Schema.Struct({
  kind: Schema.Literal("message"),
  id: MessageId.schema,
  timestamp: Timestamp,
  notify: Schema.Boolean,
  body: Body,
  sequence: Sequence
})
export type StoredMessage = typeof StoredMessage.Type

/**
 * The entry that is stored instead of the message that overflowed its queue. It tells the reader that the writer was
 * stopped here: it has the id and the timestamp of that message, no body, and `notify` false. It is always the last
 * entry of its queue, and it counts in every size.
 */
export const QuotaMarker = Schema.Struct({
  kind: Schema.Literal("quota"),
  id: MessageId.schema,
  timestamp: Timestamp,
  notify: Schema.Literal(false),
  body: NoBody,
  sequence: Sequence
})
export type QuotaMarker = typeof QuotaMarker.Type

/** What is stored: a message or the quota marker, told apart by `kind`. */
export const Entry = Schema.Union([StoredMessage, QuotaMarker])
export type Entry = typeof Entry.Type

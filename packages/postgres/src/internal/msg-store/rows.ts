/**
 * What the stored functions of `migrations/` answer. Each row carries its outcome; what does not decode is corrupt
 * and is never handed out (spec 7.5).
 */
import { Effect, Option, Schema } from "effect"
import { Message, MsgStoreError, Queue } from "restante"
import * as Bytes from "../database/bytes.ts"
import { RoutineFailure } from "../database/routine.ts"

const notFound = Schema.Struct({ outcome: Schema.Literal("not_found") })

const outcomes = <const Outcomes extends ReadonlyArray<string>>(...outcomes: Outcomes) =>
  Schema.Struct({ outcome: Schema.Literals(outcomes) })

const recordColumns = {
  recipient_id: Schema.Uint8Array,
  sender_id: Schema.Uint8Array,
  quota: Schema.NullOr(Schema.Int),
  status: Schema.String,
  size: Schema.BigInt,
  latched: Schema.Boolean,
  first_sequence: Schema.NullOr(Schema.BigInt),
  next_sequence: Schema.BigInt,
  created_at: Schema.BigInt,
  updated_at: Schema.BigInt
}

export const QueueRow = Schema.Union([
  Schema.Struct({ outcome: Schema.Literal("found"), ...recordColumns }),
  notFound
])

export const CreateRow = Schema.Union([
  Schema.Struct({ outcome: Schema.Literals(["created", "found"]), ...recordColumns }),
  outcomes("recipient_taken", "sender_taken")
])

export const SenderRow = Schema.Struct({
  sender_id: Schema.Uint8Array,
  recipient_id: Schema.Uint8Array,
  status: Queue.QueueStatus
})

export const DeleteRow = Schema.Union([
  Schema.Struct({ outcome: Schema.Literal("deleted"), discarded: Schema.BigInt }),
  notFound
])

type Columns = Readonly<Record<string, unknown>>

const isRow = (row: unknown): row is Columns => typeof row === "object" && row !== null

const isSequence = (value: unknown): value is bigint => typeof value === "bigint" && value >= 1n

/**
 * Readers by hand, for what is called for each message: Schema takes about 10 µs for such a row, and a whole call of a
 * batch has as much. They hold rows to the same rules.
 */
export type WriteRow =
  | { readonly outcome: "accepted"; readonly sequence: bigint; readonly wasEmpty: boolean }
  | { readonly outcome: "already_stored"; readonly sequence: bigint }
  | { readonly outcome: "quota_reached" | "quota_exceeded" | "suspended" | "not_found" }

const accepted = (sequence: unknown, wasEmpty: boolean): WriteRow | undefined =>
  isSequence(sequence) ? { outcome: "accepted", sequence, wasEmpty } : undefined

const alreadyStored = (sequence: unknown): WriteRow | undefined =>
  isSequence(sequence) ? { outcome: "already_stored", sequence } : undefined

export const writeRow = (row: unknown): WriteRow | undefined => {
  if (!isRow(row)) return undefined
  switch (row["outcome"]) {
    case "accepted":
      return typeof row["was_empty"] === "boolean" ? accepted(row["at_sequence"], row["was_empty"]) : undefined
    case "already_stored":
      return alreadyStored(row["at_sequence"])
    case "quota_reached":
    case "quota_exceeded":
    case "suspended":
    case "not_found":
      return { outcome: row["outcome"] }
  }
  return undefined
}

/** A letter of `write_many`, and the sequence beside it. */
const writeLetter = (letter: string, sequence: unknown): WriteRow | undefined => {
  switch (letter) {
    case "A":
      return accepted(sequence, false)
    case "E":
      return accepted(sequence, true)
    case "D":
      return alreadyStored(sequence)
    case "R":
      return { outcome: "quota_reached" }
    case "X":
      return { outcome: "quota_exceeded" }
    case "S":
      return { outcome: "suspended" }
    case "N":
      return { outcome: "not_found" }
  }
  return undefined
}

export type WriteManyRow =
  | { readonly outcome: "written"; readonly items: ReadonlyArray<WriteRow> }
  | { readonly outcome: "rebind" }

export const writeManyRow = (row: unknown): WriteManyRow | undefined => {
  if (!isRow(row)) return undefined
  if (row["outcome"] === "rebind") return { outcome: "rebind" }
  const { outcomes, sequences } = row
  if (row["outcome"] !== "written" || typeof outcomes !== "string" || !Array.isArray(sequences)) return undefined
  const items: Array<WriteRow> = []
  for (let i = 0; i < outcomes.length; i++) {
    const item = writeLetter(outcomes.charAt(i), sequences[i])
    if (item === undefined) return undefined
    items.push(item)
  }
  return { outcome: "written", items }
}

const entryOf = (
  kind: unknown,
  bytes: unknown,
  ts: unknown,
  notify: unknown,
  body: unknown,
  sequence: unknown
): Message.Entry | undefined => {
  if (
    typeof ts !== "bigint" || typeof notify !== "boolean" || !(bytes instanceof Uint8Array) ||
    !(body instanceof Uint8Array) || !isSequence(sequence)
  ) return undefined
  const id = Bytes.toText(bytes)
  const timestamp = Number(ts)
  if (!Message.MessageId.is(id) || timestamp < 0 || !Number.isSafeInteger(timestamp)) return undefined
  switch (kind) {
    case "m":
      return body.length <= Message.hardBodyLimit
        ? { kind: "message", id, timestamp, notify, body, sequence }
        : undefined
    case "q":
      return body.length === 0 && !notify ? { kind: "quota", id, timestamp, notify, body, sequence } : undefined
  }
  return undefined
}

const entryIn = (row: Columns): Message.Entry | undefined =>
  entryOf(row["kind"], row["message_id"], row["ts"], row["notify"], row["body"], row["sequence"])

/** `later` is an answer of batches only: not looked at. */
export type PeekRow =
  | { readonly outcome: "entry"; readonly entry: Message.Entry }
  | { readonly outcome: "corrupt" | "empty" | "not_found" | "later" }

export const peekRow = (row: unknown): PeekRow | undefined => {
  if (!isRow(row)) return undefined
  switch (row["outcome"]) {
    case "entry": {
      const entry = entryIn(row)
      return entry === undefined ? { outcome: "corrupt" } : { outcome: "entry", entry }
    }
    case "corrupt":
    case "empty":
    case "not_found":
    case "later":
      return { outcome: row["outcome"] }
  }
  return undefined
}

/** `next` is absent if nothing is behind the head, or nobody asked. */
export type AcknowledgeRow =
  | {
    readonly outcome: "acknowledged" | "not_head"
    readonly acknowledged: Option.Option<Message.Entry>
    readonly next: Option.Option<Message.Entry>
  }
  | { readonly outcome: "corrupt" | "not_found" | "later" }

export const acknowledgeRow = (row: unknown): AcknowledgeRow | undefined => {
  if (!isRow(row)) return undefined
  switch (row["outcome"]) {
    case "acknowledged":
    case "not_head": {
      const acknowledged = row["outcome"] === "acknowledged" ? entryIn(row) : null
      const next = row["next_sequence"] === null ? null : entryOf(
        row["next_kind"],
        row["next_message_id"],
        row["next_ts"],
        row["next_notify"],
        row["next_body"],
        row["next_sequence"]
      )
      return acknowledged === undefined || next === undefined ? { outcome: "corrupt" } : {
        outcome: row["outcome"],
        acknowledged: Option.fromNullOr(acknowledged),
        next: Option.fromNullOr(next)
      }
    }
    case "corrupt":
    case "not_found":
    case "later":
      return { outcome: row["outcome"] }
  }
  return undefined
}

/** A row of a batch, and which item it answers, from 1. */
export const numbered =
  <Row>(read: (row: unknown) => Row | undefined) =>
  (row: unknown): { readonly ordinal: number; readonly row: Row } | undefined => {
    const answer = read(row)
    return isRow(row) && typeof row["ordinal"] === "number" && answer !== undefined
      ? { ordinal: row["ordinal"], row: answer }
      : undefined
  }

export const RemoveRow = Schema.Union([
  Schema.Struct({ outcome: Schema.Literal("removed"), removed: Schema.BigInt }),
  notFound
])

export const RemoveSequenceRow = Schema.Union([
  ...RemoveRow.members,
  Schema.Struct({ outcome: Schema.Literal("not_assigned"), next_sequence: Message.Sequence })
])

export const SizeRow = Schema.Union([
  Schema.Struct({ outcome: Schema.Literal("found"), size: Schema.BigInt }),
  notFound
])

/** Null for a queue that is not there. */
export const SizeManyRow = Schema.Struct({ sizes: Schema.Array(Schema.NullOr(Schema.BigInt)) })

const expiryColumns = {
  visited: Schema.Int,
  expired: Schema.BigInt,
  skipped: Schema.Int,
  failed: Schema.Int
}

export const ExpireAllRow = Schema.Union([
  Schema.Struct({ outcome: Schema.Literal("more"), last: Schema.Uint8Array, ...expiryColumns }),
  Schema.Struct({ outcome: Schema.Literal("done"), ...expiryColumns })
])

export const CompactRow = Schema.Union([
  Schema.Struct({
    outcome: Schema.Literal("more"),
    last_deleted_at: Schema.BigInt,
    last: Schema.Uint8Array,
    removed: Schema.Int
  }),
  Schema.Struct({ outcome: Schema.Literal("done"), removed: Schema.Int })
])

export const StatsRow = Schema.Struct({
  queues: Schema.BigInt,
  suspended: Schema.BigInt,
  latched: Schema.BigInt,
  messages: Schema.BigInt,
  markers: Schema.BigInt,
  tombstones: Schema.BigInt
})

const suspectColumns = { checked: Schema.Int, suspects: Schema.Array(Schema.Uint8Array) }

export const SuspectsRow = Schema.Union([
  Schema.Struct({ outcome: Schema.Literal("more"), last: Schema.Uint8Array, ...suspectColumns }),
  Schema.Struct({ outcome: Schema.Literal("done"), ...suspectColumns })
])

/** A latch is 1 or 0. */
export const RecountRow = Schema.Union([
  Schema.Struct({
    outcome: Schema.Literal("drift"),
    finding: Schema.Literals(["size", "latched", "headSequence", "nextSequence"]),
    stored: Schema.BigInt,
    actual: Schema.BigInt
  }),
  Schema.Struct({
    outcome: Schema.Literal("violation"),
    finding: Schema.Literals(["MarkerNotLast", "SeveralMarkers", "MalformedEntry"])
  }),
  outcomes("sound", "not_found")
])

export const ImportCreateRow = Schema.Struct({
  ordinal: Schema.Int,
  outcome: Schema.Literals(["created", "existing", "conflict"]),
  queue_key: Schema.NullOr(Schema.BigInt),
  created: Schema.Boolean
})

export const ImportFindRow = Schema.Union([
  Schema.Struct({ ordinal: Schema.Int, outcome: Schema.Literals(["created", "found"]), queue_key: Schema.BigInt }),
  Schema.Struct({ ordinal: Schema.Int, outcome: Schema.Literal("not_found") })
])

export const ImportMarkersRow = outcomes("taken")

export const ImportOpenRow = outcomes("made", "none")

export const ImportTakeRow = outcomes("taken", "staged")

export const ImportRecallRow = Schema.Union([
  Schema.Struct({ outcome: Schema.Literal("more"), last: Schema.Uint8Array }),
  outcomes("done")
])

export const ImportLockRow = Schema.Union([
  Schema.Struct({ outcome: Schema.Literal("more"), last: Schema.Uint8Array }),
  outcomes("done")
])

export const ImportAppendRow = Schema.Union([
  Schema.Struct({
    outcome: Schema.Literal("more"),
    last_key: Schema.BigInt,
    last_sequence: Schema.BigInt,
    last_n: Schema.BigInt,
    duplicates: Schema.BigInt
  }),
  Schema.Struct({ outcome: Schema.Literal("done"), duplicates: Schema.BigInt })
])

const finishedColumns = {
  created: Schema.BigInt,
  existing: Schema.BigInt,
  messages: Schema.BigInt,
  latched: Schema.BigInt
}

export const ImportFinishRow = Schema.Union([
  Schema.Struct({ outcome: Schema.Literal("more"), last: Schema.Uint8Array, ...finishedColumns }),
  Schema.Struct({ outcome: Schema.Literal("done"), ...finishedColumns })
])

/** A queue, and its entries column by column. */
export const ExportRow = Schema.Struct({
  recipient_id: Schema.Uint8Array,
  sender_id: Schema.Uint8Array,
  quota: Schema.NullOr(Schema.Int),
  status: Schema.String,
  created_at: Schema.BigInt,
  updated_at: Schema.BigInt,
  next_sequence: Schema.BigInt,
  kinds: Schema.String,
  sequences: Schema.Array(Schema.BigInt),
  message_ids: Schema.Array(Schema.Uint8Array),
  ts: Schema.Array(Schema.BigInt),
  notifies: Schema.Array(Schema.Boolean),
  bodies: Schema.Array(Schema.NullOr(Schema.Uint8Array))
})
export type ExportRow = typeof ExportRow.Type

const decodeRecord = Schema.decodeUnknownResult(Queue.QueueRecord)

const corrupt = (cause: unknown) => new RoutineFailure({ reason: new MsgStoreError.Corrupt(), cause })

/** The queue record in a row. */
export const record = (row: {
  readonly recipient_id: Uint8Array
  readonly sender_id: Uint8Array
  readonly quota: number | null
  readonly status: string
  readonly size: bigint
  readonly latched: boolean
  readonly first_sequence: bigint | null
  readonly next_sequence: bigint
  readonly created_at: bigint
  readonly updated_at: bigint
}): Effect.Effect<Queue.QueueRecord, RoutineFailure> =>
  Effect.mapError(
    Effect.fromResult(decodeRecord({
      recipientId: Bytes.toText(row.recipient_id),
      senderId: Bytes.toText(row.sender_id),
      ...(row.quota === null ? {} : { quota: row.quota }),
      status: row.status,
      size: Number(row.size),
      latched: row.latched,
      ...(row.first_sequence === null ? {} : { firstSequence: row.first_sequence }),
      nextSequence: row.next_sequence,
      createdAt: Number(row.created_at),
      updatedAt: Number(row.updated_at)
    })),
    corrupt
  )

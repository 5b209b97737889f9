/**
 * What the stored functions of `migrations/` answer. Each row carries its outcome; what does not decode is corrupt
 * and is never handed out (spec 7.5).
 */
import { Effect, Schema } from "effect"
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

const writeOutcomes = [
  Schema.Struct({ outcome: Schema.Literal("accepted"), at_sequence: Message.Sequence, was_empty: Schema.Boolean }),
  Schema.Struct({ outcome: Schema.Literal("already_stored"), at_sequence: Message.Sequence }),
  outcomes("quota_reached", "quota_exceeded", "suspended", "not_found")
] as const

export const WriteRow = Schema.Union(writeOutcomes)
export type WriteRow = typeof WriteRow.Type

export const WriteManyRow = Schema.Union([
  Schema.Struct({ ...writeOutcomes[0].fields, ordinal: Schema.Int }),
  Schema.Struct({ ...writeOutcomes[1].fields, ordinal: Schema.Int }),
  Schema.Struct({ ...writeOutcomes[2].fields, ordinal: Schema.Int }),
  Schema.Struct({ outcome: Schema.Literal("rebind"), ordinal: Schema.Int })
])

const entryColumns = {
  sequence: Schema.BigInt,
  message_id: Schema.Uint8Array,
  kind: Schema.String,
  ts: Schema.BigInt,
  notify: Schema.Boolean,
  body: Schema.Uint8Array
}

const nextColumns = {
  next_sequence: Schema.BigInt,
  next_message_id: Schema.Uint8Array,
  next_kind: Schema.String,
  next_ts: Schema.BigInt,
  next_notify: Schema.Boolean,
  next_body: Schema.Uint8Array
}

export const PeekRow = Schema.Union([
  Schema.Struct({ outcome: Schema.Literal("entry"), ...entryColumns }),
  outcomes("corrupt", "empty", "not_found")
])

/** `next_sequence` is null if nothing is behind the head, or nobody asked. */
export const AcknowledgeRow = Schema.Union([
  Schema.Struct({ outcome: Schema.Literal("acknowledged"), ...entryColumns, ...nextColumns }),
  Schema.Struct({ outcome: Schema.Literal("acknowledged"), ...entryColumns, next_sequence: Schema.Null }),
  Schema.Struct({ outcome: Schema.Literal("not_head"), ...nextColumns }),
  Schema.Struct({ outcome: Schema.Literal("not_head"), next_sequence: Schema.Null }),
  outcomes("not_found", "corrupt")
])

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
  queue_key: Schema.NullOr(Schema.BigInt)
})

export const ImportFindRow = Schema.Union([
  Schema.Struct({ ordinal: Schema.Int, outcome: Schema.Literal("found"), queue_key: Schema.BigInt }),
  Schema.Struct({ ordinal: Schema.Int, outcome: Schema.Literal("not_found") })
])

export const ImportMarkersRow = outcomes("taken")

export const ImportLockRow = Schema.Union([
  Schema.Struct({ outcome: Schema.Literal("more"), last: Schema.Uint8Array }),
  outcomes("done")
])

const appendedColumns = { messages: Schema.BigInt, duplicates: Schema.BigInt }

export const ImportAppendRow = Schema.Union([
  Schema.Struct({
    outcome: Schema.Literal("more"),
    last_key: Schema.BigInt,
    last_sequence: Schema.BigInt,
    last_n: Schema.BigInt,
    ...appendedColumns
  }),
  Schema.Struct({ outcome: Schema.Literal("done"), ...appendedColumns })
])

const finishedColumns = { created: Schema.BigInt, existing: Schema.BigInt, latched: Schema.BigInt }

export const ImportFinishRow = Schema.Union([
  Schema.Struct({ outcome: Schema.Literal("more"), last: Schema.Uint8Array, ...finishedColumns }),
  Schema.Struct({ outcome: Schema.Literal("done"), ...finishedColumns })
])

/** Columns of queues are null in rows of entries, and the other way round. */
export const ExportRow = Schema.Struct({
  kind: Schema.String,
  recipient_id: Schema.NullOr(Schema.Uint8Array),
  sequence: Schema.NullOr(Schema.BigInt),
  message_id: Schema.NullOr(Schema.Uint8Array),
  ts: Schema.NullOr(Schema.BigInt),
  notify: Schema.NullOr(Schema.Boolean),
  body: Schema.NullOr(Schema.Uint8Array),
  sender_id: Schema.NullOr(Schema.Uint8Array),
  quota: Schema.NullOr(Schema.Int),
  status: Schema.NullOr(Schema.String),
  created_at: Schema.NullOr(Schema.BigInt),
  updated_at: Schema.NullOr(Schema.BigInt),
  next_sequence: Schema.NullOr(Schema.BigInt)
})
export type ExportRow = typeof ExportRow.Type

const kinds: Readonly<Record<string, Message.Entry["kind"]>> = { m: "message", q: "quota" }

const decodeEntry = Schema.decodeUnknownResult(Message.Entry)
const decodeRecord = Schema.decodeUnknownResult(Queue.QueueRecord)

const corrupt = (cause: unknown) => new RoutineFailure({ reason: new MsgStoreError.Corrupt(), cause })

/** The entry in a row, held to the contract's own schema. */
export const entry = (row: {
  readonly sequence: bigint
  readonly message_id: Uint8Array
  readonly kind: string
  readonly ts: bigint
  readonly notify: boolean
  readonly body: Uint8Array
}): Effect.Effect<Message.Entry, RoutineFailure> =>
  Effect.mapError(
    Effect.fromResult(decodeEntry({
      kind: kinds[row.kind],
      id: Bytes.toText(row.message_id),
      timestamp: Number(row.ts),
      notify: row.notify,
      body: row.body,
      sequence: row.sequence
    })),
    corrupt
  )

/** The entry behind the acknowledged one. */
export const nextEntry = (row: {
  readonly next_sequence: bigint
  readonly next_message_id: Uint8Array
  readonly next_kind: string
  readonly next_ts: bigint
  readonly next_notify: boolean
  readonly next_body: Uint8Array
}): Effect.Effect<Message.Entry, RoutineFailure> =>
  entry({
    sequence: row.next_sequence,
    message_id: row.next_message_id,
    kind: row.next_kind,
    ts: row.next_ts,
    notify: row.next_notify,
    body: row.next_body
  })

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

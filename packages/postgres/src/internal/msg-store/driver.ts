/**
 * The PostgreSQL driver: each operation is one call of one stored function, whose row says what happened.
 */
import { PgTypes } from "@effect/sql-pg"
import { Array as Arr, Effect, Option, Result } from "effect"
import type { Message, MsgStore, MsgStoreDriver, Queue, SenderId } from "restante"
import { MsgStoreError, RecipientId } from "restante"
import * as Bytes from "../database/bytes.ts"
import { coalesced, type Lanes } from "../database/lanes.ts"
import type { Database, RoutineFailure } from "../database/routine.ts"
import type { Arrivals } from "./arrivals.ts"
import { corrupt, failureOf, single } from "./failure.ts"
import * as Log from "./log.ts"
import * as Maintenance from "./maintenance.ts"
import * as Rows from "./rows.ts"
import * as Senders from "./senders.ts"

const corruptEntry = corrupt("an entry of the queue violates the specification")

const unanswered = corrupt("a function did not answer every item")

const written = (
  row: Rows.WriteRow,
  target: MsgStoreError.Target
): Result.Result<MsgStore.WriteOutcome, MsgStoreError.QueueNotFound | MsgStoreError.QueueSuspended> => {
  switch (row.outcome) {
    case "accepted":
      return Result.succeed({ _tag: "Accepted", wasEmpty: row.wasEmpty, sequence: row.sequence })
    case "already_stored":
      return Result.succeed({ _tag: "AlreadyStored", sequence: row.sequence })
    case "quota_reached":
      return Result.succeed({ _tag: "QuotaReached" })
    case "quota_exceeded":
      return Result.succeed({ _tag: "QuotaExceeded" })
    case "suspended":
      return Result.fail(new MsgStoreError.QueueSuspended())
    case "not_found":
      return Result.fail(new MsgStoreError.QueueNotFound({ target }))
  }
}

/** What a row means: an answer, a failure of the contract, or damage. */
type Answer<A, E = never> = Effect.Effect<A, E | RoutineFailure>

const unknownReader = (recipientId: RecipientId) =>
  Effect.fail(new MsgStoreError.QueueNotFound({ target: { recipientId } }))

const recordOf = (
  recipientId: RecipientId,
  row: typeof Rows.QueueRow.Type
): Answer<Queue.QueueRecord, MsgStoreError.QueueNotFound> =>
  row.outcome === "found" ? Rows.record(row) : unknownReader(recipientId)

const removedOf = (
  recipientId: RecipientId,
  row: typeof Rows.RemoveRow.Type
): Answer<number, MsgStoreError.QueueNotFound> =>
  row.outcome === "removed" ? Effect.succeed(Number(row.removed)) : unknownReader(recipientId)

const acknowledged = (
  recipientId: RecipientId,
  row: Rows.AcknowledgeRow
): Answer<MsgStore.AcknowledgedAndNext, MsgStoreError.QueueNotFound> => {
  switch (row.outcome) {
    case "acknowledged":
    case "not_head":
      return Effect.succeed({ acknowledged: row.acknowledged, next: row.next })
    case "not_found":
      return unknownReader(recipientId)
    case "corrupt":
      return Effect.fail(corruptEntry)
    case "later":
      return Effect.fail(unanswered)
  }
}

const weightless = () => 0

const sendersOf = (items: ReadonlyArray<MsgStoreDriver.StampedItem>): ReadonlyArray<SenderId> => [
  ...new Set(items.flatMap(({ target }) => "senderId" in target ? [target.senderId] : []))
]

/** Lanes of changes, and lanes of reads, which never wait for changes (spec 6.3). */
export interface MsgStoreLanes {
  readonly changes: Lanes
  readonly reads: Lanes
}

interface Write {
  readonly recipientId: RecipientId
  /** Null when the reader writes. */
  readonly senderId: SenderId | null
  readonly message: MsgStoreDriver.StampedMessage
  /** The same in all calls of a store. */
  readonly defaultQuota: number
}

interface Acknowledge {
  readonly recipientId: RecipientId
  readonly messageId: Message.MessageId
  /** Whether to answer the next entry as well. */
  readonly peek: boolean
}

/** When the bodies of a batch's answers have so many bytes, the rest of it leaves again. */
const maxAnswerBytes = 4n * 1_024n * 1_024n

const idOf = (id: string | null) => id === null ? null : Bytes.ofId(id)

const idsOf = (ids: ReadonlyArray<string>) => Bytes.array(ids.map(Bytes.ofId), PgTypes.OID.bytea)

/** The rows of a batch in the order of its items; those that were not looked at are absent. */
const inOrder = <Row extends { readonly outcome: string }>(items: ReadonlyArray<unknown>) =>
(
  rows: ReadonlyArray<{ readonly ordinal: number; readonly row: Row }>
): Effect.Effect<ReadonlyArray<Row | undefined>, RoutineFailure> => {
  if (rows.length !== items.length) return Effect.fail(unanswered)
  const answers: Array<Row | undefined> = Arr.makeBy(items.length, () => undefined)
  for (const { ordinal, row } of rows) answers[ordinal - 1] = row.outcome === "later" ? undefined : row
  return Effect.succeed(answers)
}

/** Without lanes each call is a statement of its own. */
export const make = (
  database: Database,
  arrivals: Arrivals,
  lanes: MsgStoreLanes | undefined
): MsgStoreDriver.MsgStoreDriver => {
  const getQueue = database.routine("get_queue", { kind: "read", parameters: ["bytea"], row: Rows.QueueRow })
  const getSenders = database.routine("get_senders", { kind: "read", parameters: ["bytea[]"], row: Rows.SenderRow })
  const createQueue = database.routine("create_queue", {
    kind: "change",
    parameters: ["bytea", "bytea", "integer", "text", "bigint"],
    row: Rows.CreateRow
  })
  const setQueueStatus = database.routine("set_queue_status", {
    kind: "change",
    parameters: ["bytea", "text", "bigint"],
    row: Rows.QueueRow
  })
  const setQuota = database.routine("set_quota", {
    kind: "change",
    parameters: ["bytea", "integer", "bigint"],
    row: Rows.QueueRow
  })
  const deleteQueue = database.routine("delete_queue", {
    kind: "change",
    parameters: ["bytea", "bigint"],
    row: Rows.DeleteRow
  })
  const write = database.routine("write", {
    kind: "change",
    parameters: ["bytea", "bytea", "bytea", "bigint", "boolean", "bytea", "integer", "boolean"],
    row: Rows.writeRow
  })
  const writeMany = database.routine("write_many", {
    kind: "change",
    parameters: ["bytea[]", "bytea[]", "bytea[]", "bigint[]", "boolean[]", "bytea[]", "integer", "boolean", "boolean"],
    row: Rows.writeManyRow
  })
  const peek = database.routine("peek", { kind: "read", parameters: ["bytea"], row: Rows.peekRow })
  const peekMany = database.routine("peek_many", {
    kind: "read",
    parameters: ["bytea[]", "bigint"],
    row: Rows.numbered(Rows.peekRow)
  })
  const peekBatch = database.routine("peek_batch", {
    kind: "read",
    parameters: ["bytea", "integer", "bigint", "bigint"],
    row: Rows.peekRow
  })
  const acknowledge = database.routine("acknowledge", {
    kind: "change",
    parameters: ["bytea", "bytea", "boolean"],
    row: Rows.acknowledgeRow
  })
  const acknowledgeMany = database.routine("acknowledge_many", {
    kind: "change",
    parameters: ["bytea[]", "bytea[]", "boolean[]", "bigint"],
    row: Rows.numbered(Rows.acknowledgeRow)
  })
  const acknowledgeThroughMessage = database.routine("acknowledge_through_message", {
    kind: "change",
    parameters: ["bytea", "bytea"],
    row: Rows.RemoveRow
  })
  const acknowledgeThroughSequence = database.routine("acknowledge_through_sequence", {
    kind: "change",
    parameters: ["bytea", "bigint"],
    row: Rows.RemoveSequenceRow
  })
  const size = database.routine("size", { kind: "read", parameters: ["bytea"], row: Rows.SizeRow })
  const sizeMany = database.routine("size_many", { kind: "read", parameters: ["bytea[]"], row: Rows.SizeManyRow })
  const deleteExpired = database.routine("delete_expired", {
    kind: "change",
    parameters: ["bytea", "bigint"],
    row: Rows.RemoveRow
  })

  const senders = Senders.make()

  /** Looks bindings up and remembers them. Sender ids without a live queue are missing from the answer. */
  const lookUp = (senderIds: ReadonlyArray<SenderId>) =>
    Effect.flatMap(
      getSenders(Bytes.array(senderIds.map(Bytes.ofId), PgTypes.OID.bytea)),
      (rows) =>
        Effect.gen(function*() {
          const found = new Map<string, { readonly recipientId: RecipientId; readonly row: typeof rows[number] }>()
          for (const row of rows) {
            const recipientId = Result.getOrUndefined(RecipientId.fromBytes(row.recipient_id))
            if (recipientId === undefined) return yield* corrupt("a recipient id is not 1 to 64 bytes long")
            found.set(Bytes.toText(row.sender_id), { recipientId, row })
          }
          for (const senderId of senderIds) {
            const binding = found.get(senderId)
            if (binding === undefined) senders.forget(senderId)
            else senders.set(senderId, binding.recipientId)
          }
          return found
        })
    )

  /** A recipient id of null is that of a sender id nobody knows. */
  const writeItems = (
    items: ReadonlyArray<Pick<Write, "senderId" | "message"> & { readonly recipientId: RecipientId | null }>,
    defaultQuota: number,
    final: boolean
  ) => {
    const { bool, bytea, int8 } = PgTypes.OID
    return single(writeMany(
      Bytes.array(items.map(({ recipientId }) => idOf(recipientId)), bytea),
      Bytes.array(items.map(({ senderId }) => idOf(senderId)), bytea),
      Bytes.array(items.map(({ message }) => Bytes.ofId(message.id)), bytea),
      Bytes.array(items.map(({ message }) => BigInt(message.timestamp)), int8),
      Bytes.array(items.map(({ message }) => message.notify), bool),
      Bytes.array(items.map(({ message }) => message.body), bytea),
      defaultQuota,
      final,
      arrivals.notify
    ))
  }

  /** Items of one call, with the recipient ids that are known at the time. */
  const resolved = (items: ReadonlyArray<MsgStoreDriver.StampedItem>) =>
    items.map(({ message, target }) =>
      "senderId" in target
        ? { recipientId: senders.get(target.senderId) ?? null, senderId: target.senderId, message }
        : { recipientId: target.recipientId, senderId: null, message }
    )

  /** Writes by recipient id only: whatever sender id a call began with, calls about a queue share a lane. */
  const writeTo = coalesced(lanes?.changes, {
    operation: "write",
    kind: "change",
    weigh: ({ message }: Write) => message.body.length,
    one: ({ defaultQuota, message, recipientId, senderId }: Write) =>
      single(write(
        Bytes.ofId(recipientId),
        PgTypes.bytea(senderId === null ? null : Bytes.ofId(senderId)),
        Bytes.ofId(message.id),
        BigInt(message.timestamp),
        message.notify,
        message.body,
        defaultQuota,
        arrivals.notify
      )),
    many: (calls) =>
      Effect.flatMap(
        writeItems(calls, calls[0]?.defaultQuota ?? 0, true),
        (row) =>
          row.outcome === "written" && row.items.length === calls.length
            ? Effect.succeed(row.items)
            : Effect.fail(unanswered)
      )
  })

  const peekAt = coalesced(lanes?.reads, {
    operation: "peek",
    kind: "read",
    weigh: weightless,
    one: (recipientId: RecipientId) => single(peek(Bytes.ofId(recipientId))),
    many: (recipientIds) => Effect.flatMap(peekMany(idsOf(recipientIds), maxAnswerBytes), inOrder(recipientIds))
  })

  const acknowledgeAt = coalesced(lanes?.changes, {
    operation: "acknowledge",
    kind: "change",
    weigh: weightless,
    one: ({ messageId, peek, recipientId }: Acknowledge) =>
      single(acknowledge(Bytes.ofId(recipientId), Bytes.ofId(messageId), peek)),
    many: (calls) =>
      Effect.flatMap(
        acknowledgeMany(
          idsOf(calls.map(({ recipientId }) => recipientId)),
          idsOf(calls.map(({ messageId }) => messageId)),
          Bytes.array(calls.map(({ peek }) => peek), PgTypes.OID.bool),
          maxAnswerBytes
        ),
        inOrder(calls)
      )
  })

  const sizeOf = coalesced(lanes?.reads, {
    operation: "size",
    kind: "read",
    weigh: weightless,
    one: (recipientId: RecipientId) => single(size(Bytes.ofId(recipientId))),
    many: (recipientIds) =>
      Effect.map(
        single(sizeMany(idsOf(recipientIds))),
        ({ sizes }) =>
          sizes.map((size): typeof Rows.SizeRow.Type =>
            size === null ? { outcome: "not_found" } : { outcome: "found", size }
          )
      )
  })

  /** Finds the recipient id of one sender id, which may be unknown. On a lane, so that those who ask go on in their order. */
  const find = coalesced(lanes?.reads, {
    operation: "getSender",
    kind: "read",
    weigh: weightless,
    one: (senderId: SenderId) => Effect.map(lookUp([senderId]), (found) => Option.fromNullishOr(found.get(senderId))),
    many: (senderIds) =>
      Effect.map(
        lookUp([...new Set(senderIds)]),
        (found) => senderIds.map((senderId) => Option.fromNullishOr(found.get(senderId)))
      )
  })

  const writeAsSender = (senderId: SenderId, message: MsgStoreDriver.StampedMessage, defaultQuota: number) => {
    const known = senders.get(senderId)
    const afterLookUp = Effect.flatMap(
      find(senderId, senderId),
      Option.match({
        onNone: () => Effect.succeed<Rows.WriteRow>({ outcome: "not_found" }),
        onSome: ({ recipientId }) => writeTo(recipientId, { recipientId, senderId, message, defaultQuota })
      })
    )
    return known === undefined
      ? afterLookUp
      : Effect.flatMap(
        writeTo(known, { recipientId: known, senderId, message, defaultQuota }),
        (row) => row.outcome === "not_found" ? afterLookUp : Effect.succeed(row)
      )
  }

  return {
    ...Maintenance.make(database),
    ...Log.make(database, arrivals),

    watch: arrivals.watch,

    createQueue: (queue, now) =>
      single(createQueue(
        Bytes.ofId(queue.recipientId),
        Bytes.ofId(queue.senderId),
        PgTypes.int4(queue.quota ?? null),
        queue.status,
        BigInt(now)
      )).pipe(
        Effect.flatMap((row): Answer<Queue.QueueRecord, MsgStoreError.QueueIdTaken> => {
          switch (row.outcome) {
            case "created":
            case "found":
              senders.set(queue.senderId, queue.recipientId)
              return Rows.record(row)
            case "recipient_taken":
              return Effect.fail(new MsgStoreError.QueueIdTaken({ field: "recipientId" }))
            case "sender_taken":
              return Effect.fail(new MsgStoreError.QueueIdTaken({ field: "senderId" }))
          }
        }),
        Effect.catchTag("RoutineFailure", failureOf("createQueue"))
      ),

    getQueue: (recipientId) =>
      single(getQueue(Bytes.ofId(recipientId))).pipe(
        Effect.flatMap((row) => recordOf(recipientId, row)),
        Effect.catchTag("RoutineFailure", failureOf("getQueue"))
      ),

    getSender: (senderId) =>
      lookUp([senderId]).pipe(
        Effect.flatMap((found) => {
          const binding = found.get(senderId)
          return binding === undefined
            ? Effect.fail(new MsgStoreError.QueueNotFound({ target: { senderId } }))
            : Effect.succeed({ senderId, status: binding.row.status })
        }),
        Effect.catchTag("RoutineFailure", failureOf("getQueue"))
      ),

    setQueueStatus: (recipientId, status, now) =>
      single(setQueueStatus(Bytes.ofId(recipientId), status, BigInt(now))).pipe(
        Effect.flatMap((row) => recordOf(recipientId, row)),
        Effect.catchTag("RoutineFailure", failureOf("setQueueStatus"))
      ),

    setQuota: (recipientId, quota, now) =>
      single(setQuota(Bytes.ofId(recipientId), PgTypes.int4(quota ?? null), BigInt(now))).pipe(
        Effect.flatMap((row) => recordOf(recipientId, row)),
        Effect.catchTag("RoutineFailure", failureOf("setQuota"))
      ),

    deleteQueue: (recipientId, now) =>
      single(deleteQueue(Bytes.ofId(recipientId), BigInt(now))).pipe(
        Effect.flatMap((row): Answer<number, MsgStoreError.QueueNotFound> =>
          row.outcome === "deleted" ? Effect.succeed(Number(row.discarded)) : unknownReader(recipientId)
        ),
        Effect.catchTag("RoutineFailure", failureOf("deleteQueue"))
      ),

    write: ({ message, target }, defaultQuota) =>
      ("senderId" in target
        ? writeAsSender(target.senderId, message, defaultQuota)
        : writeTo(target.recipientId, { recipientId: target.recipientId, senderId: null, message, defaultQuota })).pipe(
          Effect.flatMap((row) => Effect.fromResult(written(row, target))),
          Effect.catchTag("RoutineFailure", failureOf("write"))
        ),

    writeMany: (items, defaultQuota) => {
      const unknown = sendersOf(items).filter((senderId) => senders.get(senderId) === undefined)
      return (unknown.length === 0 ? Effect.void : Effect.asVoid(lookUp(unknown))).pipe(
        Effect.flatMap(() => writeItems(resolved(items), defaultQuota, false)),
        Effect.flatMap((row) =>
          row.outcome === "rebind"
            ? Effect.flatMap(lookUp(sendersOf(items)), () => writeItems(resolved(items), defaultQuota, true))
            : Effect.succeed(row)
        ),
        Effect.flatMap((row) =>
          row.outcome === "written" && row.items.length === items.length
            ? Effect.succeed(Arr.zipWith(row.items, items, (item, { target }) => written(item, target)))
            : Effect.fail(unanswered)
        ),
        Effect.catchTag("RoutineFailure", failureOf("writeMany"))
      )
    },

    peek: (recipientId) =>
      peekAt(recipientId, recipientId).pipe(
        Effect.flatMap((row): Answer<Option.Option<Message.Entry>, MsgStoreError.QueueNotFound> => {
          switch (row.outcome) {
            case "entry":
              return Effect.succeedSome(row.entry)
            case "empty":
              return Effect.succeedNone
            case "not_found":
              return unknownReader(recipientId)
            case "corrupt":
              return Effect.fail(corruptEntry)
            case "later":
              return Effect.fail(unanswered)
          }
        }),
        Effect.catchTag("RoutineFailure", failureOf("peek"))
      ),

    peekBatch: (recipientId, { after, limit, maxBytes }) =>
      peekBatch(Bytes.ofId(recipientId), limit, after, BigInt(maxBytes)).pipe(
        Effect.flatMap((rows): Answer<Array<Message.Entry>, MsgStoreError.QueueNotFound> => {
          if (rows.some((row) => row.outcome === "not_found")) return unknownReader(recipientId)
          if (rows.some((row) => row.outcome === "corrupt")) return Effect.fail(corruptEntry)
          return Effect.succeed(rows.flatMap((row) => row.outcome === "entry" ? [row.entry] : []))
        }),
        Effect.catchTag("RoutineFailure", failureOf("peekBatch"))
      ),

    acknowledge: (recipientId, messageId) =>
      acknowledgeAt(recipientId, { recipientId, messageId, peek: false }).pipe(
        Effect.flatMap((row) => acknowledged(recipientId, row)),
        Effect.map(({ acknowledged }) => acknowledged),
        Effect.catchTag("RoutineFailure", failureOf("acknowledge"))
      ),

    acknowledgeAndPeek: (recipientId, messageId) =>
      acknowledgeAt(recipientId, { recipientId, messageId, peek: true }).pipe(
        Effect.flatMap((row) => acknowledged(recipientId, row)),
        Effect.catchTag("RoutineFailure", failureOf("acknowledgeAndPeek"))
      ),

    acknowledgeThroughMessage: (recipientId, messageId) =>
      single(acknowledgeThroughMessage(Bytes.ofId(recipientId), Bytes.ofId(messageId))).pipe(
        Effect.flatMap((row) => removedOf(recipientId, row)),
        Effect.catchTag("RoutineFailure", failureOf("acknowledgeThrough"))
      ),

    acknowledgeThroughSequence: (recipientId, sequence) =>
      single(acknowledgeThroughSequence(Bytes.ofId(recipientId), sequence)).pipe(
        Effect.flatMap((row): Answer<number, MsgStoreError.QueueNotFound | MsgStoreError.SequenceNotAssigned> =>
          row.outcome === "not_assigned"
            ? Effect.fail(new MsgStoreError.SequenceNotAssigned({ next: row.next_sequence }))
            : removedOf(recipientId, row)
        ),
        Effect.catchTag("RoutineFailure", failureOf("acknowledgeThrough"))
      ),

    size: (recipientId) =>
      sizeOf(recipientId, recipientId).pipe(
        Effect.flatMap((row) =>
          row.outcome === "found" ? Effect.succeed(Number(row.size)) : unknownReader(recipientId)
        ),
        Effect.catchTag("RoutineFailure", failureOf("size"))
      ),

    deleteExpired: (recipientId, before) =>
      single(deleteExpired(Bytes.ofId(recipientId), BigInt(before))).pipe(
        Effect.flatMap((row) => removedOf(recipientId, row)),
        Effect.catchTag("RoutineFailure", failureOf("deleteExpired"))
      )
  }
}

/**
 * The PostgreSQL driver: each operation is one call of one stored function, whose row says what happened.
 */
import { PgTypes } from "@effect/sql-pg"
import { Effect, type Option, Result } from "effect"
import type { Message, MsgStore, MsgStoreDriver, Queue, SenderId } from "restante"
import { MsgStoreError, RecipientId } from "restante"
import * as Bytes from "../database/bytes.ts"
import type { Database, RoutineFailure } from "../database/routine.ts"
import type { Arrivals } from "./arrivals.ts"
import { corrupt, failureOf, single } from "./failure.ts"
import * as Log from "./log.ts"
import * as Maintenance from "./maintenance.ts"
import * as Rows from "./rows.ts"
import * as Senders from "./senders.ts"

const corruptEntry = corrupt("an entry of the queue violates the specification")

const written = (
  row: Rows.WriteRow,
  target: MsgStoreError.Target
): Result.Result<MsgStore.WriteOutcome, MsgStoreError.QueueNotFound | MsgStoreError.QueueSuspended> => {
  switch (row.outcome) {
    case "accepted":
      return Result.succeed({ _tag: "Accepted", wasEmpty: row.was_empty, sequence: row.at_sequence })
    case "already_stored":
      return Result.succeed({ _tag: "AlreadyStored", sequence: row.at_sequence })
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

const sendersOf = (items: ReadonlyArray<MsgStoreDriver.StampedItem>): ReadonlyArray<SenderId> => [
  ...new Set(items.flatMap(({ target }) => "senderId" in target ? [target.senderId] : []))
]

export const make = (database: Database, arrivals: Arrivals): MsgStoreDriver.MsgStoreDriver => {
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
    row: Rows.WriteRow
  })
  const writeMany = database.routine("write_many", {
    kind: "change",
    parameters: ["bytea[]", "bytea[]", "bytea[]", "bigint[]", "boolean[]", "bytea[]", "integer", "boolean", "boolean"],
    row: Rows.WriteManyRow
  })
  const peek = database.routine("peek", { kind: "read", parameters: ["bytea"], row: Rows.PeekRow })
  const peekBatch = database.routine("peek_batch", {
    kind: "read",
    parameters: ["bytea", "integer", "bigint", "bigint"],
    row: Rows.PeekRow
  })
  const acknowledge = database.routine("acknowledge", {
    kind: "change",
    parameters: ["bytea", "bytea", "boolean"],
    row: Rows.AcknowledgeRow
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

  const writeTo = (
    recipientId: RecipientId,
    senderId: SenderId | null,
    message: MsgStoreDriver.StampedMessage,
    defaultQuota: number
  ) =>
    single(write(
      Bytes.ofId(recipientId),
      PgTypes.bytea(senderId === null ? null : Bytes.ofId(senderId)),
      Bytes.ofId(message.id),
      BigInt(message.timestamp),
      message.notify,
      message.body,
      defaultQuota,
      arrivals.notify
    ))

  const writeAsSender = (senderId: SenderId, message: MsgStoreDriver.StampedMessage, defaultQuota: number) => {
    const known = senders.get(senderId)
    const afterLookUp = Effect.flatMap(lookUp([senderId]), (found) => {
      const binding = found.get(senderId)
      return binding === undefined
        ? Effect.succeed<Rows.WriteRow>({ outcome: "not_found" })
        : writeTo(binding.recipientId, senderId, message, defaultQuota)
    })
    return known === undefined
      ? afterLookUp
      : Effect.flatMap(
        writeTo(known, senderId, message, defaultQuota),
        (row) => row.outcome === "not_found" ? afterLookUp : Effect.succeed(row)
      )
  }

  const writeItems = (items: ReadonlyArray<MsgStoreDriver.StampedItem>, defaultQuota: number, final: boolean) => {
    const recipients = items.map(({ target }) => {
      const recipientId = "senderId" in target ? senders.get(target.senderId) : target.recipientId
      return recipientId === undefined ? null : Bytes.ofId(recipientId)
    })
    const { bool, bytea, int8 } = PgTypes.OID
    return writeMany(
      Bytes.array(recipients, bytea),
      Bytes.array(items.map(({ target }) => "senderId" in target ? Bytes.ofId(target.senderId) : null), bytea),
      Bytes.array(items.map(({ message }) => Bytes.ofId(message.id)), bytea),
      Bytes.array(items.map(({ message }) => BigInt(message.timestamp)), int8),
      Bytes.array(items.map(({ message }) => message.notify), bool),
      Bytes.array(items.map(({ message }) => message.body), bytea),
      defaultQuota,
      final,
      arrivals.notify
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
        : writeTo(target.recipientId, null, message, defaultQuota)).pipe(
          Effect.flatMap((row) => Effect.fromResult(written(row, target))),
          Effect.catchTag("RoutineFailure", failureOf("write"))
        ),

    writeMany: (items, defaultQuota) => {
      const unknown = sendersOf(items).filter((senderId) => senders.get(senderId) === undefined)
      return (unknown.length === 0 ? Effect.void : Effect.asVoid(lookUp(unknown))).pipe(
        Effect.flatMap(() => writeItems(items, defaultQuota, false)),
        Effect.flatMap((rows) =>
          rows.some((row) => row.outcome === "rebind")
            ? Effect.flatMap(lookUp(sendersOf(items)), () => writeItems(items, defaultQuota, true))
            : Effect.succeed(rows)
        ),
        Effect.flatMap((rows) => {
          const byOrdinal = new Map(rows.map((row) => [row.ordinal, row]))
          return Effect.forEach(items, ({ target }, i) => {
            const row = byOrdinal.get(i + 1)
            return row === undefined || row.outcome === "rebind"
              ? Effect.fail(corrupt("write_many did not answer every item"))
              : Effect.succeed(written(row, target))
          })
        }),
        Effect.catchTag("RoutineFailure", failureOf("writeMany"))
      )
    },

    peek: (recipientId) =>
      single(peek(Bytes.ofId(recipientId))).pipe(
        Effect.flatMap((row): Answer<Option.Option<Message.Entry>, MsgStoreError.QueueNotFound> => {
          switch (row.outcome) {
            case "entry":
              return Effect.asSome(Rows.entry(row))
            case "empty":
              return Effect.succeedNone
            case "not_found":
              return unknownReader(recipientId)
            case "corrupt":
              return Effect.fail(corruptEntry)
          }
        }),
        Effect.catchTag("RoutineFailure", failureOf("peek"))
      ),

    peekBatch: (recipientId, { after, limit, maxBytes }) =>
      peekBatch(Bytes.ofId(recipientId), limit, after, BigInt(maxBytes)).pipe(
        Effect.flatMap((rows): Answer<Array<Message.Entry>, MsgStoreError.QueueNotFound> => {
          if (rows.some((row) => row.outcome === "not_found")) return unknownReader(recipientId)
          if (rows.some((row) => row.outcome === "corrupt")) return Effect.fail(corruptEntry)
          return Effect.forEach(rows.filter((row) => row.outcome === "entry"), Rows.entry)
        }),
        Effect.catchTag("RoutineFailure", failureOf("peekBatch"))
      ),

    acknowledge: (recipientId, messageId) =>
      single(acknowledge(Bytes.ofId(recipientId), Bytes.ofId(messageId), false)).pipe(
        Effect.flatMap((row): Answer<Option.Option<Message.Entry>, MsgStoreError.QueueNotFound> => {
          switch (row.outcome) {
            case "acknowledged":
              return Effect.asSome(Rows.entry(row))
            case "not_head":
              return Effect.succeedNone
            case "not_found":
              return unknownReader(recipientId)
            case "corrupt":
              return Effect.fail(corruptEntry)
          }
        }),
        Effect.catchTag("RoutineFailure", failureOf("acknowledge"))
      ),

    acknowledgeAndPeek: (recipientId, messageId) =>
      single(acknowledge(Bytes.ofId(recipientId), Bytes.ofId(messageId), true)).pipe(
        Effect.flatMap((row): Answer<MsgStore.AcknowledgedAndNext, MsgStoreError.QueueNotFound> => {
          switch (row.outcome) {
            case "acknowledged":
            case "not_head":
              return Effect.all({
                acknowledged: row.outcome === "acknowledged" ? Effect.asSome(Rows.entry(row)) : Effect.succeedNone,
                next: row.next_sequence === null ? Effect.succeedNone : Effect.asSome(Rows.nextEntry(row))
              })
            case "not_found":
              return unknownReader(recipientId)
            case "corrupt":
              return Effect.fail(corruptEntry)
          }
        }),
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
      single(size(Bytes.ofId(recipientId))).pipe(
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

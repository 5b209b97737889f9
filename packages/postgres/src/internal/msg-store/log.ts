/**
 * Export and import of a whole store on PostgreSQL (spec section 8, rule 10.11): each is one transaction, and page by page
 * its statements. The records travel by COPY, over a client without it by arrays.
 */
import { PgTypes } from "@effect/sql-pg"
import { Array as Arr, Cause, Effect, Fiber, Scope, Stream } from "effect"
import type { Message, MsgStoreDriver } from "restante"
import { MessageId, MsgStoreError, RecipientId, SenderId } from "restante"
import { Reader, rowSize, Writer } from "../database/binaryCopy.ts"
import * as Bytes from "../database/bytes.ts"
import type { Database, RoutineFailure } from "../database/routine.ts"
import type { NoCopy, Transaction } from "../database/transaction.ts"
import type { Arrivals } from "./arrivals.ts"
import { corrupt, failureOf, single } from "./failure.ts"
import * as Rows from "./rows.ts"

/** Before every id. */
const start = new Uint8Array(0)

/** How many queues one statement of a merge works on. */
const queuesAtOnce = 1_000

/** How many messages, and bytes of bodies, one statement of a merge appends: far less than `statementTimeout` is for. */
const messagesAtOnce = 10_000
const bytesAtOnce = 256 * 1_024 * 1_024

/** So many queues of an import are remembered; the server remembers the rest. */
const capacity = 10_000

const stagedColumns = ["queue_key", "sequence", "n", "ts", "notify", "message_id", "body"]

/** A message on its way to the staging table. `n` is its position in the file. */
interface Staged {
  readonly key: bigint
  readonly n: number
  readonly entry: Message.Entry
}

const binaryOf = (messages: ReadonlyArray<Staged>): Uint8Array => {
  const columns = stagedColumns.length
  const writer = new Writer(messages.reduce(
    (size, { entry }) => size + rowSize(columns, 4 * 8 + 1 + entry.id.length + entry.body.length),
    0
  ))
  for (const { entry, key, n } of messages) {
    writer.row(columns)
    writer.int8(key)
    writer.int8(entry.sequence)
    writer.int8Number(n)
    writer.int8Number(entry.timestamp)
    writer.bool(entry.notify)
    writer.id(entry.id)
    writer.bytea(entry.body)
  }
  return writer.end()
}

const rowsOf = (bytes: Uint8Array): ReadonlyArray<Rows.ExportRow> => {
  const reader = new Reader(bytes)
  const rows: Array<Rows.ExportRow> = []
  while (reader.row()) {
    rows.push({
      kind: reader.text() ?? "",
      recipient_id: reader.bytea(),
      sequence: reader.int8(),
      message_id: reader.bytea(),
      ts: reader.int8(),
      notify: reader.bool(),
      body: reader.bytea(),
      sender_id: reader.bytea(),
      quota: reader.int4(),
      status: reader.text(),
      created_at: reader.int8(),
      updated_at: reader.int8(),
      next_sequence: reader.int8()
    })
  }
  return rows
}

const damagedEntry = corrupt("an entry of the store violates the specification")
const damagedQueue = corrupt("the record of a queue violates the specification")

/** The function has looked at the entry already; what is left is to name what it has. */
const entryOf = ({ body, kind, message_id, notify, sequence, ts }: Rows.ExportRow): Message.Entry | undefined => {
  if (message_id === null || sequence === null || ts === null || notify === null || body === null) return undefined
  const id = Bytes.toText(message_id)
  if (!MessageId.is(id)) return undefined
  const timestamp = Number(ts)
  if (kind === "m") return { kind: "message", id, timestamp, notify, body, sequence }
  return kind === "q" ? { kind: "quota", id, timestamp, notify: false, body, sequence } : undefined
}

const queueOf = (row: Rows.ExportRow): MsgStoreDriver.LogQueue | undefined => {
  const { created_at, next_sequence, recipient_id, sender_id, status, updated_at } = row
  if (
    recipient_id === null || sender_id === null || created_at === null || updated_at === null ||
    next_sequence === null || (status !== "active" && status !== "suspended")
  ) return undefined
  const recipientId = Bytes.toText(recipient_id)
  const senderId = Bytes.toText(sender_id)
  return RecipientId.is(recipientId) && SenderId.is(senderId)
    ? {
      recipientId,
      senderId,
      quota: row.quota ?? undefined,
      status,
      createdAt: Number(created_at),
      updatedAt: Number(updated_at),
      nextSequence: next_sequence
    }
    : undefined
}

/** Where an export is: behind the queue with this id, and its entries up to this sequence. */
interface Position {
  readonly recipientId: RecipientId | undefined
  readonly sequence: bigint
}

/** The records of a page, and where it ends. */
const recordsOf = (
  rows: ReadonlyArray<Rows.ExportRow>,
  from: Position
): Effect.Effect<readonly [ReadonlyArray<MsgStoreDriver.LogRecord>, Position], RoutineFailure> => {
  const records: Array<MsgStoreDriver.LogRecord> = []
  let { recipientId, sequence } = from
  for (const row of rows) {
    if (row.kind === "Q") {
      const queue = queueOf(row)
      if (queue === undefined) return Effect.fail(damagedQueue)
      records.push({ _tag: "Queue", queue })
      recipientId = queue.recipientId
      sequence = 0n
    } else {
      const entry = entryOf(row)
      if (entry === undefined || recipientId === undefined) return Effect.fail(damagedEntry)
      records.push({ _tag: "Entry", recipientId, entry })
      sequence = entry.sequence
    }
  }
  return Effect.succeed([records, { recipientId, sequence }])
}

const importFailed = failureOf("importLog")

/**
 * One statement ahead: the server works on a page while the one before or after it is encoded or decoded here, so that neither
 * waits for the other. It is part of the transaction, whose end waits for it.
 */
interface Ahead<A> {
  /** To be called when the last result was taken. */
  readonly start: (statement: Effect.Effect<A, RoutineFailure>) => Effect.Effect<void>
  /** Of what was started; undefined if nothing was. */
  readonly result: Effect.Effect<A | undefined, RoutineFailure>
}

const makeAhead = <A>(): Effect.Effect<Ahead<A>, never, Scope.Scope> =>
  Effect.suspend(() => {
    let fiber: Fiber.Fiber<A, RoutineFailure> | undefined
    const ahead: Ahead<A> = {
      start: (statement) =>
        Effect.map(Effect.forkDetach(statement, { startImmediately: true }), (started) => {
          fiber = started
        }),
      result: Effect.suspend(() =>
        fiber === undefined ? Effect.succeed(undefined) : Effect.tap(Fiber.join(fiber), () =>
          Effect.sync(() => {
            fiber = undefined
          }))
      )
    }
    return Effect.as(
      Effect.addFinalizer(() => fiber === undefined ? Effect.void : Effect.asVoid(Fiber.await(fiber))),
      ahead
    )
  })

export const make = (
  database: Database,
  arrivals: Arrivals
): Pick<MsgStoreDriver.MsgStoreDriver, "exportLog" | "importLog"> => {
  const { schema } = database
  const { bool, bytea, int4, int8, text } = PgTypes.OID

  // All are "read": a lost answer means that the transaction is lost, and that nothing of it is applied.
  const exportPage = database.routine("export_page", {
    kind: "read",
    parameters: ["bytea", "bigint", "integer", "bigint"],
    row: Rows.ExportRow
  })
  const importCreate = database.routine("import_create", {
    kind: "read",
    parameters: ["bytea[]", "bytea[]", "integer[]", "text[]", "bigint[]", "bigint[]", "bigint[]"],
    row: Rows.ImportCreateRow
  })
  const importFind = database.routine("import_find", {
    kind: "read",
    parameters: ["bytea[]"],
    row: Rows.ImportFindRow
  })
  const importMarkers = database.routine("import_markers", {
    kind: "read",
    parameters: ["bigint[]", "bigint[]", "bigint[]", "bigint[]", "bytea[]"],
    row: Rows.ImportMarkersRow
  })
  const importLock = database.routine("import_lock", {
    kind: "read",
    parameters: ["bytea", "integer"],
    row: Rows.ImportLockRow
  })
  const importAppend = database.routine("import_append", {
    kind: "read",
    parameters: ["bigint", "bigint", "bigint", "integer"],
    row: Rows.ImportAppendRow
  })
  const importFinish = database.routine("import_finish", {
    kind: "read",
    parameters: ["bytea", "integer", "integer", "boolean"],
    row: Rows.ImportFinishRow
  })

  /** Known once a COPY was tried. */
  let copies = true

  const byCopyOr = <A>(
    copy: Effect.Effect<A, RoutineFailure | NoCopy>,
    other: () => Effect.Effect<A, RoutineFailure>
  ): Effect.Effect<A, RoutineFailure> =>
    Effect.suspend(() =>
      copies
        ? Effect.catchTag(copy, "NoCopy", () => {
          copies = false
          return other()
        })
        : other()
    )

  const page = (
    from: Position,
    { limit, maxBytes }: { readonly limit: number; readonly maxBytes: number }
  ): Effect.Effect<ReadonlyArray<Rows.ExportRow>, RoutineFailure> => {
    const recipientId = from.recipientId === undefined ? start : Bytes.ofId(from.recipientId)
    // COPY takes no parameters. What stands in its text are digits.
    const after = `decode('${Buffer.from(recipientId).toString("hex")}', 'hex'), ${from.sequence}`
    const query = `select * from ${schema.quoted}.export_page(${after}, ${limit}, ${maxBytes})`
    return byCopyOr(
      Effect.map(database.copyOut(query), rowsOf),
      () => exportPage(recipientId, from.sequence, limit, BigInt(maxBytes))
    )
  }

  const stage = (messages: ReadonlyArray<Staged>): Effect.Effect<void, RoutineFailure> =>
    byCopyOr(
      Effect.suspend(() => database.copyIn("import_messages", stagedColumns, binaryOf(messages))),
      () =>
        database.insert("import_messages", stagedColumns, [
          Bytes.array(messages.map(({ key }) => key), int8),
          Bytes.array(messages.map(({ entry }) => entry.sequence), int8),
          Bytes.array(messages.map(({ n }) => BigInt(n)), int8),
          Bytes.array(messages.map(({ entry }) => BigInt(entry.timestamp)), int8),
          Bytes.array(messages.map(({ entry }) => entry.notify), bool),
          Bytes.array(messages.map(({ entry }) => Bytes.ofId(entry.id)), bytea),
          Bytes.array(messages.map(({ entry }) => entry.body), bytea)
        ])
    )

  const create = (queues: ReadonlyArray<MsgStoreDriver.LogQueue>) =>
    queues.length === 0 ? Effect.succeed([]) : importCreate(
      Bytes.array(queues.map(({ recipientId }) => Bytes.ofId(recipientId)), bytea),
      Bytes.array(queues.map(({ senderId }) => Bytes.ofId(senderId)), bytea),
      Bytes.array(queues.map(({ quota }) => quota ?? null), int4),
      Bytes.array(queues.map(({ status }) => status), text),
      Bytes.array(queues.map(({ createdAt }) => BigInt(createdAt)), int8),
      Bytes.array(queues.map(({ updatedAt }) => BigInt(updatedAt)), int8),
      Bytes.array(queues.map(({ nextSequence }) => nextSequence), int8)
    )

  const lock = (after: Uint8Array): Effect.Effect<void, RoutineFailure> =>
    Effect.flatMap(
      single(importLock(after, queuesAtOnce)),
      (row) => row.outcome === "more" ? lock(row.last) : Effect.void
    )

  const session = (
    transaction: Transaction,
    ahead: Ahead<void>
  ): MsgStoreDriver.ImportSession => {
    const known = new Map<RecipientId, bigint>()
    let staged = 0
    let largest = 1

    /** Looks up the queues of entries that stand before any line of theirs in the page. */
    const find = (records: ReadonlyArray<MsgStoreDriver.LogRecord>) => {
      const lines = new Set<RecipientId>()
      const sought = new Set<RecipientId>()
      for (const record of records) {
        if (record._tag === "Queue") lines.add(record.queue.recipientId)
        else if (!known.has(record.recipientId) && !lines.has(record.recipientId)) sought.add(record.recipientId)
      }
      const recipientIds = [...sought]
      return recipientIds.length === 0 ? Effect.void : Effect.map(
        importFind(Bytes.array(recipientIds.map(Bytes.ofId), bytea)),
        (rows) => {
          for (const row of rows) {
            const recipientId = recipientIds[row.ordinal - 1]
            if (row.outcome === "found" && recipientId !== undefined) known.set(recipientId, row.queue_key)
          }
        }
      )
    }

    const stagePage = Effect.fnUntraced(function*(records: ReadonlyArray<MsgStoreDriver.LogRecord>) {
      if (known.size > capacity) known.clear()
      yield* ahead.result
      yield* find(records)
      const created = yield* create(records.flatMap((record) => record._tag === "Queue" ? [record.queue] : []))
      const outcomes = created.values()
      const refusals: Array<{ readonly index: number; readonly reason: "QueueNotFound" | "QueueConflict" }> = []
      const refused = new Set<RecipientId>()
      const messages: Array<Staged> = []
      const markers: Array<Staged> = []
      for (const [index, record] of records.entries()) {
        if (record._tag === "Queue") {
          const { recipientId } = record.queue
          const row = outcomes.next().value
          if (row === undefined) return yield* corrupt("import_create did not answer every line")
          if (row.outcome === "conflict") {
            refused.add(recipientId)
            known.delete(recipientId)
            refusals.push({ index, reason: "QueueConflict" })
          } else if (row.queue_key !== null && !refused.has(recipientId)) {
            known.set(recipientId, row.queue_key)
          }
          continue
        }
        const { entry, recipientId } = record
        const key = known.get(recipientId)
        if (key === undefined) {
          refusals.push({ index, reason: "QueueNotFound" })
        } else if (entry.kind === "quota") {
          markers.push({ key, n: staged + index, entry })
        } else {
          largest = Math.max(largest, entry.body.length)
          messages.push({ key, n: staged + index, entry })
        }
      }
      staged += records.length
      if (markers.length > 0) {
        yield* importMarkers(
          Bytes.array(markers.map(({ key }) => key), int8),
          Bytes.array(markers.map(({ entry }) => entry.sequence), int8),
          Bytes.array(markers.map(({ n }) => BigInt(n)), int8),
          Bytes.array(markers.map(({ entry }) => BigInt(entry.timestamp)), int8),
          Bytes.array(markers.map(({ entry }) => Bytes.ofId(entry.id)), bytea)
        )
      }
      if (messages.length > 0) yield* transaction.isNested ? stage(messages) : ahead.start(stage(messages))
      return refusals
    })

    const mergeAll = Effect.fnUntraced(function*(defaultQuota: number) {
      yield* ahead.result
      yield* lock(start)
      const counts = { queuesCreated: 0, queuesExisting: 0, messages: 0, duplicates: 0, latchedQueues: 0 }
      const limit = Math.max(1, Math.min(messagesAtOnce, Math.floor(bytesAtOnce / largest)))
      let position: readonly [bigint, bigint, bigint] | undefined = [0n, 0n, 0n]
      while (position !== undefined) {
        const row: typeof Rows.ImportAppendRow.Type = yield* single(importAppend(...position, limit))
        counts.messages += Number(row.messages)
        counts.duplicates += Number(row.duplicates)
        position = row.outcome === "more" ? [row.last_key, row.last_sequence, row.last_n] : undefined
      }
      let after: Uint8Array | undefined = start
      while (after !== undefined) {
        const row: typeof Rows.ImportFinishRow.Type = yield* single(
          importFinish(after, queuesAtOnce, defaultQuota, arrivals.notify)
        )
        counts.queuesCreated += Number(row.created)
        counts.queuesExisting += Number(row.existing)
        counts.latchedQueues += Number(row.latched)
        after = row.outcome === "more" ? row.last : undefined
      }
      return counts
    })

    /** Each statement is awaited once it is sent; between two of them an interruption is seen. */
    const inside = <A>(effect: Effect.Effect<A, RoutineFailure>) =>
      transaction.run(Effect.catchTag(effect, "RoutineFailure", importFailed), importFailed)
    return {
      stage: (records) => inside(stagePage(records)),
      merge: (defaultQuota) => inside(mergeAll(defaultQuota))
    }
  }

  return {
    exportLog: (limits) =>
      Stream.unwrap(
        Effect.gen(function*() {
          const transaction = yield* database.beginApart({ isolation: "repeatable read", access: "read only" })
          const ahead = yield* makeAhead<ReadonlyArray<Rows.ExportRow>>()
          const read = (from: Position) => ahead.start(transaction.run(page(from, limits), Effect.fail))
          let position: Position = { recipientId: undefined, sequence: 0n }
          yield* read(position)
          const next = Effect.gen(function*() {
            const [records, last] = yield* recordsOf((yield* ahead.result) ?? [], position)
            if (!Arr.isReadonlyArrayNonEmpty(records)) return yield* Cause.done()
            position = last
            yield* read(last)
            return Arr.of(records)
          })
          return Stream.fromPull(Effect.succeed(next))
        })
      ).pipe(Stream.catchTag("RoutineFailure", ({ cause, reason }) =>
        Stream.fail(MsgStoreError.fromCause("exportLog", reason, cause)))),

    importLog: (use) =>
      Effect.scopedWith((scope) =>
        Effect.gen(function*() {
          const transaction = yield* Effect.catchTag(
            Scope.provide(database.begin({}), scope),
            "RoutineFailure",
            importFailed
          )
          const ahead = yield* Scope.provide(makeAhead<void>(), scope)
          const used = use(session(transaction, ahead))
          // Inside the caller's transaction what the caller does is part of it too, and would wait for us for ever.
          const value = yield* transaction.isNested ? transaction.run(used, importFailed) : used
          yield* Effect.catchTag(transaction.commit, "RoutineFailure", importFailed)
          return value
        })
      )
  }
}

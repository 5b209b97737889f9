/**
 * Import of a whole store on PostgreSQL (spec section 8, rule 10.11): one transaction, and piece by piece its statements. What they
 * do is said in 0005_msg_store_log.sql.
 */
import { PgTypes } from "@effect/sql-pg"
import { Deferred, Effect, Exit, Fiber, Scope } from "effect"
import type { Message, MsgStoreDriver, RecipientId } from "restante"
import { type Block, Writer } from "../database/binaryCopy.ts"
import * as Bytes from "../database/bytes.ts"
import type { Database, RoutineFailure } from "../database/routine.ts"
import type { Table, Transaction } from "../database/transaction.ts"
import type { Arrivals } from "./arrivals.ts"
import { corrupt, failureOf, single } from "./failure.ts"
import * as MessageRows from "./messageRows.ts"
import * as Rows from "./rows.ts"

/** Before every id. */
const start = new Uint8Array(0)

/** How many queues one statement of a merge works on. */
const queuesAtOnce = 1_000

/** How many messages, and bytes of bodies, one statement of a merge appends: far less than `statementTimeout` is for. */
const messagesAtOnce = 10_000
const bytesAtOnce = 256 * 1_024 * 1_024

/**
 * So many blocks of rows are sent at once, but at least a page: 6 MiB, because 8 MiB is what the server keeps of a temporary table
 * in memory. With less, the costs of a statement show: 13 µs a message with 1,000 of 1 KiB at once, 10.6 with 4,000.
 */
const blocksAtOnce = 100

/** So many queues of an import are remembered; the server remembers the rest. */
const capacity = 10_000

/** A queue that entries of a file are for. */
interface Known {
  readonly key: bigint
  /** The import has created it. */
  readonly isCreated: boolean
}

/** A part of a page that is decided as one: a queue line, a marker, or messages. `index` is the position in the page. */
type Item =
  | { readonly _tag: "Queue"; readonly index: number; readonly queue: MsgStoreDriver.LogQueue }
  | { readonly _tag: "Marker"; readonly index: number; readonly recipientId: RecipientId; readonly marker: Marker }
  | { readonly _tag: "Run"; readonly run: MessageRows.Run }

interface Marker {
  readonly n: number
  readonly entry: Message.Entry
}

/** A page that was handed over, and what is to be said of it. */
interface Page {
  readonly items: ReadonlyArray<Item>
  /** Where its rows are. */
  readonly blocks: ReadonlyArray<Block>
  readonly refused: Deferred.Deferred<MsgStoreDriver.Refusals, RoutineFailure>
}

/** Where messages wait for the merge. */
const waiting: Table = { name: "import_messages", isTemporary: false }

/** Where those of queues that the import creates pass through. */
const passing: Table = { name: "restante_import", isTemporary: true }

const importFailed = failureOf("importLog")

export const make = (
  database: Database,
  arrivals: Arrivals
): MsgStoreDriver.MsgStoreDriver["importLog"] => {
  const { bool, bytea, int4, int8, text } = PgTypes.OID

  // All are "read": a lost answer means that the transaction is lost, and that nothing of it is applied.
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
  const importOpen = database.routine("import_open", { kind: "read", parameters: [], row: Rows.ImportOpenRow })
  const importTake = database.routine("import_take", { kind: "read", parameters: [], row: Rows.ImportTakeRow })
  const importRecall = database.routine("import_recall", {
    kind: "read",
    parameters: ["bytea", "integer"],
    row: Rows.ImportRecallRow
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

  const send = (table: Table, runs: ReadonlyArray<MessageRows.Keyed>): Effect.Effect<void, RoutineFailure> =>
    runs.length === 0 ? Effect.void : database.byCopyOr(
      Effect.suspend(() => database.copyIn(table, MessageRows.columns, MessageRows.pieces(runs))),
      () => {
        const { bodies, keys, messageIds, notify, ns, sequences, ts } = MessageRows.values(runs)
        return database.insert(table, MessageRows.columns, [
          Bytes.array(keys, int8),
          Bytes.array(sequences, int8),
          Bytes.array(ns, int8),
          Bytes.array(ts, int8),
          Bytes.array(notify, bool),
          Bytes.array(messageIds, bytea),
          Bytes.array(bodies, bytea)
        ])
      }
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

  const session = Effect.fnUntraced(function*(transaction: Transaction) {
    /** Each statement is awaited once it is sent; between two of them an interruption is seen. */
    const inside = <A>(effect: Effect.Effect<A, RoutineFailure>) =>
      transaction.run(Effect.catchTag(effect, "RoutineFailure", importFailed), importFailed)

    const known = new Map<RecipientId, Known>()
    let staged = 0
    let largest = 1
    /** Whether there is a table for messages of created queues; in the caller's transaction it could be in the way. */
    let passes: "made" | "none" | undefined = transaction.isNested ? "none" : undefined
    let isRecalling = false

    const writer = new Writer()

    /** The items of a page. What is left of its records are rows. */
    const itemsOf = (records: ReadonlyArray<MsgStoreDriver.LogRecord>): ReadonlyArray<Item> => {
      const items: Array<Item> = []
      let run: MessageRows.Run | undefined
      for (const [index, record] of records.entries()) {
        const n = staged++
        if (record._tag === "Queue") {
          run = undefined
          items.push({ _tag: "Queue", index, queue: record.queue })
        } else if (record.entry.kind === "quota") {
          run = undefined
          items.push({ _tag: "Marker", index, recipientId: record.recipientId, marker: { n, entry: record.entry } })
        } else {
          largest = Math.max(largest, record.entry.body.length)
          if (run?.recipientId !== record.recipientId) {
            run = MessageRows.run(record.recipientId, index)
            items.push({ _tag: "Run", run })
          }
          MessageRows.append(writer, run, record.entry, n)
        }
      }
      return items
    }

    /** Looks up the queues of entries that stand before any line of theirs in the piece. */
    const find = (items: ReadonlyArray<Item>) => {
      const lines = new Set<RecipientId>()
      const sought = new Set<RecipientId>()
      for (const item of items) {
        if (item._tag === "Queue") {
          lines.add(item.queue.recipientId)
        } else {
          const { recipientId } = item._tag === "Run" ? item.run : item
          if (!known.has(recipientId) && !lines.has(recipientId)) sought.add(recipientId)
        }
      }
      const recipientIds = [...sought]
      return recipientIds.length === 0 ? Effect.void : Effect.map(
        importFind(Bytes.array(recipientIds.map(Bytes.ofId), bytea)),
        (rows) => {
          for (const row of rows) {
            const recipientId = recipientIds[row.ordinal - 1]
            if (row.outcome !== "not_found" && recipientId !== undefined) {
              known.set(recipientId, { key: row.queue_key, isCreated: row.outcome === "created" })
            }
          }
        }
      )
    }

    /** Messages of created queues. */
    const pass = Effect.fnUntraced(function*(runs: ReadonlyArray<MessageRows.Keyed>) {
      passes ??= (yield* single(importOpen())).outcome
      if (passes === "none") {
        yield* send(waiting, runs)
      } else {
        yield* send(passing, runs)
        if ((yield* single(importTake())).outcome === "staged") isRecalling = true
      }
    })

    /** Stages pages that follow each other. Answers what was refused of each. */
    const stagePages = Effect.fnUntraced(function*(pages: ReadonlyArray<ReadonlyArray<Item>>) {
      if (known.size > capacity) known.clear()
      const all = pages.flat()
      yield* find(all)
      const created = yield* create(all.flatMap((item) => item._tag === "Queue" ? [item.queue] : []))
      const outcomes = created.values()
      const refused = new Set<RecipientId>()
      const direct: Array<MessageRows.Keyed> = []
      const indirect: Array<MessageRows.Keyed> = []
      const markers: Array<Marker & { readonly key: bigint }> = []
      const answers: Array<MsgStoreDriver.Refusals> = []
      for (const items of pages) {
        const refusals: Array<MsgStoreDriver.Refusals[number]> = []
        for (const item of items) {
          switch (item._tag) {
            case "Queue": {
              const { recipientId } = item.queue
              const row = outcomes.next().value
              if (row === undefined) return yield* corrupt("import_create did not answer every line")
              if (row.outcome === "conflict") {
                refused.add(recipientId)
                known.delete(recipientId)
                refusals.push({ index: item.index, reason: "QueueConflict" })
              } else if (row.queue_key !== null && !refused.has(recipientId)) {
                known.set(recipientId, { key: row.queue_key, isCreated: row.created })
              }
              break
            }
            case "Marker": {
              const queue = known.get(item.recipientId)
              if (queue === undefined) refusals.push({ index: item.index, reason: "QueueNotFound" })
              else markers.push({ ...item.marker, key: queue.key })
              break
            }
            case "Run": {
              const { run } = item
              const queue = known.get(run.recipientId)
              if (queue !== undefined) (queue.isCreated ? direct : indirect).push({ run, key: queue.key })
              else for (let i = 0; i < run.count; i++) refusals.push({ index: run.first + i, reason: "QueueNotFound" })
            }
          }
        }
        answers.push(refusals)
      }
      if (markers.length > 0) {
        yield* importMarkers(
          Bytes.array(markers.map(({ key }) => key), int8),
          Bytes.array(markers.map(({ entry }) => entry.sequence), int8),
          Bytes.array(markers.map(({ n }) => BigInt(n)), int8),
          Bytes.array(markers.map(({ entry }) => BigInt(entry.timestamp)), int8),
          Bytes.array(markers.map(({ entry }) => Bytes.ofId(entry.id)), bytea)
        )
      }
      yield* send(waiting, indirect)
      if (direct.length > 0) yield* pass(direct)
      return answers
    })

    let gathered: Array<Page> = []
    let current: ReadonlyArray<Page> = []
    let worker: Fiber.Fiber<void, RoutineFailure> | undefined
    let failure: Exit.Exit<never, RoutineFailure> | undefined

    /** Stages what has been gathered, as often as there is something: what comes meanwhile is the next piece. */
    const work: Effect.Effect<void, RoutineFailure> = Effect.suspend(() => {
      if (gathered.length === 0) {
        worker = undefined
        return Effect.void
      }
      let count = 0
      let blocks = 0
      do blocks += gathered[count]?.blocks.length ?? 0
      while (++count < gathered.length && blocks + (gathered[count]?.blocks.length ?? 0) <= blocksAtOnce)
      const pages = gathered.slice(0, count)
      current = pages
      gathered = gathered.slice(count)
      return stagePages(pages.map(({ items }) => items)).pipe(
        // Told later, so that the next statement is on its way before the reader goes on, who then keeps the processor.
        Effect.flatMap((answers) =>
          Effect.forkDetach(Effect.sync(() => {
            for (const [i, { refused }] of pages.entries()) Deferred.doneUnsafe(refused, Exit.succeed(answers[i] ?? []))
          }))
        ),
        // The server has all of it.
        Effect.tap(Effect.sync(() => pages.forEach(({ blocks }) => writer.reuse(blocks)))),
        Effect.andThen(work)
      )
    })

    const working = Effect.onError(transaction.run(work, Effect.fail), (cause) =>
      Effect.sync(() => {
        const failed = Exit.failCause(cause)
        failure = failed
        for (const { refused } of [...current, ...gathered]) Deferred.doneUnsafe(refused, failed)
      }))

    /**
     * The server works on a piece while the next one is read, so that neither waits for the other. It is part of the transaction,
     * whose end waits for it.
     */
    const stage: MsgStoreDriver.ImportSession["stage"] = (records) =>
      Effect.suspend(() => {
        if (failure !== undefined) return inside(failure)
        const items = itemsOf(records)
        const blocks = writer.turn()
        // Inside the caller's transaction it would be in the way of what the caller does there.
        if (transaction.isNested) {
          return Effect.map(inside(stagePages([items])), ([refusals]) => {
            writer.reuse(blocks)
            return Effect.succeed(refusals ?? [])
          })
        }
        const refused = Deferred.makeUnsafe<MsgStoreDriver.Refusals, RoutineFailure>()
        gathered.push({ items, blocks, refused })
        const started = worker === undefined
          ? Effect.map(
            Effect.forkDetach(working, { startImmediately: true }),
            (fiber) => {
              worker = fiber
            }
          )
          : Effect.void
        return Effect.as(started, inside(Deferred.await(refused)))
      })

    const idle = Effect.suspend(() => worker === undefined ? Effect.void : Fiber.join(worker))

    const mergeAll = Effect.fnUntraced(function*(defaultQuota: number) {
      yield* idle
      let recalled: Uint8Array | undefined = isRecalling ? start : undefined
      while (recalled !== undefined) {
        const row: typeof Rows.ImportRecallRow.Type = yield* single(importRecall(recalled, messagesAtOnce))
        recalled = row.outcome === "more" ? row.last : undefined
      }
      yield* lock(start)
      const counts = { queuesCreated: 0, queuesExisting: 0, messages: 0, duplicates: 0, latchedQueues: 0 }
      const limit = Math.max(1, Math.min(messagesAtOnce, Math.floor(bytesAtOnce / largest)))
      let position: readonly [bigint, bigint, bigint] | undefined = [0n, 0n, 0n]
      while (position !== undefined) {
        const row: typeof Rows.ImportAppendRow.Type = yield* single(importAppend(...position, limit))
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
        counts.messages += Number(row.messages)
        counts.latchedQueues += Number(row.latched)
        after = row.outcome === "more" ? row.last : undefined
      }
      return counts
    })

    yield* Effect.addFinalizer(() => worker === undefined ? Effect.void : Fiber.interrupt(worker))
    const session: MsgStoreDriver.ImportSession = {
      stage,
      merge: (defaultQuota) => inside(mergeAll(defaultQuota))
    }
    return session
  })

  return (use) =>
    Effect.scopedWith((scope) =>
      Effect.gen(function*() {
        const transaction = yield* Effect.catchTag(
          Scope.provide(database.begin({}), scope),
          "RoutineFailure",
          importFailed
        )
        const used = use(yield* Scope.provide(session(transaction), scope))
        // Inside the caller's transaction what the caller does is part of it too, and would wait for us for ever.
        const value = yield* transaction.isNested ? transaction.run(used, importFailed) : used
        yield* Effect.catchTag(transaction.commit, "RoutineFailure", importFailed)
        return value
      })
    )
}

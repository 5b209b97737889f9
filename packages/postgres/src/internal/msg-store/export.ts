/**
 * Export of a whole store on PostgreSQL (spec section 8, rule 10.11): one transaction, which sees one instant, and piece by piece
 * its statements. A piece is read whole before the first of its records is handed out, so that no statement waits for a consumer.
 */
import { Array as Arr, Cause, Effect, Fiber, Stream } from "effect"
import type { MsgStoreDriver } from "restante"
import { Message, MessageId, MsgStoreError, RecipientId, SenderId } from "restante"
import { Reader } from "../database/binaryCopy.ts"
import * as Bytes from "../database/bytes.ts"
import type { Database, RoutineFailure } from "../database/routine.ts"
import { corrupt } from "./failure.ts"
import * as Rows from "./rows.ts"

/** Before every id. */
const start = new Uint8Array(0)

/** How many records one statement brings at most. */
const recordsAtOnce = 8_000

const damaged = corrupt("a queue or an entry of the store violates the specification")

/** A queue as an export gets it, with entries that follow each other. */
interface Section {
  readonly queue: MsgStoreDriver.LogQueue
  /** Each entry: m (message), q (quota marker), ! (damaged), > (larger than was asked for). */
  readonly kinds: string
  readonly sequences: ReadonlyArray<bigint>
  readonly ids: ReadonlyArray<string>
  readonly timestamps: ReadonlyArray<number>
  readonly notifies: ReadonlyArray<boolean>
  /** The body of the first entry, then of the next, and so on. */
  readonly nextBody: () => Uint8Array | null
}

/** Undefined for one that violates the specification. */
const queueOf = (
  recipientId: string,
  senderId: string,
  status: string,
  rest: Omit<MsgStoreDriver.LogQueue, "recipientId" | "senderId" | "status">
): MsgStoreDriver.LogQueue | undefined =>
  RecipientId.is(recipientId) && SenderId.is(senderId) && (status === "active" || status === "suspended")
    ? { recipientId, senderId, status, ...rest }
    : undefined

const readArray = <A>(reader: Reader, read: () => A | null): ReadonlyArray<A> => {
  const values: Array<A> = []
  for (let left = reader.array(); left > 0; left--) {
    const value = read()
    if (value !== null) values.push(value)
  }
  return values
}

/** The rows of export_page in COPY's format. */
const readSections = (pieces: ReadonlyArray<Uint8Array>): ReadonlyArray<Section | undefined> => {
  const reader = new Reader(pieces)
  const sections: Array<Section | undefined> = []
  while (reader.row()) {
    const recipientId = reader.text("base64url") ?? ""
    const senderId = reader.text("base64url") ?? ""
    const quota = reader.int4() ?? undefined
    const status = reader.text("latin1") ?? ""
    const createdAt = reader.int8Number() ?? 0
    const updatedAt = reader.int8Number() ?? 0
    const nextSequence = reader.int8() ?? 0n
    const queue = queueOf(recipientId, senderId, status, { quota, createdAt, updatedAt, nextSequence })
    const kinds = reader.text("latin1") ?? ""
    const sequences = readArray(reader, () => reader.int8())
    const ids = readArray(reader, () => reader.text("base64url"))
    const timestamps = readArray(reader, () => reader.int8Number())
    const notifies = readArray(reader, () => reader.bool())
    const bodies = reader.fork()
    bodies.array()
    reader.pass()
    sections.push(queue && { queue, kinds, sequences, ids, timestamps, notifies, nextBody: () => bodies.bytea() })
  }
  return sections
}

/** The same of rows that are the answer to a call. */
const sectionOf = (row: Rows.ExportRow): Section | undefined => {
  const queue = queueOf(Bytes.toText(row.recipient_id), Bytes.toText(row.sender_id), row.status, {
    quota: row.quota ?? undefined,
    createdAt: Number(row.created_at),
    updatedAt: Number(row.updated_at),
    nextSequence: row.next_sequence
  })
  const bodies = row.bodies.values()
  return queue && {
    queue,
    kinds: row.kinds,
    sequences: row.sequences,
    ids: row.message_ids.map(Bytes.toText),
    timestamps: row.ts.map(Number),
    notifies: row.notifies,
    nextBody: () => bodies.next().value ?? null
  }
}

/** Where an export is: at the queue with this id, behind its entry with this sequence. */
interface Position {
  readonly recipientId: RecipientId | undefined
  readonly sequence: bigint
}

/** What one statement of an export has brought, how many records that is, and where it ends. */
interface Portion {
  readonly sections: ReadonlyArray<Section>
  readonly count: number
  readonly end: Position
  /** Behind it is an entry too large for a statement that asks for so many. */
  readonly isCut: boolean
}

/** Undefined if something in it violates the specification. */
const portionOf = (from: Position, sections: ReadonlyArray<Section | undefined>): Portion | undefined => {
  const sound: Array<Section> = []
  let count = 0
  let end = from
  for (const section of sections) {
    if (section === undefined) return undefined
    const { kinds, queue: { recipientId }, sequences } = section
    const entries = kinds.search(/[^mq]/)
    if (kinds[entries] === "!") return undefined
    const isCut = entries !== -1
    if (recipientId !== from.recipientId) count++
    count += isCut ? entries : kinds.length
    end = {
      recipientId,
      sequence: sequences[(isCut ? entries : kinds.length) - 1] ??
        (recipientId === from.recipientId ? from.sequence : 0n)
    }
    sound.push(isCut ? { ...section, kinds: kinds.slice(0, entries) } : section)
    if (isCut) return { sections: sound, count, end, isCut }
  }
  return { sections: sound, count, end, isCut: false }
}

/**
 * The records of some sections, each made when it is asked for, and undefined for one that violates the specification. The line of
 * a queue that is known has been given before.
 */
function* recordsOf(
  sections: ReadonlyArray<Section>,
  known: RecipientId | undefined
): Generator<MsgStoreDriver.LogRecord | undefined> {
  for (const { ids, kinds, nextBody, notifies, queue, sequences, timestamps } of sections) {
    const { recipientId } = queue
    if (recipientId !== known) yield { _tag: "Queue", queue }
    for (let i = 0; i < kinds.length; i++) {
      const [id, timestamp, notify, sequence, body] = [ids[i], timestamps[i], notifies[i], sequences[i], nextBody()]
      if (!MessageId.is(id) || timestamp === undefined || notify === undefined || sequence === undefined || !body) {
        yield undefined
        return
      }
      const entry: Message.Entry = kinds[i] === "m"
        ? { kind: "message", id, timestamp, notify, body, sequence }
        : { kind: "quota", id, timestamp, notify: false, body, sequence }
      yield { _tag: "Entry", recipientId, entry }
    }
  }
}

export const make = (database: Database): MsgStoreDriver.MsgStoreDriver["exportLog"] => {
  const { schema } = database

  // A lost answer means that the transaction is lost.
  const exportPage = database.routine("export_page", {
    kind: "read",
    parameters: ["bytea", "bigint", "integer", "bigint"],
    row: Rows.ExportRow
  })

  /** Reads so many records behind a position, with bodies of at most so many bytes each. */
  const portion = (from: Position, limit: number, maxBytes: number): Effect.Effect<Portion, RoutineFailure> =>
    Effect.suspend(() => {
      const recipientId = from.recipientId === undefined ? start : Bytes.ofId(from.recipientId)
      // COPY takes no parameters. What stands in its text are digits.
      const after = `decode('${Buffer.from(recipientId).toString("hex")}', 'hex'), ${from.sequence}`
      const query = `select * from ${schema.quoted}.export_page(${after}, ${limit}, ${maxBytes})`
      const sections = database.byCopyOr(
        Effect.map(database.copyOut(query), readSections),
        () => Effect.map(exportPage(recipientId, from.sequence, limit, BigInt(maxBytes)), (rows) => rows.map(sectionOf))
      )
      return Effect.flatMap(sections, (sections) => {
        const portion = portionOf(from, sections)
        return portion === undefined ? Effect.fail(damaged) : Effect.succeed(portion)
      })
    })

  return ({ limit, maxBytes }) =>
    Stream.unwrap(
      Effect.gen(function*() {
        const transaction = yield* database.beginApart({ isolation: "repeatable read", access: "read only" })
        let under: Fiber.Fiber<Portion, RoutineFailure> | undefined
        yield* Effect.addFinalizer(() => under === undefined ? Effect.void : Effect.asVoid(Fiber.await(under)))
        let wanted = limit
        let from: Position = { recipientId: undefined, sequence: 0n }
        /** One statement ahead: the server works on it while the records of the one before are written. */
        const ask = Effect.suspend(() => {
          const bytes = wanted === 1 ? Message.hardBodyLimit : Math.floor(maxBytes / wanted)
          const statement = transaction.run(portion(from, wanted, bytes), Effect.fail)
          return Effect.map(Effect.forkDetach(statement, { startImmediately: true }), (fiber) => {
            under = fiber
          })
        })
        yield* ask

        let records = recordsOf([], undefined)
        /** Of the largest body of late: bytes. */
        let largest = 1
        const page = (): ReadonlyArray<MsgStoreDriver.LogRecord> | undefined => {
          const page: Array<MsgStoreDriver.LogRecord> = []
          while (page.length < limit) {
            const { done, value } = records.next()
            if (done === true) break
            if (value === undefined) return undefined
            if (value._tag === "Entry") largest = Math.max(largest, value.entry.body.length)
            page.push(value)
          }
          return page
        }

        const next: Effect.Effect<
          Arr.NonEmptyReadonlyArray<ReadonlyArray<MsgStoreDriver.LogRecord>>,
          RoutineFailure | Cause.Done
        > = Effect.suspend(() => {
          const rest = page()
          if (rest === undefined) return Effect.fail(damaged)
          if (rest.length > 0) return Effect.succeed(Arr.of(rest))
          if (under === undefined) return Cause.done()
          return Effect.flatMap(Fiber.join(under), ({ count, end, isCut, sections }) => {
            under = undefined
            records = recordsOf(sections, from.recipientId)
            from = end
            const isLast = !isCut && count < wanted
            const fitting = Math.floor(maxBytes / largest)
            largest = largest >> 1
            wanted = Math.max(1, isCut ? wanted >> 3 : Math.min(wanted * 2, recordsAtOnce, fitting))
            return Effect.andThen(isLast ? Effect.void : ask, next)
          })
        })
        return Stream.fromPull(Effect.succeed(next))
      })
    ).pipe(Stream.catchTag("RoutineFailure", ({ cause, reason }) =>
      Stream.fail(MsgStoreError.fromCause("exportLog", reason, cause))))
}

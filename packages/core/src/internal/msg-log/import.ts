/**
 * The bytes of a log, read and handed to an import session page by page. What all stores share is here: lines, the frame
 * of the format, rejections, counting, and the choice between tolerant and strict.
 *
 * A page is worked on while its lines are still in memory, so that a rejected one can be shown as it was read.
 */
import { Array as Arr, Effect, Exit, Stream } from "effect"
import { InvalidArgument } from "../../InvalidArgument.ts"
import type { ImportOptions, ImportReport, RejectedLine, Rejection, RejectionReason } from "../../MessageLog.ts"
import { ImportRejected } from "../../MessageLog.ts"
import type { ImportSession, LogRecord } from "../../MsgStoreDriver.ts"
import type { MsgStoreError } from "../../MsgStoreError.ts"
import type { Codec, Decoded } from "./codec.ts"
import { maxPageRecords, noBytes } from "./codec.ts"
import type { Line } from "./lines.ts"
import * as Lines from "./lines.ts"
import { Room } from "./room.ts"

/**
 * A store may look at pages while the next ones are read: at so many, and at so many bytes of `maxBytes`. The more it is given at
 * once, the fewer statements it takes.
 */
const maxPagesAhead = 8

/**
 * A store that has something under way has its turn after so many bytes: the answer to a statement would have to wait for a page,
 * and its server for the next statement. Trap: in a heap that is nearly full, each turn lets the garbage collector begin.
 */
const bytesAtOnce = 65_536

/** So many rejections are in a report (spec 8.7). */
const reported = 100

const lineTooLong: Decoded = { _tag: "Rejected", reason: "LineTooLong" }

const notBytes = Effect.fail(new InvalidArgument({ field: "bytes", problem: "must be a stream of Uint8Array" }))

const nothingMerged: Merged = { queuesCreated: 0, queuesExisting: 0, messages: 0, duplicates: 0, latchedQueues: 0 }

type Refusals = Effect.Success<ReturnType<ImportSession["stage"]>>

const noRefusals: Refusals = Effect.succeed([])

type Merged = Effect.Success<ReturnType<ImportSession["merge"]>>

/** Lines that were read and not yet handed on. */
interface Page {
  readonly records: Array<LogRecord>
  /** How many of them are of queues. */
  queues: number
  /** The line of each record, and its bytes if somebody wants them. */
  readonly numbers: Array<number>
  readonly raws: Array<Uint8Array>
  readonly rejected: Array<RejectedLine>
  /** Of bodies, and of rejected lines that are kept: bytes. */
  bytes: number
}

interface Waiting extends Omit<Page, "records"> {
  readonly refusals: Refusals
}

const emptyPage = (): Page => ({ records: [], queues: 0, numbers: [], raws: [], rejected: [], bytes: 0 })

/** How an import is done. */
export interface Settings<E, R> {
  readonly codec: Codec
  readonly isStrict: boolean
  readonly maxBytes: number
  readonly defaultQuota: number
  readonly rejects: ImportOptions<E, R>["rejects"]
  readonly onProgress: ImportOptions["onProgress"]
}

export const importLog = <E, R, E2, R2>(
  session: ImportSession,
  bytes: Stream.Stream<Uint8Array, E, R>,
  { codec, defaultQuota, isStrict, maxBytes, onProgress, rejects }: Settings<E2, R2>
): Effect.Effect<ImportReport, ImportRejected | InvalidArgument | MsgStoreError | E | E2, R | R2> =>
  Effect.suspend(() => {
    const lines = Lines.make()
    const room = new Room()
    let page = emptyPage()
    /** A page that has to be handed on before another line is read. */
    let full: Page | undefined
    /** Where in the file the next line is. Without a frame, every line is within. */
    let place: "before" | "within" | "after" = codec.frame === undefined ? "within" : "before"
    let isWithoutHeader = false
    /** Lines that are not empty, between header and end. */
    let within = 0
    let queues = 0
    let entries = 0
    let allRejected = 0
    const rejected: { [Reason in RejectionReason]: number } = {
      Malformed: 0,
      LineTooLong: 0,
      BodyTooLarge: 0,
      QueueNotFound: 0,
      QueueConflict: 0,
      CountMismatch: 0
    }
    const rejections: Array<Rejection> = []

    const report = (merged: Merged = nothingMerged): ImportReport => ({
      lines: lines.count(),
      ...merged,
      rejected: { ...rejected },
      rejections: [...rejections]
    })

    /** Makes room for one more line of this size. A page that it puts aside has to be handed on before the next call. */
    const reserve = (size: number): void => {
      const count = page.records.length + page.rejected.length
      if (count > 0 && (count === maxPageRecords || page.bytes + size > maxBytes)) {
        full = page
        page = emptyPage()
      }
      page.bytes += size
    }

    /** What is kept of a line for the sink is a copy, because the next line may overwrite it. */
    const reject = (line: number, reason: RejectionReason, bytes: Uint8Array): void => {
      const raw = rejects === undefined ? noBytes : new Uint8Array(bytes)
      reserve(raw.length)
      page.rejected.push({ line, reason, raw })
    }

    const take = (line: Line): void => {
      if (line.bytes.length === 0) return
      const { bytes, number } = line
      const decoded: Decoded = line.isTooLong ? lineTooLong : codec.decode(bytes, room)
      if (place === "within" && decoded._tag === "End") {
        place = "after"
        if (decoded.total !== within) reject(number, "CountMismatch", bytes)
        return
      }
      if (place === "before" && decoded._tag === "Header") {
        place = "within"
        return
      }
      isWithoutHeader = place === "before"
      within++
      if (decoded._tag === "Rejected") {
        reject(number, decoded.reason, bytes)
      } else if (place === "within" && (decoded._tag === "Queue" || decoded._tag === "Entry")) {
        const raw = rejects === undefined ? noBytes : new Uint8Array(bytes)
        reserve(raw.length + (decoded._tag === "Queue" ? 0 : decoded.entry.body.length))
        page.records.push(decoded)
        page.numbers.push(number)
        if (rejects !== undefined) page.raws.push(raw)
        if (decoded._tag === "Queue") page.queues++
      } else {
        reject(number, "Malformed", bytes)
      }
    }

    /** Pages that were handed on, without their records, and what is not known of them yet. */
    let waiting: Array<Waiting> = []
    let waitingBytes = 0

    const settle = ({ bytes, numbers, queues: queueLines, raws, refusals, rejected: unread }: Waiting) =>
      Effect.gen(function*() {
        const refused = yield* refusals
        waitingBytes -= bytes
        queues += queueLines
        entries += numbers.length - queueLines
        const all: Array<RejectedLine> = []
        for (const { index, reason } of refused) {
          all.push({ line: Arr.getUnsafe(numbers, index), reason, raw: raws[index] ?? noBytes })
          if (reason === "QueueConflict") queues--
          else entries--
        }
        // Behind the others, because what is missing at the end has the number of a line that may be among them.
        all.push(...unread)
        for (const line of all.toSorted((a, b) => a.line - b.line)) {
          rejected[line.reason]++
          allRejected++
          if (rejections.length < reported) rejections.push({ line: line.line, reason: line.reason })
          if (rejects !== undefined) yield* rejects(line)
        }
        if (onProgress !== undefined) {
          yield* onProgress({ lines: lines.count(), queues, entries, rejected: allRejected })
        }
      })

    /** Learns what became of pages that were handed on, from the first on, until no more than so many and so many bytes are left. */
    const settleDownTo = (pages: number, bytes: number) =>
      Effect.gen(function*() {
        for (let next = waiting[0]; next !== undefined; next = waiting[0]) {
          if (waiting.length <= pages && waitingBytes <= bytes) return
          waiting = waiting.slice(1)
          yield* settle(next)
        }
      })

    const settleAll = settleDownTo(0, 0)

    const handOn = (page: Page) =>
      Effect.gen(function*() {
        const refusals = page.records.length === 0 ? noRefusals : yield* session.stage(page.records)
        // Trap: the array is old by now, and as long as it is not collected the young records in it are not either.
        page.records.length = 0
        // A body that was read since is in the next page, and stays until that has been handed on.
        room.turn()
        const { bytes, numbers, queues, raws, rejected } = page
        waiting.push({ bytes, numbers, queues, raws, rejected, refusals })
        waitingBytes += bytes
        // What is known at once is said at once.
        yield* Exit.isExit(refusals) ? settleAll : settleDownTo(maxPagesAhead, maxBytes)
      })

    const rejectImport = Effect.flatMap(settleAll, () => Effect.fail(new ImportRejected({ report: report() })))

    const handOnFull = Effect.suspend(() => {
      if (full === undefined) return Effect.void
      const next = full
      full = undefined
      return handOn(next)
    })

    /** Bytes that were read since others had their turn. */
    let atOnce = 0

    /** Reads the lines that are complete. */
    const read: Effect.Effect<void, ImportRejected | InvalidArgument | MsgStoreError | E2, R2> = Effect.suspend(() => {
      for (let line = lines.next(); line !== undefined; line = lines.next()) {
        atOnce += line.bytes.length
        take(line)
        if (isWithoutHeader) return Effect.andThen(handOn(page), rejectImport)
        if (full !== undefined) return Effect.andThen(handOnFull, read)
        if (atOnce >= bytesAtOnce && waiting.length > 0) {
          atOnce = 0
          return Effect.andThen(Effect.yieldNow, read)
        }
      }
      return Effect.void
    })

    /** Reads what is left, says what is missing, and applies everything or nothing. */
    const finish = Effect.gen(function*() {
      const last = lines.end()
      if (last !== undefined) take(last)
      yield* handOnFull
      if (place === "before" && !isWithoutHeader) {
        isWithoutHeader = true
        reject(Math.max(lines.count(), 1), "Malformed", noBytes)
      }
      if (place === "within" && codec.frame !== undefined) reject(lines.count(), "CountMismatch", noBytes)
      yield* handOnFull
      yield* handOn(page)
      yield* settleAll
      if (isWithoutHeader || (isStrict && allRejected > 0)) return yield* rejectImport
      return report(yield* session.merge(defaultQuota))
    })

    return Effect.andThen(
      Stream.runForEachArray(bytes, (chunks) =>
        Effect.forEach(chunks, (chunk: unknown): typeof read => {
          if (!(chunk instanceof Uint8Array)) return notBytes
          lines.feed(chunk)
          return read
        }, { discard: true })),
      finish
    )
  })

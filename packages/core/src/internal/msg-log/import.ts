/**
 * The bytes of a log, read and handed to an import session page by page. What all stores share is here: lines, the frame
 * of the format, rejections, counting, and the choice between tolerant and strict.
 *
 * A page is worked on while its lines are still in memory, so that a rejected one can be shown as it was read.
 */
import { Array as Arr, Effect, Stream } from "effect"
import { InvalidArgument } from "../../InvalidArgument.ts"
import type { ImportOptions, ImportReport, RejectedLine, Rejection, RejectionReason } from "../../MessageLog.ts"
import { ImportRejected } from "../../MessageLog.ts"
import type { ImportSession, LogRecord } from "../../MsgStoreDriver.ts"
import type { MsgStoreError } from "../../MsgStoreError.ts"
import type { Codec, Decoded } from "./codec.ts"
import { maxPageRecords, noBytes } from "./codec.ts"
import type { Line } from "./lines.ts"
import * as Lines from "./lines.ts"

/** So many rejections are in a report (spec 8.7). */
const reported = 100

const lineTooLong: Decoded = { _tag: "Rejected", reason: "LineTooLong" }

const notBytes = Effect.fail(new InvalidArgument({ field: "bytes", problem: "must be a stream of Uint8Array" }))

const nothingMerged: Merged = { queuesCreated: 0, queuesExisting: 0, messages: 0, duplicates: 0, latchedQueues: 0 }

type Merged = Effect.Success<ReturnType<ImportSession["merge"]>>

/** Lines that were read and not yet handed on. */
interface Page {
  readonly records: Array<LogRecord>
  /** The line of each record, and its bytes if somebody wants them. */
  readonly lines: Array<{ readonly number: number; readonly raw: Uint8Array }>
  readonly rejected: Array<RejectedLine>
  /** Of bodies, and of rejected lines that are kept: bytes. */
  bytes: number
}

const emptyPage = (): Page => ({ records: [], lines: [], rejected: [], bytes: 0 })

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
      const decoded: Decoded = line.isTooLong ? lineTooLong : codec.decode(bytes)
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
        page.lines.push({ number, raw })
      } else {
        reject(number, "Malformed", bytes)
      }
    }

    const handOn = ({ lines: lineOf, records, rejected: unread }: Page) =>
      Effect.gen(function*() {
        const refused = records.length === 0 ? [] : yield* session.stage(records)
        for (const record of records) {
          if (record._tag === "Queue") queues++
          else entries++
        }
        const all: Array<RejectedLine> = []
        for (const { index, reason } of refused) {
          const { number, raw } = Arr.getUnsafe(lineOf, index)
          all.push({ line: number, reason, raw })
          if (Arr.getUnsafe(records, index)._tag === "Queue") queues--
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

    const rejectImport = Effect.suspend(() => Effect.fail(new ImportRejected({ report: report() })))

    const handOnFull = Effect.suspend(() => {
      if (full === undefined) return Effect.void
      const next = full
      full = undefined
      return handOn(next)
    })

    /** Reads the lines that are complete. */
    const read: Effect.Effect<void, ImportRejected | InvalidArgument | MsgStoreError | E2, R2> = Effect.suspend(() => {
      for (let line = lines.next(); line !== undefined; line = lines.next()) {
        take(line)
        if (isWithoutHeader) return Effect.andThen(handOn(page), rejectImport)
        if (full !== undefined) return Effect.andThen(handOnFull, read)
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

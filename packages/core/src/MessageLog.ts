/**
 * A store as a file: what `exportLog` writes and `importLog` reads, and what an import says afterwards. spec/msg-store.md,
 * section 8, has both formats field by field.
 */
import type { Effect } from "effect"
import { Schema } from "effect"

/**
 * - `restante`: lossless; one JSON object per line, between a header and an end line that holds counts
 * - `simplex-v3`: the message lines of the text log of a SimpleX server. No queues, quotas or sequences; times in seconds
 *
 * Lines end with LF; what is imported may have CR LF.
 */
export const Format = Schema.Literals(["restante", "simplex-v3"])
export type Format = typeof Format.Type

/**
 * Why a line was not imported.
 *
 * - `Malformed`: not decodable, cut off, of an unknown type, or with a value out of bounds
 * - `LineTooLong`: over 12 MiB
 * - `BodyTooLarge`: over the hard cap of 8 MiB; `maxBodyBytes` does not apply, because an import restores
 * - `QueueNotFound`: an entry of a queue that does not exist, or whose own line comes later or was rejected
 * - `QueueConflict`: a queue whose ids are bound differently, or reserved by a deleted queue
 * - `CountMismatch`: the end line is missing or its counts are not those of the file
 */
export const RejectionReason = Schema.Literals([
  "Malformed",
  "LineTooLong",
  "BodyTooLarge",
  "QueueNotFound",
  "QueueConflict",
  "CountMismatch"
])
export type RejectionReason = typeof RejectionReason.Type

/** Which line was not imported, counted from 1 with the empty ones, and why. */
export const Rejection = Schema.Struct({ line: Schema.Int, reason: RejectionReason })
export type Rejection = typeof Rejection.Type

/** A line that was not imported, for mending it. */
export interface RejectedLine extends Rejection {
  /**
   * The line as it was read, without its end; of one that is too long the first 1,024 bytes, and nothing for a header or
   * end line that is not there.
   */
  readonly raw: Uint8Array
}

/** What an import did. */
export const ImportReport = Schema.Struct({
  /** Lines read, empty ones included. */
  lines: Schema.Int,
  queuesCreated: Schema.Int,
  /** Queue lines of queues that were there, with the same pair of ids; their records were left as they are. */
  queuesExisting: Schema.Int,
  /** Ordinary messages stored. */
  messages: Schema.Int,
  /** Messages whose id was stored already. */
  duplicates: Schema.Int,
  /** Queues named in the file that are latched now. */
  latchedQueues: Schema.Int,
  /** How many lines were rejected, by reason. */
  rejected: Schema.Struct({
    Malformed: Schema.Int,
    LineTooLong: Schema.Int,
    BodyTooLarge: Schema.Int,
    QueueNotFound: Schema.Int,
    QueueConflict: Schema.Int,
    CountMismatch: Schema.Int
  }),
  /** The first 100 of them. */
  rejections: Schema.Array(Rejection)
})
export type ImportReport = typeof ImportReport.Type

/**
 * Nothing was imported: in `strict` mode because lines were rejected, in either mode because the file has no header of a
 * format and version that this library reads. In the report, the counts of what was stored are 0.
 */
export class ImportRejected extends Schema.TaggedError<ImportRejected>()("ImportRejected", { report: ImportReport }) {
  override get message(): string {
    const [first] = this.report.rejections
    const all = Object.values(this.report.rejected).reduce((sum, count) => sum + count, 0)
    return `nothing was imported: ${all} of ${this.report.lines} lines rejected` +
      (first === undefined ? "" : `, the first at line ${first.line} (${first.reason})`) +
      ". A log of format 'restante' begins with its header; if it does, mend the lines, or leave them out with " +
      "mode 'tolerant'"
  }
}

/** How far an import is: lines read, and records among them that were taken or not. Nothing is applied before the end. */
export interface ImportProgress {
  readonly lines: number
  readonly queues: number
  readonly entries: number
  readonly rejected: number
}

/** How far an export is. */
export interface ExportProgress {
  readonly queues: number
  readonly entries: number
}

export interface ExportOptions {
  /** Default `restante`. */
  readonly format?: Format | undefined
  /** Told after each page, before its bytes are emitted. */
  readonly onProgress?: ((progress: ExportProgress) => Effect.Effect<void>) | undefined
}

export interface ImportOptions<E = never, R = never> {
  /** Default `restante`. */
  readonly format?: Format | undefined
  /** `tolerant`, the default, leaves rejected lines out; `strict` reads to the end and applies all or nothing. */
  readonly mode?: "tolerant" | "strict" | undefined
  /** Given every rejected line, in the order of the file. If it fails, nothing is applied. */
  readonly rejects?: ((line: RejectedLine) => Effect.Effect<void, E, R>) | undefined
  /** Told after each page. */
  readonly onProgress?: ((progress: ImportProgress) => Effect.Effect<void>) | undefined
}

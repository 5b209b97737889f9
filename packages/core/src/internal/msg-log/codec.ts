/** What a format of logs is: how a record becomes a line, and how a line becomes a record. */
import type { RejectionReason } from "../../MessageLog.ts"
import type { LogRecord } from "../../MsgStoreDriver.ts"
import type { Output } from "./output.ts"
import type { Room } from "./room.ts"

/** What a line says. */
export type Decoded =
  | LogRecord
  | { readonly _tag: "Header" }
  /** The end line; `total` is the sum of its counts. */
  | { readonly _tag: "End"; readonly total: number }
  | { readonly _tag: "Rejected"; readonly reason: RejectionReason }

export interface Codec {
  /** What stands around the records; `undefined` if nothing does. */
  readonly frame: {
    readonly encodeHeader: (output: Output) => void
    readonly encodeEnd: (output: Output, queues: number, entries: number) => void
  } | undefined
  readonly encode: (output: Output, record: LogRecord) => void
  /** The meaning of a line that is not empty and not too long. Its body has its place in the room. */
  readonly decode: (line: Uint8Array, room: Room) => Decoded
}

export const malformed: Decoded = { _tag: "Rejected", reason: "Malformed" }
export const bodyTooLarge: Decoded = { _tag: "Rejected", reason: "BodyTooLarge" }

export const noBytes: Uint8Array = new Uint8Array(0)

/** A page, of an export and of an import, has at most so many records (spec 8.8). */
export const maxPageRecords = 1_000

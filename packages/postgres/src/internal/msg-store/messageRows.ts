/**
 * Messages of a file on their way into a table of an import: rows in COPY's format, written when the messages are read, and sent
 * when it is known what queues they belong to. Rows wait instead of messages, because the garbage collector walks over what
 * waits: with messages it took a third of an import's time.
 */
import type { Message, RecipientId } from "restante"
import { type Block, header, Reader, trailer, Writer } from "../database/binaryCopy.ts"

export const columns = ["queue_key", "sequence", "n", "ts", "notify", "message_id", "body"]

/** Rows that lie next to each other. */
interface Part {
  readonly block: Block
  readonly start: number
  end: number
  /** Where the keys of their queue go. */
  readonly keys: Array<number>
}

/** Messages of one queue that follow each other in the file. */
export interface Run {
  readonly recipientId: RecipientId
  /** The position of the first one in its page; the others have the next ones. */
  readonly first: number
  count: number
  readonly parts: Array<Part>
}

export const run = (recipientId: RecipientId, first: number): Run => ({ recipientId, first, count: 0, parts: [] })

/** Adds a message to the end of a run; `n` is its position in the file. */
export const append = (writer: Writer, run: Run, entry: Message.Entry, n: number): void => {
  writer.row(columns.length, 4 * 8 + 1 + entry.id.length + entry.body.length)
  let part = run.parts.at(-1)
  if (part?.block !== writer.block || part.end !== writer.at - 2) {
    part = { block: writer.block, start: writer.at - 2, end: writer.at, keys: [] }
    run.parts.push(part)
  }
  part.keys.push(writer.at + 4)
  writer.int8(0n)
  writer.int8(entry.sequence)
  writer.int8Number(n)
  writer.int8Number(entry.timestamp)
  writer.bool(entry.notify)
  writer.id(entry.id)
  writer.bytea(entry.body)
  part.end = writer.at
  run.count++
}

/** A run and the key of its queue. */
export interface Keyed {
  readonly run: Run
  readonly key: bigint
}

/** The rows of some runs in COPY's format, in pieces. */
export function* pieces(runs: ReadonlyArray<Keyed>): Generator<Uint8Array> {
  yield header
  let last: Part | undefined
  let start = 0
  for (const { key, run } of runs) {
    for (const part of run.parts) {
      for (const at of part.keys) part.block.view.setBigInt64(at, key)
      if (last !== undefined && (last.block !== part.block || last.end !== part.start)) {
        yield last.block.bytes.subarray(start, last.end)
        last = undefined
      }
      if (last === undefined) start = part.start
      last = part
    }
  }
  if (last !== undefined) yield last.block.bytes.subarray(start, last.end)
  yield trailer
}

/** The same rows as values, column by column. */
export const values = (runs: ReadonlyArray<Keyed>) => {
  const all = {
    keys: new Array<unknown>(),
    sequences: new Array<unknown>(),
    ns: new Array<unknown>(),
    ts: new Array<unknown>(),
    notify: new Array<unknown>(),
    messageIds: new Array<unknown>(),
    bodies: new Array<unknown>()
  }
  const reader = new Reader([...pieces(runs)])
  while (reader.row()) {
    all.keys.push(reader.int8())
    all.sequences.push(reader.int8())
    all.ns.push(reader.int8())
    all.ts.push(reader.int8())
    all.notify.push(reader.bool())
    all.messageIds.push(reader.bytea())
    all.bodies.push(reader.bytea())
  }
  return all
}

/**
 * What an import does to one queue: rule 8.5 as a pure function, to be read as its definition.
 *
 * Entries of the file are taken in the order of their sequences, equal ones (and all of a format without sequences) in the
 * order of the file. `last` is the last sequence that the queue has given out: 0 for a queue that the import creates,
 * `nextSequence - 1` for another, even if that entry is gone.
 *
 * - A message whose id an ordinary entry of the queue has is a duplicate, also when that entry was appended a moment ago by
 *   the same import. Any other message is appended at `max(own sequence, last + 1)`, which becomes `last`.
 * - A message whose id only the marker of the queue has is not a duplicate. It is appended, so the marker is placed anew,
 *   and since its id belongs to an ordinary entry now it gets a derived one.
 * - A marker of the file is not appended where it stands; the last one is remembered.
 * - The queue ends latched if it was, or the file has a marker for it, or something was appended and there are more
 *   ordinary entries now than its quota.
 * - A queue that ends latched, and to which something was appended or which had no marker, gets exactly one marker at the
 *   tail: the one of the file, else the one it had, else a new one. It too has sequence `max(own, last + 1)`, where a new
 *   one has no own. In all other cases nothing happens to the marker.
 * - That marker keeps its timestamp, and its id unless an ordinary entry has it. Otherwise the id is derived from the id of
 *   the last ordinary entry, and if an ordinary entry has that too (which takes a forged file) from the derived one, and so
 *   on. A new marker has the timestamp of the last ordinary entry.
 * - `nextSequence` is `last + 1`, of a queue that the import creates at least what its line says.
 *
 * Own sequences are at most 2^62, so nothing that is appended comes near the end of the range at 2^63 - 1.
 */
import { HashMap } from "effect"
import type { Entry, MessageId } from "../../Message.ts"
import * as Fifo from "./fifo.ts"
import type { Mailbox } from "./mailbox.ts"

/** What became of a queue, or the id that another has to be derived from before it can be told. */
export type Merge =
  | { readonly _tag: "Merged"; readonly box: Mailbox; readonly messages: number; readonly duplicates: number }
  | { readonly _tag: "DerivesFrom"; readonly id: MessageId }

const bySequence = (a: Entry, b: Entry): number => a.sequence < b.sequence ? -1 : a.sequence > b.sequence ? 1 : 0

const lastOf = (box: Mailbox): { readonly message: Entry | undefined; readonly marker: Entry | undefined } => {
  let message: Entry | undefined
  let marker: Entry | undefined
  for (const entry of Fifo.values(box.entries)) {
    if (entry.kind === "quota") marker = entry
    else message = entry
  }
  return { message, marker }
}

const noBytes = new Uint8Array(0)

/**
 * Adds the entries of a file, given in its order, to a queue. `derived` knows the marker ids that were derived so far: it
 * answers `undefined` for one that it does not, and is asked again.
 */
export const merge = (
  box: Mailbox,
  entries: ReadonlyArray<Entry>,
  defaultQuota: number,
  derived: (from: MessageId) => MessageId | undefined
): Merge => {
  const appended: Array<Entry> = []
  const ids = new Set<MessageId>()
  const isOrdinary = (id: MessageId): boolean => ids.has(id) || (id !== box.marker && HashMap.has(box.sequences, id))
  let duplicates = 0
  let last = box.nextSequence - 1n
  const next = (own: bigint): bigint => {
    last = own > last ? own : last + 1n
    return last
  }
  let ofFile: Entry | undefined
  for (const entry of entries.toSorted(bySequence)) {
    if (entry.kind === "quota") {
      ofFile = entry
    } else if (isOrdinary(entry.id)) {
      duplicates++
    } else {
      ids.add(entry.id)
      appended.push({ ...entry, sequence: next(entry.sequence) })
    }
  }
  const messages = appended.length

  const wasLatched = box.marker !== undefined
  const ordinary = box.entries.size - (wasLatched ? 1 : 0) + messages
  const isLatched = wasLatched || ofFile !== undefined ||
    (messages > 0 && ordinary > (box.quota ?? defaultQuota))
  if (isLatched ? wasLatched && messages === 0 : messages === 0) return { _tag: "Merged", box, messages, duplicates }

  let marker: Entry | undefined
  if (isLatched) {
    const before = lastOf(box)
    const takenOver = ofFile ?? before.marker
    const message = appended.at(-1) ?? before.message
    let id = takenOver?.id
    let from = message?.id
    while (from !== undefined && (id === undefined || isOrdinary(id))) {
      id = derived(from)
      if (id === undefined) return { _tag: "DerivesFrom", id: from }
      from = id
    }
    const source = takenOver ?? message
    if (id !== undefined && source !== undefined) {
      const sequence = next(takenOver?.sequence ?? 0n)
      marker = { kind: "quota", id, timestamp: source.timestamp, notify: false, body: noBytes, sequence }
      appended.push(marker)
    }
  }

  let sequences = HashMap.beginMutation(box.sequences)
  let fifo: Fifo.Fifo<Entry> = box.entries
  if (box.marker !== undefined) {
    sequences = HashMap.remove(sequences, box.marker)
    fifo = Fifo.empty
    for (const entry of Fifo.values(box.entries)) {
      if (entry.kind === "message") fifo = Fifo.push(fifo, entry)
    }
  }
  for (const entry of appended) {
    sequences = HashMap.set(sequences, entry.id, entry.sequence)
    fifo = Fifo.push(fifo, entry)
  }
  return {
    _tag: "Merged",
    box: {
      ...box,
      entries: fifo,
      sequences: HashMap.endMutation(sequences),
      marker: marker?.id,
      nextSequence: last + 1n
    },
    messages,
    duplicates
  }
}

/**
 * A text as numbered paragraphs, without losing a byte.
 *
 * A paragraph is its lines together with the blank lines that follow it; blank lines at the very beginning belong to the
 * first one. So the paragraphs of a text, joined in order, are the text, whatever its line ends are.
 */
import { MessageId } from "restante"

/** A piece of a text that fits into one message. */
export interface Paragraph {
  /** Its place in the text, from 1. */
  readonly number: number
  readonly bytes: Uint8Array
}

/** What one message may carry unless the store is told otherwise (`maxBodyBytes`): 64 KiB. */
const defaultMaxBytes = 65_536

const lineFeed = 0x0a
const blanks: ReadonlySet<number> = new Set([0x20, 0x09, 0x0b, 0x0c, 0x0d, lineFeed])

/**
 * The paragraphs of a text, none if it has nothing but blanks. One that is longer than `maxBytes` becomes several, cut
 * wherever the limit falls, even inside a character: bodies are bytes.
 */
export const split = (text: Uint8Array, maxBytes: number = defaultMaxBytes): ReadonlyArray<Paragraph> => {
  if (text.every((byte) => blanks.has(byte))) return []
  return startsOf(text)
    .map((start, i, starts) => text.subarray(start, starts[i + 1] ?? text.length))
    .flatMap((paragraph) => pieces(paragraph, maxBytes))
    .map((bytes, i) => ({ number: i + 1, bytes }))
}

/** Where paragraphs begin: at 0, and at every line with text that follows a blank line which follows text. */
const startsOf = (text: Uint8Array): ReadonlyArray<number> => {
  const starts = [0]
  let seenText = false
  let afterBlank = false
  for (let start = 0; start < text.length;) {
    const end = text.indexOf(lineFeed, start)
    const next = end === -1 ? text.length : end + 1
    const blank = text.subarray(start, next).every((byte) => blanks.has(byte))
    if (!blank && seenText && afterBlank) starts.push(start)
    seenText ||= !blank
    afterBlank = blank
    start = next
  }
  return starts
}

const pieces = (bytes: Uint8Array, maxBytes: number): ReadonlyArray<Uint8Array> =>
  Array.from(
    { length: Math.ceil(bytes.length / maxBytes) },
    (_, i) => bytes.subarray(i * maxBytes, (i + 1) * maxBytes)
  )

/** Paragraphs as one text again, by their numbers, in whatever order they arrived. */
export const join = (paragraphs: Iterable<Paragraph>): Uint8Array =>
  Buffer.concat([...paragraphs].toSorted((a, b) => a.number - b.number).map(({ bytes }) => bytes))

/**
 * The paragraphs dealt out like cards to a number of hands: the first to the first hand, the second to the second, and so
 * on.
 */
export const deal = (paragraphs: ReadonlyArray<Paragraph>, hands: number): ReadonlyArray<ReadonlyArray<Paragraph>> =>
  Array.from({ length: hands }, (_, hand) => paragraphs.filter((_, i) => i % hands === hand))

/** The id of a paragraph's message follows from its number, so a sender who repeats a write uses the same one. */
export const messageId = (number: number): MessageId => MessageId.named(String(number))

/** The number of the paragraph that a message carries. */
export const numberOf = (id: MessageId): number => Number(new TextDecoder().decode(MessageId.toBytes(id)))

/**
 * Splits bytes that arrive in pieces of any size into lines, in bounded memory: what is kept is the beginning of one line,
 * and of a line that is too long only its first bytes.
 *
 * Lines end with LF. A CR before it belongs to the end, because files that went through other systems have it, and no
 * format has a use for it.
 */

import { native } from "./native.ts"

/** A longer line is skipped: bytes. The largest body that can be imported fits, with some room. */
const maxLineBytes = 12 * 1_024 * 1_024

/** How much is shown of a line that is too long: bytes. */
const shownBytes = 1_024

export interface Line {
  /** Counted from 1, empty lines included. */
  readonly number: number
  /** Without the end of the line. Valid until the next call of `next`, `feed` or `end`. */
  readonly bytes: Uint8Array
  /** Whether `bytes` is only the beginning of a line over 12 MiB. */
  readonly isTooLong: boolean
}

export interface Lines {
  /** Gives the next piece, once `next` has answered that there is no line left in the one before. */
  readonly feed: (chunk: Uint8Array) => void
  /** The next complete line, if there is one in what was fed. */
  readonly next: () => Line | undefined
  /** What is left after the last piece: a last line without an end, if there is one. */
  readonly end: () => Line | undefined
  /** How many lines there were so far. */
  readonly count: () => number
}

const lf = 10
const cr = 13
const nothing = new Uint8Array(0)

export const make = (): Lines => {
  let chunk: Uint8Array = nothing
  let offset = 0
  let count = 0
  // The beginning of a line whose end has not come. It grows by doubling, so that tiny pieces cost no more than large ones.
  let kept: Uint8Array = new Uint8Array(4_096)
  let keptLength = 0
  let isSkipping = false

  /** Keeps a part of a line, as long as there may be an end that makes it short enough. */
  const keep = (part: Uint8Array): void => {
    if (isSkipping) return
    const length = keptLength + part.length
    // One more than the limit, because the last byte may be a CR that does not count.
    if (length > maxLineBytes + 1) {
      const shown = new Uint8Array(shownBytes)
      shown.set(kept.subarray(0, Math.min(keptLength, shownBytes)))
      if (keptLength < shownBytes) shown.set(part.subarray(0, shownBytes - keptLength), keptLength)
      kept = shown
      keptLength = shownBytes
      isSkipping = true
      return
    }
    if (length > kept.length) {
      const larger = new Uint8Array(Math.max(length, Math.min(kept.length * 2, maxLineBytes + 1)))
      larger.set(kept.subarray(0, keptLength))
      kept = larger
    }
    kept.set(part, keptLength)
    keptLength = length
  }

  const line = (bytes: Uint8Array, isSkipped: boolean): Line => {
    count++
    const own = !isSkipped && bytes[bytes.length - 1] === cr ? bytes.subarray(0, -1) : bytes
    return own.length > maxLineBytes
      ? { number: count, bytes: own.subarray(0, shownBytes), isTooLong: true }
      : { number: count, bytes: own, isTooLong: isSkipped }
  }

  const keptLine = (): Line => {
    const answer = line(kept.subarray(0, keptLength), isSkipping)
    keptLength = 0
    isSkipping = false
    return answer
  }

  return {
    feed: (next) => {
      chunk = native(next) ?? next
      offset = 0
    },
    next: () => {
      if (offset >= chunk.length) return undefined
      const start = offset
      const end = chunk.indexOf(lf, start)
      if (end === -1) {
        keep(chunk.subarray(start))
        chunk = nothing
        offset = 0
        return undefined
      }
      offset = end + 1
      if (keptLength === 0) return line(chunk.subarray(start, end), false)
      keep(chunk.subarray(start, end))
      return keptLine()
    },
    end: () => keptLength === 0 ? undefined : keptLine(),
    count: () => count
  }
}

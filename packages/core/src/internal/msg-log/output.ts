/** The bytes of a part of a log, built without a string for every line. */
import * as Base64Url from "./base64url.ts"
import { native } from "./native.ts"

const encoder = new TextEncoder()

export interface Output {
  /** Appends ASCII. */
  readonly text: (ascii: string) => void
  /** Appends the unpadded base64url of some bytes. */
  readonly base64url: (bytes: Uint8Array) => void
  /** What was appended since the last call, in arrays that are the caller's. */
  readonly take: () => Array<Uint8Array>
}

/**
 * Arrays of this size, because the allocator has larger ones made by the kernel page by page: a page of messages of 1 KiB in one
 * array took 1.3 µs a message, and in many takes 0.2.
 */
const size = 65_536

export const make = (): Output => {
  let full: Array<Uint8Array> = []
  let bytes: Uint8Array = new Uint8Array(0)
  let target = native(bytes)
  let start = 0
  let end = 0

  const reserve = (wanted: number): void => {
    if (end + wanted <= bytes.length) return
    if (end > start) full.push(bytes.subarray(start, end))
    bytes = new Uint8Array(Math.max(size, wanted))
    target = native(bytes)
    start = 0
    end = 0
  }

  return {
    text: (ascii) => {
      reserve(ascii.length)
      if (target === undefined) encoder.encodeInto(ascii, bytes.subarray(end))
      else target.write(ascii, end, ascii.length, "latin1")
      end += ascii.length
    },
    base64url: (body) => {
      reserve(Base64Url.textLength(body.length))
      end = Base64Url.encodeInto(body, target ?? bytes, end)
    },
    take: () => {
      const taken = full
      if (end > start) taken.push(bytes.subarray(start, end))
      start = end
      full = []
      return taken
    }
  }
}

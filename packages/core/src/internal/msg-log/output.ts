/** The bytes of a part of a log, built without a string for every body. */
import * as Base64Url from "./base64url.ts"

const encoder = new TextEncoder()

export interface Output {
  /** Appends ASCII. */
  readonly text: (ascii: string) => void
  /** Appends the unpadded base64url of some bytes. */
  readonly base64url: (bytes: Uint8Array) => void
  /** What was appended since the last call, in an array of its own. */
  readonly take: () => Uint8Array
}

export const make = (): Output => {
  let buffer: Uint8Array = new Uint8Array(65_536)
  let length = 0

  const reserve = (bytes: number): void => {
    if (length + bytes <= buffer.length) return
    const larger = new Uint8Array(Math.max(length + bytes, buffer.length * 2))
    larger.set(buffer.subarray(0, length))
    buffer = larger
  }

  return {
    text: (ascii) => {
      reserve(ascii.length)
      encoder.encodeInto(ascii, buffer.subarray(length))
      length += ascii.length
    },
    base64url: (bytes) => {
      reserve(Base64Url.textLength(bytes.length))
      length = Base64Url.encodeInto(bytes, buffer, length)
    },
    take: () => {
      const taken = buffer.slice(0, length)
      length = 0
      return taken
    }
  }
}

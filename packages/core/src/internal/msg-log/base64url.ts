/**
 * Base64url for logs: straight between bytes and the bytes of a line, because a log is mostly that. By native code where there
 * is some, see `native.ts`.
 */
import { native } from "./native.ts"
import type { Room } from "./room.ts"

const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
const letters = Uint8Array.from(alphabet, (letter) => letter.charCodeAt(0))
const outside = -1
const values = new Int8Array(256).fill(outside)
for (const [value, letter] of letters.entries()) values[letter] = value

const letter = (value: number): number => letters[value & 63] ?? 0

const valueAt = (line: Uint8Array, i: number): number => values[line[i] ?? 0] ?? outside

/** How many bytes an unpadded text of this length stands for. */
export const byteLength = (letters: number): number => Math.floor(letters * 3 / 4)

/** How many letters these bytes need without padding. */
export const textLength = (bytes: number): number => Math.ceil(bytes * 4 / 3)

/** Writes the letters of the bytes, unpadded, and answers where they end. There has to be room for them. */
export const encodeInto = (bytes: Uint8Array, target: Uint8Array, start: number): number => {
  const [from, to] = [native(bytes), native(target)]
  if (from !== undefined && to !== undefined) {
    const text = from.toString("base64url")
    return start + to.write(text, start, text.length, "latin1")
  }
  let at = start
  const whole = bytes.length - bytes.length % 3
  for (let i = 0; i < whole; i += 3) {
    const group = (bytes[i] ?? 0) << 16 | (bytes[i + 1] ?? 0) << 8 | (bytes[i + 2] ?? 0)
    target[at++] = letter(group >> 18)
    target[at++] = letter(group >> 12)
    target[at++] = letter(group >> 6)
    target[at++] = letter(group)
  }
  if (whole < bytes.length) {
    const group = (bytes[whole] ?? 0) << 16 | (bytes[whole + 1] ?? 0) << 8
    target[at++] = letter(group >> 18)
    target[at++] = letter(group >> 12)
    if (whole + 2 === bytes.length) target[at++] = letter(group >> 6)
  }
  return at
}

/** Decodes the letters from `start` up to `end` to where `at` is in the target; false if one is outside the alphabet. */
const decodeInto = (line: Uint8Array, start: number, end: number, target: Uint8Array, at: number): boolean => {
  const [from, to] = [native(line), native(target)]
  if (from !== undefined && to !== undefined) {
    const text = from.toString("latin1", start, end)
    const size = byteLength(text.length)
    // Node takes the letters of ordinary base64 too. It passes over all others, and the bytes are then too few.
    return !text.includes("+") && !text.includes("/") && to.write(text, at, size, "base64url") === size
  }
  // One letter outside the alphabet makes it negative, for good.
  let seen = 0
  const whole = end - (end - start) % 4
  for (let i = start; i < whole; i += 4) {
    const a = valueAt(line, i)
    const b = valueAt(line, i + 1)
    const c = valueAt(line, i + 2)
    const d = valueAt(line, i + 3)
    seen |= a | b | c | d
    const group = a << 18 | b << 12 | c << 6 | d
    target[at++] = group >> 16
    target[at++] = group >> 8
    target[at++] = group
  }
  if (whole < end) {
    const a = valueAt(line, whole)
    const b = valueAt(line, whole + 1)
    const c = whole + 2 < end ? valueAt(line, whole + 2) : 0
    seen |= a | b | c
    target[at++] = a << 2 | b >> 4
    if (whole + 2 < end) target[at++] = b << 4 | c >> 2
  }
  return seen >= 0
}

/**
 * What the unpadded letters of a line stand for, those from `start` up to `end`; `undefined` if they are none, also when bits that
 * stand for nothing are set.
 */
export const decode = (line: Uint8Array, start: number, end: number, room: Room): Uint8Array | undefined => {
  const rest = (end - start) % 4
  if (rest === 1) return undefined
  if (rest > 0 && (valueAt(line, end - 1) & (rest === 2 ? 15 : 3)) !== 0) return undefined
  const size = byteLength(end - start)
  room.reserve(size)
  const { at, block } = room
  return decodeInto(line, start, end, block, at) ? new Uint8Array(block.buffer, block.byteOffset + at, size) : undefined
}

/** A padded text without its padding; any other text as it is. */
export const unpad = (text: string): string =>
  text.length % 4 !== 0 || !text.endsWith("=") ? text : text.slice(0, text.endsWith("==") ? -2 : -1)

/** The padding that an unpadded text of this length lacks. */
export const padding = (length: number): string => length % 4 === 2 ? "==" : length % 4 === 3 ? "=" : ""

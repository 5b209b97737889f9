/**
 * Base64url for logs: straight between bytes and the bytes of a line, because a log is mostly that.
 *
 * Measured on Node 24.21 (shared machine, 2 cores) for bodies of 100 bytes: decoding 0.9 µs against 2.3 µs of
 * `effect/encoding/Base64Url`, encoding 0.2 µs against 2.9 µs. Node 24 has no `Uint8Array.fromBase64`.
 */
const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
const letters = Uint8Array.from(alphabet, (letter) => letter.charCodeAt(0))
const outside = -1
const values = new Int8Array(256).fill(outside)
for (const [value, letter] of letters.entries()) values[letter] = value

const letter = (value: number): number => letters[value & 63] ?? 0

const valueAt = (text: string, i: number): number => {
  const code = text.charCodeAt(i)
  return code < 256 ? values[code] ?? outside : outside
}

/** How many bytes an unpadded text of this length stands for. */
export const byteLength = (letters: number): number => Math.floor(letters * 3 / 4)

/** How many letters these bytes need without padding. */
export const textLength = (bytes: number): number => Math.ceil(bytes * 4 / 3)

/** Writes the letters of the bytes, unpadded, and answers where they end. There has to be room for them. */
export const encodeInto = (bytes: Uint8Array, target: Uint8Array, start: number): number => {
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

/** The bytes of an unpadded text; `undefined` if it is not one, also when bits that stand for nothing are set. */
export const decode = (text: string): Uint8Array | undefined => {
  const { length } = text
  const rest = length % 4
  if (rest === 1) return undefined
  const bytes = new Uint8Array(byteLength(length))
  // One letter outside the alphabet makes it negative, for good.
  let seen = 0
  let at = 0
  const whole = length - rest
  for (let i = 0; i < whole; i += 4) {
    const a = valueAt(text, i)
    const b = valueAt(text, i + 1)
    const c = valueAt(text, i + 2)
    const d = valueAt(text, i + 3)
    seen |= a | b | c | d
    const group = a << 18 | b << 12 | c << 6 | d
    bytes[at++] = group >> 16
    bytes[at++] = group >> 8
    bytes[at++] = group
  }
  if (rest > 0) {
    const a = valueAt(text, whole)
    const b = valueAt(text, whole + 1)
    const c = rest === 3 ? valueAt(text, whole + 2) : 0
    seen |= a | b | c
    const group = a << 18 | b << 12 | c << 6
    bytes[at++] = group >> 16
    if (rest === 3) bytes[at++] = group >> 8
    if ((rest === 3 ? group & 0xff : group & 0xffff) !== 0) return undefined
  }
  return seen < 0 ? undefined : bytes
}

/** A padded text without its padding; any other text as it is. */
export const unpad = (text: string): string =>
  text.length % 4 !== 0 || !text.endsWith("=") ? text : text.slice(0, text.endsWith("==") ? -2 : -1)

/** The padding that an unpadded text of this length lacks. */
export const padding = (length: number): string => length % 4 === 2 ? "==" : length % 4 === 3 ? "=" : ""

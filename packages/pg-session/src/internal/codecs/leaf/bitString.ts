/**
 * `bit` and `varbit`: the number of bits, then the bits, the first in the highest place of the first byte.
 */
import type { PgTypes } from "../../driver.ts"
import { codec, refuse } from "../bytes.ts"
import * as input from "./input.ts"

const bitsOfByte = Array.from({ length: 256 }, (_, byte) => byte.toString(2).padStart(8, "0"))

const sizeOf = (length: number): number => Math.ceil(length / 8)

export const unpack = (name: string, bytes: Uint8Array, length: number): string => {
  input.integer(length, `${name} length`, 0, bytes.length * 8)
  return Array.from(bytes.subarray(0, sizeOf(length)), (byte) => bitsOfByte[byte]).join("").slice(0, length)
}

export const pack = (name: string, value: unknown): Uint8Array => {
  const bits = input.text(value, name)
  // Trap: a regular expression over the whole text overflows the stack of V8 for some million bits.
  const bytes = new Uint8Array(sizeOf(bits.length))
  for (let index = 0; index < bytes.length; index++) {
    const chunk = bits.slice(index * 8, index * 8 + 8)
    if (!/^[01]+$/.test(chunk)) refuse(`${name}: a string of 0 and 1 expected`)
    bytes[index] = Number.parseInt(chunk.padEnd(8, "0"), 2)
  }
  return bytes
}

const bitString = (name: string): PgTypes.Codec<unknown> =>
  codec<unknown>(
    name,
    (reader) => {
      const length = reader.int32()
      return unpack(name, reader.bytes(sizeOf(length)), length)
    },
    (writer, value) => {
      const bytes = pack(name, value)
      writer.int32(input.text(value, name).length).bytes(bytes)
    }
  )

export const bit = bitString("bit")
export const varbit = bitString("varbit")

/**
 * `macaddr` and `macaddr8`: six and eight bytes, as lower-case text with colons. Capitals are understood; other
 * separators only by the server, as untyped text.
 */
import type { PgTypes } from "../../driver.ts"
import { codec, refuse } from "../bytes.ts"
import * as input from "./input.ts"

const hex = (byte: number): string => byte.toString(16).padStart(2, "0")

const address = (name: string, size: number): PgTypes.Codec<unknown> => {
  const form = new RegExp(`^[0-9a-fA-F]{2}(?::[0-9a-fA-F]{2}){${size - 1}}$`)
  return codec<unknown>(
    name,
    (reader) => Array.from(reader.bytes(size), hex).join(":"),
    (writer, value) => {
      const text = input.text(value, name)
      if (!form.test(text)) refuse(`${name}: ${size} bytes in hexadecimal with colons between them expected`)
      for (const byte of text.split(":")) writer.uint8(Number.parseInt(byte, 16))
    }
  )
}

export const macaddr = address("macaddr", 6)
export const macaddr8 = address("macaddr8", 8)

/**
 * `hstore`: a record of text or null. The server orders the keys by length and then by bytes; a JavaScript object puts
 * keys that look like array indexes first.
 */
import type { PgTypes } from "../../driver.ts"
import { codec, type Reader, refuse } from "../bytes.ts"
import * as input from "./input.ts"

const sizedText = (reader: Reader): string | null => {
  const size = reader.int32()
  return size === -1 ? null : reader.utf8(size)
}

const isRecord = (value: unknown): value is object => Object.prototype.toString.call(value) === "[object Object]"

export const hstore: PgTypes.Codec<unknown> = codec<unknown>(
  "hstore",
  (reader) =>
    // Trap: assignment would lose the key `__proto__`; fromEntries defines it like any other.
    Object.fromEntries(Array.from({ length: reader.count(8) }, () => {
      const key = sizedText(reader)
      return [key ?? refuse("hstore: a key is null"), sizedText(reader)] as const
    })),
  (writer, value) => {
    if (!isRecord(value)) return refuse("hstore: a record of strings and nulls expected")
    const entries: ReadonlyArray<[string, unknown]> = Object.entries(value)
    writer.int32(entries.length)
    for (const [key, content] of entries) {
      writer.framed(() => writer.utf8(key))
      if (content === null) writer.int32(-1)
      else writer.framed(() => writer.utf8(input.text(content, "hstore value")))
    }
  }
)

/**
 * Ranges: a byte of flags, then the bounds that there are, each behind its length. Multiranges: a count, then ranges, each
 * behind its length.
 */
import * as PgRange from "../../../PgRange.ts"
import type { PgTypes } from "../../driver.ts"
import { codec, type Reader, refuse, type Writer } from "../bytes.ts"
import * as input from "./input.ts"

const empty = 0x01
const lowerFlags = { inclusive: 0x02, unbounded: 0x08 }
const upperFlags = { inclusive: 0x04, unbounded: 0x10 }

const readBound = (
  reader: Reader,
  flags: number,
  side: typeof lowerFlags,
  inner: PgTypes.Codec<unknown>
): PgRange.Bound<unknown> => {
  if ((flags & side.unbounded) !== 0) return PgRange.unbounded
  const value = reader.value(inner, reader.int32())
  return (flags & side.inclusive) === 0 ? PgRange.exclusive(value) : PgRange.inclusive(value)
}

const boundFlags = (bound: unknown, side: typeof lowerFlags, name: string): number => {
  switch (input.field(bound, "_tag", name)) {
    case "Unbounded":
      return side.unbounded
    case "Inclusive":
      return side.inclusive
    case "Exclusive":
      return 0
    default:
      return refuse(`${name}: a bound that is Unbounded, Inclusive or Exclusive expected`)
  }
}

const writeBounds = (writer: Writer, value: unknown, name: string, inner: PgTypes.Codec<unknown>): void => {
  const lower = input.field(value, "lower", name)
  const upper = input.field(value, "upper", name)
  const lowerBits = boundFlags(lower, lowerFlags, name)
  const upperBits = boundFlags(upper, upperFlags, name)
  writer.uint8(lowerBits | upperBits)
  if (lowerBits !== lowerFlags.unbounded) writer.framed(() => writer.value(inner, input.field(lower, "value", name)))
  if (upperBits !== upperFlags.unbounded) writer.framed(() => writer.value(inner, input.field(upper, "value", name)))
}

/** The codec of the range over a type whose codec is `inner`. */
export const range = (name: string, inner: PgTypes.Codec<unknown>): PgTypes.Codec<unknown> =>
  codec<unknown>(
    name,
    (reader): PgRange.Range<unknown> => {
      const flags = reader.uint8()
      return (flags & empty) === 0
        ? { lower: readBound(reader, flags, lowerFlags, inner), upper: readBound(reader, flags, upperFlags, inner) }
        : PgRange.empty
    },
    (writer, value) => {
      const tagged = typeof value === "object" && value !== null && "_tag" in value && value._tag !== undefined
      if (!tagged) writeBounds(writer, value, name, inner)
      else if (value._tag === "Empty") writer.uint8(empty)
      else refuse(`${name}: Empty, or lower and upper expected`)
    }
  )

/** The codec of the multirange over a type whose codec is `inner`. */
export const multirange = (name: string, inner: PgTypes.Codec<unknown>): PgTypes.Codec<unknown> => {
  const element = range(name, inner)
  return codec<unknown>(
    name,
    (reader) => Array.from({ length: reader.count(5) }, () => reader.value(element, reader.int32())),
    (writer, value) => {
      const ranges = input.list(value, name)
      writer.int32(ranges.length)
      for (const bounds of ranges) writer.framed(() => writeBounds(writer, bounds, name, inner))
    }
  )
}

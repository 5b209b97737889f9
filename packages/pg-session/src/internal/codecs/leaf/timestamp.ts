/**
 * `timestamp` and `timestamptz` as microseconds, and as bounds of ranges in the driver's form. On the wire they are
 * microseconds since 2000, the ends of int64 standing for infinity.
 */
import { Result } from "effect"
import type * as PgTimestamp from "../../../PgTimestamp.ts"
import { PgTypes } from "../../driver.ts"
import { codec, refuse } from "../bytes.ts"
import { builtIn } from "./builtIn.ts"
import * as input from "./input.ts"

const epoch = 946_684_800_000_000n
// 4714-11-24 BC, and the last microsecond of the year 294276.
const least = -211_813_488_000_000_000n + epoch
const most = 9_223_371_331_200_000_000n - 1n + epoch

const wire = (value: unknown): bigint => {
  if (value === "infinity") return input.int64Max
  if (value === "-infinity") return input.int64Min
  // An invalid Date has the time NaN, which no bigint is made of.
  const micros = value instanceof Date ? BigInt(value.getTime()) * 1000n : value
  return typeof micros === "bigint" && micros >= least && micros <= most
    ? micros - epoch
    : refuse("timestamp: infinity, -infinity or a time that the type can hold expected")
}

export const micros: PgTypes.Codec<unknown> = codec<unknown>(
  "timestamp",
  (reader): PgTimestamp.Micros => {
    const value = reader.int64()
    return value === input.int64Max ? "infinity" : value === input.int64Min ? "-infinity" : value + epoch
  },
  (writer, value) => writer.int64(wire(value))
)

const driver = builtIn(PgTypes.OID.timestamp)

/**
 * Dates, but for infinity: see `PgTimestamp.DateBound`.
 *
 * Trap: the driver multiplies a Date's milliseconds as a float, which after the year 2255 adds some microseconds. Bounds
 * that should meet would overlap, so the writing is done here.
 */
export const dateBound: PgTypes.Codec<unknown> = {
  encode: (value) => micros.encode(typeof value === "bigint" ? undefined : value),
  decode: (bytes) =>
    Result.flatMap(
      micros.decode(bytes),
      (value) => typeof value === "string" ? Result.succeed(value) : driver.decode(bytes)
    )
}

/**
 * The value of PostgreSQL's `bit` and `varbit`: a string of `0` and `1`, the first bit first. A `bit(n)` column takes
 * exactly n bits and a `varbit(n)` column at most n; the server refuses others (22026, 22001) and cuts or pads only where
 * a value is cast.
 */
import type { Result } from "effect"
import { attempt } from "./internal/codecs/bytes.ts"
import * as bitString from "./internal/codecs/leaf/bitString.ts"
import type { PgTypes } from "./internal/driver.ts"

/** Packs eight bits into a byte, the first bit into the highest place; what is missing in the last byte is zero. */
export const toBytes = (bits: string): Result.Result<Uint8Array, PgTypes.CodecError> =>
  attempt("bit", () => bitString.pack("bit", bits))

/** The first `length` bits of the bytes; all of them without a length. */
export const fromBytes = (bytes: Uint8Array, length?: number): Result.Result<string, PgTypes.CodecError> =>
  attempt("bit", () => bitString.unpack("bit", bytes, length ?? bytes.length * 8))

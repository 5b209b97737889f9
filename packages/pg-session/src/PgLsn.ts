/**
 * The value of PostgreSQL's `pg_lsn`, a place in the write-ahead log: the count of its bytes, a bigint of 64 bits without
 * sign. As bigints they compare and subtract like the server's.
 */
import type { Result } from "effect"
import { attempt, refuse } from "./internal/codecs/bytes.ts"
import * as input from "./internal/codecs/leaf/input.ts"
import type { PgTypes } from "./internal/driver.ts"

const hex = (value: bigint): string => value.toString(16).toUpperCase()

/** The text form, such as `16/B374D848`. Numbers outside 0 to 2^64 - 1 are no LSN. */
export const toText = (lsn: bigint): Result.Result<string, PgTypes.CodecError> =>
  attempt("pg_lsn", () => {
    const checked = input.bigint(lsn, "pg_lsn", 0n, input.uint64Max)
    return `${hex(checked >> 32n)}/${hex(checked & 0xffff_ffffn)}`
  })

const form = /^([0-9a-fA-F]{1,8})\/([0-9a-fA-F]{1,8})$/

/** Reads the text form. */
export const fromText = (text: string): Result.Result<bigint, PgTypes.CodecError> =>
  attempt("pg_lsn", () => {
    const [, high, low] = form.exec(text) ?? []
    if (high === undefined || low === undefined) {
      return refuse("pg_lsn: two hexadecimal numbers of at most 8 digits with a slash between them expected")
    }
    return BigInt(`0x${high}`) << 32n | BigInt(`0x${low}`)
  })

/**
 * Numbers without sign: object identifiers, transaction and command numbers, places in the log.
 */
import type { PgTypes } from "../../driver.ts"
import { codec } from "../bytes.ts"
import * as input from "./input.ts"

/** 32 bits as a number. */
export const unsigned32 = (name: string): PgTypes.Codec<unknown> =>
  codec<unknown>(
    name,
    (reader) => reader.uint32(),
    (writer, value) => writer.uint32(input.integer(value, name, 0, input.uint32Max))
  )

/** 64 bits as a bigint. */
export const unsigned64 = (name: string): PgTypes.Codec<unknown> =>
  codec<unknown>(
    name,
    (reader) => reader.uint64(),
    (writer, value) => writer.uint64(input.bigint(value, name, 0n, input.uint64Max))
  )

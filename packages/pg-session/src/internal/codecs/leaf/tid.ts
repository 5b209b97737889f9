/**
 * `tid`: a block of 32 bits and an offset of 16.
 */
import type * as PgTid from "../../../PgTid.ts"
import type { PgTypes } from "../../driver.ts"
import { codec } from "../bytes.ts"
import * as input from "./input.ts"

export const tid: PgTypes.Codec<unknown> = codec<unknown>(
  "tid",
  (reader): PgTid.Tid => ({ block: reader.uint32(), offset: reader.uint16() }),
  (writer, value) => {
    writer.uint32(input.integer(input.field(value, "block", "tid"), "tid block", 0, input.uint32Max))
    writer.uint16(input.integer(input.field(value, "offset", "tid"), "tid offset", 0, 0xffff))
  }
)

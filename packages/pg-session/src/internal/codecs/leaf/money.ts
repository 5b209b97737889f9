/**
 * `money`: an int64 of the currency's smallest unit. How many of them make one of the currency is the server's
 * `lc_monetary`, so `'1.00'::money` is `100n` under most settings.
 */
import type { PgTypes } from "../../driver.ts"
import { codec } from "../bytes.ts"
import * as input from "./input.ts"

export const money: PgTypes.Codec<unknown> = codec<unknown>(
  "money",
  (reader) => reader.int64(),
  (writer, value) => writer.int64(input.bigint(value, "money", input.int64Min, input.int64Max))
)

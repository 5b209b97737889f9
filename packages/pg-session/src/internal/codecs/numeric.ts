/**
 * `numeric` as the driver has it, a decimal string, and to its full size.
 *
 * Trap: the driver takes the number of digit groups for signed, so that reading a value of 131,072 digits ends the session;
 * and a parameter with a larger exponent than that arrives as another number.
 */
import { Result } from "effect"
import { PgTypes } from "../driver.ts"
import { attempt, codec, type Reader, refuse } from "./bytes.ts"
import { builtIn } from "./leaf/builtIn.ts"

const driver = builtIn(PgTypes.OID.numeric)

/** Digits before the point (PostgreSQL manual, table 8.2). */
const maxDigits = 131_072

const form = /^[+-]?0*(\d*)(?:\.\d*)?(?:[eE]([+-]?\d+))?$/

const refuseTooLarge = (value: unknown): void => {
  const [, digits = "", exponent = "0"] = typeof value === "string" ? form.exec(value) ?? [] : []
  if (digits.length + Number(exponent) > maxDigits) {
    refuse(`numeric: at most ${maxDigits} digits before the point expected`)
  }
}

const negative = 0x4000

/** A finite value: the groups of four digits, of which trailing zeros are left out. */
const readFinite = (reader: Reader): string => {
  const count = reader.uint16()
  const before = (reader.int16() + 1) * 4
  const sign = reader.uint16()
  const scale = reader.uint16()
  const groups = Array.from({ length: reader.count(2, count) }, () => String(reader.uint16()).padStart(4, "0"))
  const digits = "0".repeat(Math.max(-before, 0)) + groups.join("")
  const point = Math.max(before, 0)
  const whole = digits.slice(0, point).padEnd(point, "0").replace(/^0+(?=\d)/, "")
  const fraction = digits.slice(point, point + scale).padEnd(scale, "0")
  return `${sign === negative ? "-" : ""}${whole === "" ? "0" : whole}${scale === 0 ? "" : `.${fraction}`}`
}

const large = codec<unknown>("numeric", readFinite, () => refuse("numeric: written by the driver"))

export const numeric: PgTypes.Codec<unknown> = {
  encode: (value) => Result.flatMap(attempt("numeric", () => refuseTooLarge(value)), () => driver.encode(value)),
  // From 32,768 groups on, the first bit of the count is set.
  decode: (bytes) => (bytes[0] ?? 0) < 0x80 ? driver.decode(bytes) : large.decode(bytes)
}

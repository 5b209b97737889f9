/**
 * Rows in COPY's text format (PostgreSQL manual, "COPY", "Text Format"), both ways.
 */
import { Result } from "effect"
import { BadRow } from "../../PgCopyError.ts"

const special = /[\\\t\n\r\b\f\v]/
const specials = /[\\\t\n\r\b\f\v]/g

const escapes: Readonly<Record<string, string>> = {
  "\\": "\\\\",
  "\t": "\\t",
  "\n": "\\n",
  "\r": "\\r",
  "\b": "\\b",
  "\f": "\\f",
  "\v": "\\v"
}

const escaped = (text: string): string =>
  special.test(text) ? text.replace(specials, (character) => escapes[character] ?? character) : text

/** Thrown within this file only, to get out of nested arrays. */
class Unencodable extends Error {}

const fail = (problem: string): never => {
  throw new Unencodable(problem)
}

const hex = (bytes: Uint8Array): string =>
  `\\x${Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("hex")}`

/** ISO 8601 as PostgreSQL reads it: years beyond 9999 without a sign, years before 1 with BC. */
const date = (value: Date): string => {
  if (Number.isNaN(value.getTime())) return fail("an invalid Date")
  const year = value.getUTCFullYear()
  const text = value.toISOString()
  const rest = text.slice(text.indexOf("-", 1))
  if (year >= 1) return `${String(year).padStart(4, "0")}${rest}`
  return `${String(1 - year).padStart(4, "0")}${rest} BC`
}

const scalar = (value: unknown): string => {
  switch (typeof value) {
    case "string":
      return value
    case "number":
      return Number.isNaN(value)
        ? "NaN"
        : value === Infinity
        ? "Infinity"
        : value === -Infinity
        ? "-Infinity"
        : String(value)
    case "bigint":
      return String(value)
    case "boolean":
      return value ? "t" : "f"
    case "undefined":
      return fail("undefined; write null for NULL")
    case "symbol":
    case "function":
      return fail(`a ${typeof value} has no form in SQL`)
  }
  if (value instanceof Date) return date(value)
  if (value instanceof Uint8Array) return hex(value)
  if (value instanceof ArrayBuffer) return hex(new Uint8Array(value))
  if (ArrayBuffer.isView(value)) return fail("a typed array other than Uint8Array; make it bytes or an ordinary array")
  return json(value)
}

const json = (value: unknown): string => {
  try {
    const text: string | undefined = JSON.stringify(value)
    return text ?? fail("an object that has no JSON form")
  } catch (cause) {
    return cause instanceof Unencodable ? fail(cause.message) : fail("an object that has no JSON form")
  }
}

/** PostgreSQL's own limit. */
const maxDimensions = 6

const element = (value: unknown, depth: number): string => {
  if (value === null) return "NULL"
  if (Array.isArray(value)) return array(value, depth + 1)
  return `"${scalar(value).replace(/["\\]/g, "\\$&")}"`
}

const array = (values: ReadonlyArray<unknown>, depth: number): string =>
  depth > maxDimensions
    ? fail("an array of more than six dimensions")
    : `{${values.map((value) => element(value, depth)).join(",")}}`

const field = (value: unknown): string => {
  if (value === null) return "\\N"
  const text = Array.isArray(value) ? array(value, 1) : scalar(value)
  if (text.includes("\0")) return fail("text with a NUL character, which PostgreSQL cannot store")
  // Trap: encoding to UTF-8 would replace half a surrogate pair silently.
  if (!text.isWellFormed()) return fail("text that is not well-formed Unicode")
  return escaped(text)
}

/** One line with its newline. `number` counts from 1 and is for the error. */
export const encode = (
  row: ReadonlyArray<unknown>,
  columns: number,
  number: number
): Result.Result<string, BadRow> => {
  if (!Array.isArray(row)) return Result.fail(new BadRow({ row: number, problem: "a row must be an array of values" }))
  if (row.length !== columns) {
    return Result.fail(new BadRow({ row: number, problem: `${row.length} values for ${columns} columns` }))
  }
  let line = ""
  for (let i = 0; i < columns; i++) {
    try {
      line += (i === 0 ? "" : "\t") + field(row[i])
    } catch (cause) {
      if (!(cause instanceof Unencodable)) throw cause
      return Result.fail(new BadRow({ row: number, column: i + 1, problem: cause.message }))
    }
  }
  return Result.succeed(`${line}\n`)
}

const unescapes: Readonly<Record<string, string>> = { t: "\t", n: "\n", r: "\r", b: "\b", f: "\f", v: "\v" }

const unescaped = (text: string): string =>
  text.includes("\\") ? text.replace(/\\(.)/gs, (_, character: string) => unescapes[character] ?? character) : text

/** The columns of a line that the server sent: a string, or null for NULL. */
export const decode = (line: string, columns: number): ReadonlyArray<string | null> =>
  // A table without columns has empty lines, and so has one with one empty text.
  columns === 0 ? [] : line.split("\t").map((text) => text === "\\N" ? null : unescaped(text))

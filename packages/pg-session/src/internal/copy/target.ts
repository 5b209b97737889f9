/**
 * What is copied, and how it is written: the text of a COPY statement from values. Identifiers are always quoted (rule R8).
 */
import { Result } from "effect"
import { Misuse } from "../../PgCopyError.ts"

/** A table, or some of its columns. Names are taken exactly: no folding to lower case. */
export interface Table {
  readonly table: string
  readonly schema?: string | undefined
  readonly columns?: ReadonlyArray<string> | undefined
}

/** A query whose rows are copied out; sent as given. */
export interface Query {
  readonly query: string
}

/** Options of the server's COPY. Those that this version does not have are refused by the server. */
export interface FormatOptions {
  /** Default: `text`. */
  readonly format?: "text" | "csv" | "binary" | undefined
  readonly delimiter?: string | undefined
  /** What stands for NULL. */
  readonly null?: string | undefined
  /** What stands for a column's default (PostgreSQL 16). */
  readonly default?: string | undefined
  readonly header?: boolean | "match" | undefined
  readonly quote?: string | undefined
  readonly escape?: string | undefined
  readonly forceQuote?: ReadonlyArray<string> | "*" | undefined
  readonly forceNotNull?: ReadonlyArray<string> | "*" | undefined
  readonly forceNull?: ReadonlyArray<string> | "*" | undefined
  readonly encoding?: string | undefined
  readonly freeze?: boolean | undefined
  /** `ignore` skips rows that cannot be converted (PostgreSQL 17). */
  readonly onError?: "stop" | "ignore" | undefined
  readonly rejectLimit?: number | undefined
}

const identifier = (name: string): string => `"${name.replaceAll("\"", "\"\"")}"`

/** Safe whatever `standard_conforming_strings` says. */
const literal = (text: string): string => {
  const quoted = `'${text.replaceAll("'", "''")}'`
  return text.includes("\\") ? `e${quoted.replaceAll("\\", "\\\\")}` : quoted
}

const text = (value: string | undefined) => value === undefined ? undefined : literal(value)

const names = (columns: ReadonlyArray<string>): string => `(${columns.map(identifier).join(", ")})`

const columns = (value: ReadonlyArray<string> | "*"): string => value === "*" ? "*" : names(value)

const options = (given: FormatOptions): string => {
  const words: Array<string> = []
  const add = (word: string, value: string | undefined) => {
    if (value !== undefined) words.push(`${word} ${value}`)
  }
  add("format", given.format)
  add("delimiter", text(given.delimiter))
  add("null", text(given.null))
  add("default", text(given.default))
  add("header", given.header === undefined ? undefined : String(given.header))
  add("quote", text(given.quote))
  add("escape", text(given.escape))
  add("force_quote", given.forceQuote === undefined ? undefined : columns(given.forceQuote))
  add("force_not_null", given.forceNotNull === undefined ? undefined : columns(given.forceNotNull))
  add("force_null", given.forceNull === undefined ? undefined : columns(given.forceNull))
  add("encoding", text(given.encoding))
  add("freeze", given.freeze === undefined ? undefined : String(given.freeze))
  add("on_error", given.onError)
  add("reject_limit", given.rejectLimit === undefined ? undefined : String(given.rejectLimit))
  return words.length === 0 ? "" : ` with (${words.join(", ")})`
}

const bad = (problem: string) => Result.fail(new Misuse({ kind: "BadOptions", problem }))

const formats: ReadonlySet<unknown> = new Set([undefined, "text", "csv", "binary"])
const headers: ReadonlySet<unknown> = new Set([undefined, true, false, "match"])
const freezes: ReadonlySet<unknown> = new Set([undefined, true, false])
const onErrors: ReadonlySet<unknown> = new Set([undefined, "stop", "ignore"])

/** What the server would only report as a syntax error, or not at all. */
const problemOf = (target: Table | Query, given: FormatOptions): string | undefined => {
  const strings = Object.values(given).flat().filter((value) => typeof value === "string")
  if (strings.some((value) => value.includes("\0"))) return "an option of COPY holds a NUL character"
  if (!formats.has(given.format)) return "format must be \"text\", \"csv\" or \"binary\""
  // These stand in the text without quotes; a caller without types may have written anything.
  if (!headers.has(given.header)) return "header must be true, false or \"match\""
  if (!freezes.has(given.freeze)) return "freeze must be true or false"
  if (!onErrors.has(given.onError)) return "onError must be \"stop\" or \"ignore\""
  if (given.rejectLimit !== undefined && !Number.isSafeInteger(given.rejectLimit)) {
    return "rejectLimit must be an integer"
  }
  if ("query" in target) return undefined
  const named = [target.table, ...(target.schema === undefined ? [] : [target.schema]), ...(target.columns ?? [])]
  if (named.some((name) => name === "" || name.includes("\0"))) {
    return "the names of tables, schemas and columns must not be empty and must hold no NUL character"
  }
  if (target.columns?.length === 0) return "columns names no column; leave it out to copy them all"
  return undefined
}

const subject = (target: Table | Query): string =>
  "query" in target
    ? `(${target.query}\n)`
    : `${target.schema === undefined ? "" : `${identifier(target.schema)}.`}${identifier(target.table)}` +
      (target.columns === undefined ? "" : ` ${names(target.columns)}`)

export const statement = (
  direction: "from stdin" | "to stdout",
  target: Table | Query,
  given: FormatOptions
): Result.Result<string, Misuse> => {
  const problem = problemOf(target, given)
  return problem === undefined ? Result.succeed(`copy ${subject(target)} ${direction}${options(given)}`) : bad(problem)
}

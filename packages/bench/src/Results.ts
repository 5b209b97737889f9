/**
 * The results of a run as they are kept: `--json` writes them, `--compare` and `--plot` read them.
 */
import { Schema } from "effect"
import { Params } from "./Job.ts"

const Role = Schema.Literals(["floor", "ours", "peer"])
export type Role = typeof Role.Type

/** One number of one subject in one scenario. */
export const Cell = Schema.Struct({
  scenario: Schema.String,
  subject: Schema.String,
  role: Role,
  /** What was varied. */
  params: Params,
  /** Which number it is: `rate`, `p50`, `p99`, `time`, … */
  measure: Schema.String,
  unit: Schema.String,
  /** One per pass. */
  samples: Schema.Array(Schema.Finite),
  median: Schema.Finite,
  /** The floor in the same passes, and how many times that the subject reached; null if it has none. */
  floor: Schema.NullOr(Schema.Finite),
  ratio: Schema.NullOr(Schema.Finite),
  /** Whether the floor was the same before and after, in all passes. */
  steady: Schema.Boolean
})
export type Cell = typeof Cell.Type

export const NotMeasured = Schema.Struct({ scenario: Schema.String, subject: Schema.String, reason: Schema.String })
export type NotMeasured = typeof NotMeasured.Type

export const Environment = Schema.Struct({
  date: Schema.String,
  /** `quick` or `full`, and which scenarios, if not all. */
  mode: Schema.String,
  commit: Schema.String,
  node: Schema.String,
  server: Schema.String,
  /** Settings of the server, as SHOW says them. */
  settings: Schema.Record(Schema.String, Schema.String),
  versions: Schema.Record(Schema.String, Schema.String),
  machine: Schema.Struct({
    processor: Schema.String,
    cores: Schema.Int,
    memoryGiB: Schema.Finite,
    fileSystem: Schema.String,
    /** Milliseconds to write 8 KiB and have it flushed, the median; where temporary files go. */
    flush: Schema.Finite
  }),
  /** Of the last minute before the start: on a quiet machine near 0. */
  load: Schema.Finite,
  /** Seconds that the run took. */
  seconds: Schema.Finite
})
export type Environment = typeof Environment.Type

/** Changes when an older program could not read the file any more. */
export const version = 1

export const Results = Schema.Struct({
  version: Schema.Literal(version),
  environment: Environment,
  cells: Schema.Array(Cell),
  notMeasured: Schema.Array(NotMeasured),
  /** What was lost or came twice. There is none in a run that succeeded. */
  violations: Schema.Array(Schema.String)
})
export type Results = typeof Results.Type

/** Names a cell among all of a run. */
export const keyOf = (
  { measure, params, scenario, subject }: Pick<Cell, "measure" | "params" | "scenario" | "subject">
) => JSON.stringify([scenario, subject, Object.entries(params).toSorted(([a], [b]) => a < b ? -1 : 1), measure])

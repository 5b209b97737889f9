/**
 * What the runner and the process of a subject say to each other.
 */
import { Schema } from "effect"
import type { Work } from "./Subject.ts"

export const Params = Schema.Record(Schema.String, Schema.Union([Schema.String, Schema.Finite, Schema.Boolean]))
export type Params = typeof Params.Type

const works: ReadonlyArray<Work> = ["send", "sendMany", "cycle", "take", "peek"]

/** One cell of a table, or for a floor what cells are compared with. */
export const Step = Schema.Struct({
  scenario: Schema.String,
  /** What tells the cell from others of its scenario, as reported. */
  params: Params,
  /** Which floor it is, or which one its cell is compared with. */
  floor: Schema.optionalKey(Schema.String),
  action: Schema.Union([
    Schema.TaggedStruct("Loop", {
      work: Schema.Literals(works),
      concurrency: Schema.Int,
      batch: Schema.Int,
      /** Discarded, and measured. */
      warmUp: Schema.Finite,
      seconds: Schema.Finite,
      /** Whether it begins with empty queues, and how many messages are stored in them beforehand. */
      clear: Schema.Boolean,
      prepare: Schema.Int,
      /** Whether to take latencies too, at half of the rate that was found. */
      latency: Schema.Boolean
    }),
    Schema.TaggedStruct("Special", { name: Schema.String, seconds: Schema.Finite })
  ])
})
export type Step = typeof Step.Type

/** What one process does: it opens one subject, and takes the steps one after the other. */
export const Job = Schema.Struct({
  subject: Schema.String,
  url: Schema.String,
  pool: Schema.Int,
  queues: Schema.Int,
  bodyBytes: Schema.Int,
  options: Params,
  steps: Schema.Array(Step)
})
export type Job = typeof Job.Type

export const Sample = Schema.Struct({ measure: Schema.String, unit: Schema.String, value: Schema.Finite })

/** `step` counts from 0. */
export const Report = Schema.Union([
  Schema.TaggedStruct("Opened", { versions: Schema.Record(Schema.String, Schema.String) }),
  Schema.TaggedStruct("Measured", { step: Schema.Int, samples: Schema.Array(Sample) }),
  /** The subject does not offer this, or could not do it. */
  Schema.TaggedStruct("NotMeasured", { step: Schema.Int, reason: Schema.String }),
  /** A message was lost, came twice or out of order: fails the whole run. */
  Schema.TaggedStruct("Violated", { step: Schema.Int, problem: Schema.String }),
  /** The process is of no more use. */
  Schema.TaggedStruct("Failed", { problem: Schema.String })
])
export type Report = typeof Report.Type

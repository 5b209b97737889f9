/**
 * What measurements of `MsgStore` on PostgreSQL are given that are more than a loop of one operation.
 */
import type { Effect, Layer } from "effect"
import type { MsgStore } from "restante"
import type { Address } from "../Fleet.ts"
import type { Parameters, Sample, Special } from "../Subject.ts"

interface Context {
  readonly parameters: Parameters
  readonly special: Special
  readonly addresses: ReadonlyArray<Address>
  /** Another store over the same database: with other options, or in another schema, which it installs. */
  readonly open: (
    parameters: Parameters,
    schema?: string
  ) => Effect.Effect<Layer.Layer<MsgStore.MsgStore, unknown>, unknown>
}

export type Measurement = (context: Context) => Effect.Effect<ReadonlyArray<Sample>, unknown, MsgStore.MsgStore>

/**
 * What every `MsgStore` must do, as values that any program can run. This module loads no test runner;
 * `MsgStoreSuite` registers the same cases under vitest.
 */
import { Context, Effect, Layer } from "effect"
import { MsgStore } from "restante"
import { acknowledging } from "./internal/msg-store/acknowledging.ts"
import { arrivals } from "./internal/msg-store/arrivals.ts"
import type { Case, Constructor, Environment, Features, Requirements, Store } from "./internal/msg-store/case.ts"
import * as Cases from "./internal/msg-store/case.ts"
import { concurrency } from "./internal/msg-store/concurrency.ts"
import { deletion } from "./internal/msg-store/deletion.ts"
import { expiry } from "./internal/msg-store/expiry.ts"
import { failure } from "./internal/msg-store/failure.ts"
import type { HistoryOptions } from "./internal/msg-store/history.ts"
import { logs } from "./internal/msg-store/log.ts"
import { maintenance } from "./internal/msg-store/maintenance.ts"
import { model } from "./internal/msg-store/model.ts"
import { queues } from "./internal/msg-store/queues.ts"
import { quota } from "./internal/msg-store/quota.ts"
import { reading } from "./internal/msg-store/reading.ts"
import { writing } from "./internal/msg-store/writing.ts"

export { CaseFailed } from "./internal/msg-store/case.ts"
export type { Case, Constructor, Environment, Features, HistoryOptions, Requirements, Store }

/** All cases, in the order of section 12 of spec/msg-store.md. */
export const cases: ReadonlyArray<Case> = [
  ...queues,
  ...reading,
  ...acknowledging,
  ...quota,
  ...writing,
  ...expiry,
  ...deletion,
  ...concurrency,
  ...arrivals,
  ...failure,
  ...maintenance,
  ...model,
  ...logs
]

/** Why a case does not apply to a store with these features; `undefined` if it does. */
export const reasonToSkip = (test: Case, features: Features): string | undefined => {
  const { emptyStorage, survivesReopen } = test.requires ?? {}
  const survives = features.survivesReopen ?? false
  if (survivesReopen !== undefined && survivesReopen !== survives) {
    return `for stores ${survivesReopen ? "that survive" : "that do not survive"} a reopening of their layer`
  }
  return emptyStorage === true && survives && features.empty === undefined
    ? "for stores with a constructor over empty storage"
    : undefined
}

/** How a run is done. */
export interface RunOptions extends HistoryOptions {
  /** Which cases to run. Absent: all. */
  readonly only?: ((test: Case) => boolean) | undefined
  /** How many cases run at the same time. Default 8. */
  readonly concurrency?: number | undefined
}

/** How the cases of a run ended. */
export interface Report {
  readonly passed: ReadonlyArray<Case>
  readonly failed: ReadonlyArray<{ readonly case: Case; readonly failure: Cases.CaseFailed }>
  readonly skipped: ReadonlyArray<{ readonly case: Case; readonly reason: string }>
}

/** The environment of cases over one constructor, once the store that they share is built. */
export const environment: (
  layer: Constructor,
  features?: Features,
  histories?: HistoryOptions
) => (store: Store) => Environment = Cases.environment

/**
 * Runs the cases against one store, several at a time, and answers how each ended. It fails only if the layer with default
 * limits cannot be built. The layer is closed at the end.
 */
export const run = (
  layer: Constructor,
  features: Features = {},
  options: RunOptions = {}
): Effect.Effect<Report, unknown> =>
  Effect.scoped(Effect.gen(function*() {
    const context = yield* Layer.build(Layer.fresh(layer({})))
    const env = environment(layer, features, options)(Context.get(context, MsgStore.MsgStore))
    const chosen = options.only === undefined ? cases : cases.filter(options.only)
    const skipped = chosen.flatMap((test) => {
      const reason = reasonToSkip(test, features)
      return reason === undefined ? [] : [{ case: test, reason }]
    })
    const ended = yield* Effect.forEach(
      chosen.filter((test) => reasonToSkip(test, features) === undefined),
      (test) => Effect.map(Effect.result(test.run(env)), (result) => ({ case: test, result })),
      { concurrency: options.concurrency ?? 8 }
    )
    return {
      passed: ended.flatMap((end) => end.result._tag === "Success" ? [end.case] : []),
      failed: ended.flatMap((end) =>
        end.result._tag === "Failure" ? [{ case: end.case, failure: end.result.failure }] : []
      ),
      skipped
    }
  }))

/** A report as text: one line per failed case with what it expected, one per skipped case, and the counts. */
export const reportText = (report: Report): string =>
  [
    ...report.failed.map(({ case: test, failure }) => `failed: ${test.group}: ${failure.message}\n`),
    ...report.skipped.map(({ case: test, reason }) => `skipped: ${test.group}: ${test.name} (${reason})`),
    `${report.passed.length} passed, ${report.failed.length} failed, ${report.skipped.length} skipped`
  ].join("\n")

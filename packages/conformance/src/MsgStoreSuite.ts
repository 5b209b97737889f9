/**
 * The cases of `MsgStoreCases` under vitest. This is the one module of the package that loads vitest, so it is not part
 * of the index: import it as `@restante/conformance/MsgStoreSuite`.
 */
import { layer as withLayer } from "@effect/vitest"
import { Effect } from "effect"
import { MsgStore } from "restante"
import { describe } from "vitest"
import type { Constructor, Features, HistoryOptions } from "./MsgStoreCases.ts"
import { cases, environment, reasonToSkip } from "./MsgStoreCases.ts"

export * from "./MsgStoreCases.ts"

/** How a suite is done. */
export interface SuiteOptions extends HistoryOptions {
  /** How long one case may take, in milliseconds. Default 120,000, for the one with random histories on a busy server. */
  readonly timeout?: number | undefined
}

/**
 * Registers every case: one block for the store, one in it for each group. The layer with default limits is built once for
 * the block and closed at its end. Cases run concurrently, on live services; each uses queues of its own.
 */
export const suite = (
  name: string,
  layer: Constructor,
  features: Features = {},
  options: SuiteOptions = {}
): void => {
  const environmentOf = environment(layer, features, options)
  const timeout = options.timeout ?? 120_000
  withLayer(layer({}), { excludeTestServices: true, concurrent: true, timeout })(name, (it) => {
    for (const [group, tests] of Map.groupBy(cases, (test) => test.group)) {
      // oxlint-disable-next-line vitest/valid-title -- the names are those of the cases
      describe(group, () => {
        for (const test of tests) {
          const reason = reasonToSkip(test, features)
          const register = reason === undefined ? it.effect : it.effect.skip
          register(
            `${test.name} (${test.spec.join(", ")})${reason === undefined ? "" : `: ${reason}`}`,
            () => Effect.flatMap(MsgStore.MsgStore, (store) => test.run(environmentOf(store))),
            timeout
          )
        }
      })
    }
  })
}

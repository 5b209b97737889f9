/**
 * A case as a value: what a user can rely on, the rules of the specification that say so, and a program that finds out.
 */
import { Cause, Context, Effect, Layer, Predicate, Schema, Scope, Semaphore } from "effect"
import { MsgStore } from "restante"
import type { HistoryOptions } from "./history.ts"

/** The operations of a store. */
export type Store = MsgStore.MsgStore["Service"]

/** Makes the layer of a store. On a durable backend, all layers of one constructor open the same storage. */
export type Constructor = (limits: MsgStore.Limits) => Layer.Layer<MsgStore.MsgStore, unknown>

/** In what stores may differ. A field that is absent counts as false. */
export interface Features {
  /**
   * True when a layer that is built again sees what the layer before it has stored. When false, the suite checks that
   * nothing survives, so that two layers in one program cannot meet by accident.
   */
  readonly survivesReopen?: boolean | undefined
  /**
   * Makes layers over storage of their own, empty when the layer is built, for cases about whole stores. A store that does
   * not survive a reopening has such a constructor already; any other that gives none is not asked those cases.
   */
  readonly empty?: Constructor | undefined
}

/** What must be true of a store for a case to apply. */
export interface Requirements {
  readonly survivesReopen?: boolean
  /** The case uses `openEmpty`. */
  readonly emptyStorage?: true
}

/** What a case may use. */
export interface Environment {
  /** The store with default limits. All cases share it, so each works on queues of its own. */
  readonly store: Store
  /** The operations of another layer of the same constructor, which is closed at the end of the scope. */
  readonly open: (limits: MsgStore.Limits) => Effect.Effect<Store, unknown, Scope.Scope>
  /** A store over storage of its own, empty and unknown to other cases; for a case that requires `emptyStorage`. */
  readonly openEmpty: (limits: MsgStore.Limits) => Effect.Effect<Store, unknown, Scope.Scope>
  /** How much the case with random histories does. */
  readonly histories: HistoryOptions
}

/** A case did not hold. `message` says what was expected and what came. */
export class CaseFailed extends Schema.TaggedError<CaseFailed>()(
  "CaseFailed",
  { group: Schema.String, name: Schema.String, spec: Schema.Array(Schema.String), explanation: Schema.String }
) {
  override get message(): string {
    return `${this.name} (${this.spec.join(", ")})\n${this.explanation}`
  }
}

/** One behaviour. */
export interface Case {
  readonly group: string
  /** A sentence about what a user can rely on. */
  readonly name: string
  /** What it covers in spec/msg-store.md: a case of section 12 such as `29`, a rule such as `4.5`, an invariant `I5`. */
  readonly spec: ReadonlyArray<string>
  /** What must be true of the store for the case to apply. */
  readonly requires?: Requirements
  readonly run: (environment: Environment) => Effect.Effect<void, CaseFailed>
}

type Body = (environment: Environment) => Effect.gen.Return<void, unknown, Scope.Scope>

/** Why a case stopped, for a person. An unmet expectation explains itself, whichever fiber threw it. */
const explain = (cause: Cause.Cause<unknown>): string => {
  const thrown = Cause.squash(cause)
  if (thrown instanceof Error && thrown.name === "Unmet") return thrown.message
  if (Predicate.hasProperty(thrown, "_tag")) {
    return `stopped at a failure that the case does not expect: ${Cause.pretty(cause)}`
  }
  return `stopped at a defect: ${Cause.pretty(cause)}`
}

/** A case; its group is given by `group`. */
export const test = (
  name: string,
  spec: ReadonlyArray<string>,
  body: Body,
  requires?: Requirements
): Omit<Case, "group" | "run"> & { readonly body: Body } => ({
  name,
  spec,
  body,
  ...(requires === undefined ? {} : { requires })
})

/** Cases about one thing, in the order in which one reads about it. */
export const group = (name: string, tests: ReadonlyArray<ReturnType<typeof test>>): ReadonlyArray<Case> =>
  tests.map(({ body, ...test }) => ({
    ...test,
    group: name,
    run: (environment) =>
      Effect.gen(() => body(environment)).pipe(
        Effect.scoped,
        Effect.catchCause((cause) =>
          Cause.hasInterruptsOnly(cause)
            ? Effect.interrupt
            : Effect.fail(
              new CaseFailed({ group: name, name: test.name, spec: test.spec, explanation: explain(cause) })
            )
        )
      )
  }))

/**
 * How many layers besides the shared one may be open at a time: on a server each holds a pool of connections. A case never
 * holds two of them at once, so cases cannot wait for each other in a circle.
 */
const openAtOnce = 2

/** The environment of a run over one constructor, once the store that its cases share is built. */
export const environment = (
  layer: Constructor,
  features: Features = {},
  histories: HistoryOptions = {}
): (store: Store) => Environment => {
  const places = Semaphore.makeUnsafe(openAtOnce)
  const opens = (constructor: Constructor) => (limits: MsgStore.Limits) =>
    Effect.andThen(
      places.takeScoped(1),
      // Without `fresh`, a constructor that answers the same layer value twice would get the layer built before.
      Effect.map(Layer.build(Layer.fresh(constructor(limits))), (context) => Context.get(context, MsgStore.MsgStore))
    )
  const environment = { histories, open: opens(layer), openEmpty: opens(features.empty ?? layer) }
  return (store) => ({ store, ...environment })
}

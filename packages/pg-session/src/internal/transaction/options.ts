/**
 * The options of a transaction, and the BEGIN that they come to.
 */
import { Duration, Option, Result } from "effect"
import { Misuse, PgTransactionError } from "../../PgTransactionError.ts"

export interface Options {
  /** Default: `read committed`, whatever the server's default is. */
  readonly isolation?: "read committed" | "repeatable read" | "serializable" | undefined
  /** Default: `read write`, whatever the server's default is. */
  readonly access?: "read write" | "read only" | undefined
  /** Of use to a serializable read only transaction, which then waits for a safe snapshot. Default: the server's. */
  readonly deferrable?: boolean | undefined
  /**
   * How long the server may take to answer BEGIN, COMMIT or ROLLBACK, and what ends a nested transaction, before the session
   * is destroyed. It includes waiting for statements of other fibers in the same transaction. Needs `PgTransport`; on a plain
   * client those statements have no bound. Default: 30 seconds.
   */
  readonly controlTimeout?: Duration.Input | undefined
  /** Whether to read the transaction's id, for `resolveOutcome`: one more round trip. Default: no. */
  readonly trackOutcome?: boolean | undefined
  /**
   * How to know, before COMMIT, that the transaction is still the one that was begun, and good. `transport`: by the session's
   * state, without a round trip. `marker`: by a setting local to the transaction, two more round trips; also finds a body that
   * ended the transaction with AND CHAIN. `off`: not at all. Default: `transport` if there is one, else `off`.
   */
  readonly guard?: "transport" | "marker" | "off" | undefined
}

export interface Settings {
  readonly isolation: "read committed" | "repeatable read" | "serializable"
  readonly access: "read write" | "read only"
  readonly deferrable: boolean | undefined
  readonly controlTimeout: Duration.Duration
  readonly trackOutcome: boolean
  readonly guard: "transport" | "marker" | "off" | undefined
  readonly begin: string
}

const isolations = {
  "read committed": "READ COMMITTED",
  "repeatable read": "REPEATABLE READ",
  "serializable": "SERIALIZABLE"
}

const accesses = { "read write": "READ WRITE", "read only": "READ ONLY" }

const guards: ReadonlyArray<unknown> = ["transport", "marker", "off", undefined]

const halfMinute = Duration.seconds(30)

const invalid = (problem: string) =>
  Result.fail(new PgTransactionError({ reason: new Misuse({ kind: "InvalidOptions", problem }) }))

export const resolve = (options: Options): Result.Result<Settings, PgTransactionError> => {
  const { access = "read write", deferrable, guard, isolation = "read committed", trackOutcome = false } = options
  if (!Object.hasOwn(isolations, isolation)) return invalid("isolation is none of the three levels")
  if (!Object.hasOwn(accesses, access)) return invalid("access is neither `read write` nor `read only`")
  if (!guards.includes(guard)) return invalid("guard is none of `transport`, `marker` and `off`")
  if (deferrable !== undefined && typeof deferrable !== "boolean") {
    return invalid("deferrable is neither true nor false")
  }
  if (typeof trackOutcome !== "boolean") return invalid("trackOutcome is neither true nor false")
  const controlTimeout = options.controlTimeout === undefined
    ? halfMinute
    : Option.getOrUndefined(Duration.fromInput(options.controlTimeout))
  if (controlTimeout === undefined || !(Duration.toMillis(controlTimeout) > 0)) {
    return invalid("controlTimeout is not a duration above zero")
  }
  const deferring = deferrable === undefined ? "" : deferrable ? " DEFERRABLE" : " NOT DEFERRABLE"
  return Result.succeed({
    isolation,
    access,
    deferrable,
    controlTimeout,
    trackOutcome,
    guard,
    begin: `BEGIN ISOLATION LEVEL ${isolations[isolation]} ${accesses[access]}${deferring}`
  })
}

/** Whether options, where they say something, ask for something else than what is open already; undefined: than the client's. */
export const differ = (options: Options, wanted: Settings, open: Settings | undefined): boolean => {
  if (open === undefined) return Object.values(options).some((option) => option !== undefined)
  return differs(options.isolation, open.isolation) || differs(options.access, open.access) ||
    differs(options.deferrable, open.deferrable) || differs(options.trackOutcome, open.trackOutcome) ||
    differs(options.guard, open.guard) ||
    (options.controlTimeout !== undefined && !Duration.equals(wanted.controlTimeout, open.controlTimeout))
}

const differs = <A>(wanted: A | undefined, open: A): boolean => wanted !== undefined && wanted !== open

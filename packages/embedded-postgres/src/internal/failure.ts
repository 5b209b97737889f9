import * as Effect from "effect/Effect"
import { EmbeddedPostgresError, type Reason } from "../EmbeddedPostgresError.ts"

const limit = 4_000

/** The end of what a process said: the reason for a failure stands in the last lines. */
export const lastWords = (output: string): string => output.trim().slice(-limit)

/** What a thrown value says about itself. */
export const words = (thrown: unknown): string => lastWords(thrown instanceof Error ? thrown.message : String(thrown))

/** The `code` that Node puts on errors of the operating system, such as `ENOENT`. */
export const codeOf = (thrown: unknown): string =>
  thrown instanceof Error && "code" in thrown ? String(thrown.code) : ""

export const failure = (reason: Reason): EmbeddedPostgresError => new EmbeddedPostgresError({ reason })

export const fail = (reason: Reason): Effect.Effect<never, EmbeddedPostgresError> => Effect.fail(failure(reason))

/** Runs synchronous file system calls; what they throw, and the code of that, becomes the given reason. */
export const attempt = <A>(
  f: () => A,
  reason: (output: string, code: string) => Reason
): Effect.Effect<A, EmbeddedPostgresError> =>
  Effect.try({ try: f, catch: (thrown) => failure(reason(words(thrown), codeOf(thrown))) })

/** Runs asynchronous file system calls; what they throw becomes the given reason. */
export const attemptPromise = <A>(
  f: () => Promise<A>,
  reason: (output: string) => Reason
): Effect.Effect<A, EmbeddedPostgresError> =>
  Effect.tryPromise({ try: f, catch: (thrown) => failure(reason(words(thrown))) })

/**
 * The command line: one text to relay, or none for the text that comes with the demo.
 */
import { Data, Result } from "effect"
import { resolve } from "node:path"
import { parseArgs } from "node:util"

export type Arguments = Data.TaggedEnum<{
  Help: {}
  /** The text that comes with the demo. */
  DefaultText: {}
  /** `path` is absolute. */
  GivenText: { readonly path: string }
}>
export const Arguments = Data.taggedEnum<Arguments>()

export const usage = `usage: pnpm demo [FILE]

Relays FILE, a text in UTF-8, from three senders to three recipients: first through PostgreSQL, which is killed half way
and started again, then through memory. Both must deliver the same. Without FILE it relays a novel.

  DATABASE_URL   use this PostgreSQL server instead of starting one; a server that the demo did not start is not killed
  --help, -h     show this text`

/** The command line cannot be understood. */
export class UsageError extends Data.TaggedError("UsageError")<{ readonly problem: string }> {
  override get message(): string {
    return `${this.problem}\nusage: pnpm demo [FILE]`
  }
}

/** Relative paths start from `directory`. */
export const parse = (
  words: ReadonlyArray<string>,
  directory: string
): Result.Result<Arguments, UsageError> => {
  const { positionals, tokens, values } = parseArgs({
    args: [...words],
    options: { help: { type: "boolean", short: "h" } },
    allowPositionals: true,
    strict: false,
    tokens: true
  })
  if (values.help === true) return Result.succeed(Arguments.Help())
  const unknown = tokens.find((token) => token.kind === "option")
  if (unknown !== undefined) return Result.fail(new UsageError({ problem: `unknown option ${unknown.rawName}` }))
  const [file, ...others] = positionals
  if (file === undefined) return Result.succeed(Arguments.DefaultText())
  if (others.length > 0) {
    return Result.fail(new UsageError({ problem: `one FILE at most, but ${positionals.length} were given` }))
  }
  return file === ""
    ? Result.fail(new UsageError({ problem: "the name of FILE is empty" }))
    : Result.succeed(Arguments.GivenText({ path: resolve(directory, file) }))
}

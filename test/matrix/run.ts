/**
 * `pnpm test:matrix [version...]`: one pass over every major version of PostgreSQL that Restante runs on, or over those that are
 * named (case 86). The servers are npm packages with a lockfile of their own beside this file, so that an ordinary install
 * does not bring four more of them; 18 is the one that the other tests run on.
 *
 * One line for each version at the end, and the sums in `.restante/matrix-results.json` for `.ci/run`.
 */
import { EmbeddedPostgres } from "@restante/embedded-postgres"
import { Console, Effect, Redacted, Schema } from "effect"
import { spawn } from "node:child_process"
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { createRequire } from "node:module"
import { dirname, join } from "node:path"
import { fileURLToPath } from "node:url"

const test = fileURLToPath(new URL("..", import.meta.url))
const results = fileURLToPath(new URL("../../.restante/", import.meta.url))
const platform = `${process.platform}-${process.arch}`

const Manifest = Schema.fromJsonString(
  Schema.Struct({ optionalDependencies: Schema.Record(Schema.String, Schema.String) })
)

/** Of vitest's JSON. */
const Results = Schema.fromJsonString(
  Schema.Struct({ numPassedTests: Schema.Int, numFailedTests: Schema.Int, success: Schema.Boolean })
)

interface Pass {
  readonly major: string
  readonly passed: number
  readonly failed: number
  readonly line: string
}

/** Where the binaries of each version are that there are for this platform; `undefined` for those of the default. */
const servers: Effect.Effect<ReadonlyMap<string, string | undefined>> = Effect.gen(function*() {
  const text = yield* Effect.sync(() => readFileSync(new URL("package.json", import.meta.url), "utf8"))
  const { optionalDependencies } = yield* Effect.orDie(Schema.decodeEffect(Manifest)(text))
  const older = Object.keys(optionalDependencies).flatMap((name): ReadonlyArray<readonly [string, string]> => {
    const [, major, on] = /^postgres-(\d+)-(.*)$/.exec(name) ?? []
    const native = fileURLToPath(new URL(`node_modules/${name}/native`, import.meta.url))
    return major === undefined || on !== platform ? [] : [[major, native]]
  })
  return new Map<string, string | undefined>([...older, ["18", undefined]])
})

const vitest = join(dirname(createRequire(import.meta.url).resolve("vitest/package.json")), "vitest.mjs")

/** Runs vitest to its end; the answer says whether it was content. */
const runVitest = (major: string, url: Redacted.Redacted, output: string): Effect.Effect<boolean> =>
  Effect.callback((resume) => {
    const child = spawn(
      process.execPath,
      [vitest, "run", "--config", "matrix/vitest.config.ts", `--outputFile.json=${output}`],
      {
        cwd: test,
        stdio: ["ignore", "inherit", "inherit"],
        env: { ...process.env, DATABASE_URL: Redacted.value(url), RESTANTE_MATRIX_VERSION: major }
      }
    )
    child.once("error", (error) => resume(Effect.die(error)))
    child.once("close", (code) => resume(Effect.succeed(code === 0)))
    return Effect.sync(() => child.kill())
  })

const seconds = (since: number): string => `${((performance.now() - since) / 1000).toFixed(1)} s`

/** One version, from the start of its server to its end. */
const pass = Effect.fnUntraced(function*(major: string, binaries: string | undefined) {
  yield* Console.log(`\nPostgreSQL ${major}`)
  const since = performance.now()
  const output = join(results, `matrix-${major}.json`)
  const server = yield* EmbeddedPostgres.make({ binaries, settings: { max_connections: "200" } })
  yield* Effect.sync(() => rmSync(output, { force: true }))
  const content = yield* runVitest(major, server.url, output)
  const read = Effect.flatMap(Effect.try(() => readFileSync(output, "utf8")), Schema.decodeEffect(Results))
  const { numFailedTests, numPassedTests, success } = yield* Effect.orElseSucceed(read, () => ({
    numPassedTests: 0,
    numFailedTests: 0,
    success: false
  }))
  // A file that could not even be loaded counts as one failure.
  const failed = content && success ? numFailedTests : Math.max(numFailedTests, 1)
  return {
    major,
    passed: numPassedTests,
    failed,
    line: `PostgreSQL ${server.version}: ${numPassedTests} passed, ${failed} failed, ${seconds(since)}`
  }
}, Effect.scoped)

const program = Effect.gen(function*() {
  const all = yield* servers
  const asked = process.argv.slice(2)
  const chosen = asked.length === 0 ? [...all.keys()] : asked
  yield* Effect.sync(() => mkdirSync(results, { recursive: true }))
  const passes = yield* Effect.forEach(chosen, (major): Effect.Effect<Pass> =>
    all.has(major)
      ? Effect.catch(pass(major, all.get(major)), (error) =>
        Effect.succeed({ major, passed: 0, failed: 1, line: `PostgreSQL ${major}: ${error.message}` }))
      : Effect.succeed({ major, passed: 0, failed: 1, line: `PostgreSQL ${major}: no binaries for ${platform}` }))
  const numPassedTests = passes.reduce((sum, { passed }) => sum + passed, 0)
  const numFailedTests = passes.reduce((sum, { failed }) => sum + failed, 0)
  const success = numFailedTests === 0
  yield* Effect.sync(() =>
    writeFileSync(
      join(results, "matrix-results.json"),
      JSON.stringify({ numPassedTests, numFailedTests, success })
    )
  )
  yield* Console.log(["", ...passes.map(({ line }) => line)].join("\n"))
  process.exitCode = success ? 0 : 1
})

await Effect.runPromise(program)

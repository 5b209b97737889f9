/**
 * `pnpm bench`: floors, our stores and packages of others side by side, in one run on one machine.
 *
 * Read `Plan.ts` first: it says what is measured. `Runner.ts` runs it, `worker.ts` is the process of one subject.
 */
import { NodeRuntime, NodeServices } from "@effect/platform-node"
import { Console, Data, Effect, FileSystem, Option, Path, Runtime, Schema } from "effect"
import { Argument, Command, Flag } from "effect/cli"
import { fileURLToPath } from "node:url"
import * as Compare from "./Compare.ts"
import * as Plan from "./Plan.ts"
import * as Plot from "./Plot.ts"
import * as Report from "./Report.ts"
import { Results, version } from "./Results.ts"
import * as Runner from "./Runner.ts"
import * as Server from "./Server.ts"

/** Ends the program with exit code 1 and these words. */
class BenchFailed extends Data.TaggedError("BenchFailed")<{ readonly problem: string }> {
  override readonly [Runtime.errorReported] = false
  override get message(): string {
    return this.problem
  }
}

const flags = {
  quick: Flag.Boolean("quick").pipe(
    Flag.withDescription("The headline ratios within three minutes: fewer scenarios, shorter, fewer passes"),
    Flag.withDefault(false)
  ),
  json: Flag.String("json").pipe(
    Flag.withMetavar("FILE"),
    Flag.withDescription("Write the results to FILE"),
    Flag.optional
  ),
  only: Flag.String("only").pipe(
    Flag.withMetavar("S1,S4"),
    Flag.withDescription("Only these scenarios"),
    Flag.withDefault("")
  ),
  stored: Flag.Int("stored").pipe(
    Flag.withMetavar("N"),
    Flag.withDescription("Up to how many stored messages S11 goes, at most 10000000; that many take 30 GB of disk"),
    Flag.withDefault(1_000_000)
  ),
  held: Flag.Int("held").pipe(
    Flag.withMetavar("MINUTES"),
    Flag.withDescription("For how long S10 holds a transaction open"),
    Flag.withDefault(10)
  ),
  compare: Flag.Boolean("compare").pipe(
    Flag.withDescription("Measure nothing; say which ratios differ between two results: --compare A.json B.json"),
    Flag.withDefault(false)
  ),
  plot: Flag.Boolean("plot").pipe(
    Flag.withDescription("Measure nothing; draw the pictures in docs/ from results: --plot FILE.json"),
    Flag.withDefault(false)
  ),
  files: Argument.String("file").pipe(
    Argument.withDescription("Results to compare or to draw"),
    Argument.variadic()
  )
}

/** Paths are as the person typed them, wherever the script runs. */
const resolved = (file: string) => Effect.map(Path.Path, (path) => path.resolve(process.env["INIT_CWD"] ?? ".", file))

const read = Effect.fnUntraced(function*(file: string) {
  const fs = yield* FileSystem.FileSystem
  const text = yield* Effect.mapError(
    fs.readFileString(yield* resolved(file)),
    () => new BenchFailed({ problem: `${file} cannot be read` })
  )
  return yield* Effect.mapError(
    Schema.decodeUnknownEffect(Schema.fromJsonString(Results))(text),
    (error) => new BenchFailed({ problem: `${file} does not hold results of version ${version}: ${error.message}` })
  )
})

const write = Effect.fnUntraced(function*(file: string, text: string) {
  const fs = yield* FileSystem.FileSystem
  const path = yield* resolved(file)
  yield* Effect.mapError(
    fs.writeFileString(path, text),
    () => new BenchFailed({ problem: `${path} cannot be written` })
  )
  yield* Console.error(`wrote ${path}`)
})

const docs = fileURLToPath(new URL("../../../docs/", import.meta.url))

const plot = Effect.fnUntraced(function*(files: ReadonlyArray<string>) {
  const [file] = files
  if (file === undefined || files.length > 1) return yield* new BenchFailed({ problem: "--plot takes one file" })
  const plots = Plot.plots(yield* read(file))
  if (plots.size === 0) return yield* new BenchFailed({ problem: `${file} has nothing to draw: it needs S1 or S11` })
  for (const [name, svg] of plots) yield* write(`${docs}${name}`, svg)
})

const compare = Effect.fnUntraced(function*(files: ReadonlyArray<string>) {
  const [before, after] = files
  if (before === undefined || after === undefined || files.length > 2) {
    return yield* new BenchFailed({ problem: "--compare takes two files" })
  }
  yield* Console.log(Compare.render(Compare.compare(yield* read(before), yield* read(after))))
})

const scenariosOf = (only: string): Effect.Effect<ReadonlyArray<string>, BenchFailed> => {
  const names = only.split(",").map((name) => name.trim().toUpperCase()).filter((name) => name !== "")
  const unknown = names.filter((name) => !(name in Plan.scenarios))
  return unknown.length === 0 ? Effect.succeed(names) : Effect.fail(
    new BenchFailed({
      problem: `--only: there is no scenario ${unknown.join(", ")}. There are:\n` +
        Object.entries(Plan.scenarios).map(([name, what]) => `  ${name.padEnd(4)} ${what}`).join("\n")
    })
  )
}

interface Wanted {
  readonly quick: boolean
  readonly only: string
  readonly stored: number
  readonly held: number
  readonly json: Option.Option<string>
}

const measure = Effect.fnUntraced(function*({ held, json, only, quick, stored }: Wanted) {
  const scenarios = yield* scenariosOf(only)
  const plan = Plan.make({ quick, only: scenarios, stored, held })
  if (plan.length === 0) {
    return yield* new BenchFailed({ problem: `${scenarios.join(", ")}: only in the full run, without --quick` })
  }
  const began = performance.now()
  const machine = Server.machine()
  const results = yield* Effect.gen(function*() {
    const server = yield* Server.Server
    const measured = yield* Runner.run(plan)
    const { cells, notMeasured, versions, violations } = measured
    return Results.make({
      version,
      environment: {
        ...machine,
        date: new Date().toISOString(),
        mode: [quick ? "quick" : "full", ...scenarios].join(" "),
        server: server.version,
        settings: server.settings,
        versions,
        seconds: (performance.now() - began) / 1_000
      },
      cells,
      notMeasured,
      violations
    })
  }).pipe(
    Effect.provide(Server.layer),
    // Words, not stacks: who reads this wants to know what to do. No message repeats a URL.
    Effect.mapError((error) => new BenchFailed({ problem: error.message }))
  )
  yield* Console.log(`\n${Report.render(results)}`)
  if (Option.isSome(json)) {
    const text = yield* Effect.orDie(Schema.encodeEffect(Results)(results))
    yield* write(json.value, `${JSON.stringify(text, null, 1)}\n`)
  }
  if (results.violations.length > 0) {
    return yield* new BenchFailed({ problem: `${results.violations.length} violations: see the report` })
  }
})

const bench = Command.make("bench", flags, (given) => {
  if (given.compare && given.plot) {
    return Effect.fail(new BenchFailed({ problem: "--compare and --plot are two different things to do" }))
  }
  if (given.compare) return compare(given.files)
  if (given.plot) return plot(given.files)
  return given.files.length > 0
    ? Effect.fail(new BenchFailed({ problem: `${given.files[0]}: files are for --compare and --plot; see --help` }))
    : measure(given)
}).pipe(
  Command.withDescription(
    "Measures floors, the stores of Restante and packages of others side by side, on the server of DATABASE_URL or an " +
      "embedded one, and says how they compare. Packages of others are measured if they are installed in packages/bench/peers."
  )
)

Command.run(bench, { version: String(version) }).pipe(
  Effect.catchTag("BenchFailed", (error) => Effect.andThen(Console.error(error.message), Effect.fail(error))),
  Effect.provide(NodeServices.layer),
  NodeRuntime.runMain
)

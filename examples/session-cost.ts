/**
 * What `@restante/pg-session` costs and gains, each next to what it is measured against, in one run on one server that writes
 * durably:
 *
 * - COPY of 200,000 rows of 100 bytes in and out, next to `psql \copy` if psql is installed, and next to the same bytes
 *   through the same client without the rows being encoded
 * - the memory of a process while 1,000,000 rows go in and out
 * - single prepared statements through the transport, next to the plain driver
 * - transactions with options and a guard, next to the client's own
 *
 * Rounds alternate between the contenders, so that a busy moment of the machine hits all; figures are medians, and ratios
 * are medians of the ratios within a round. Compare the ratios, not the times, with those of another machine.
 */
import { NodeRuntime } from "@effect/platform-node"
import { PgClient } from "@effect/sql-pg"
import { EmbeddedPostgres } from "@restante/embedded-postgres"
import { PgCopy, PgTransaction, PgTransport } from "@restante/pg-session"
import { Console, Context, Duration, Effect, Layer, Redacted, Stream } from "effect"
import { spawn, spawnSync } from "node:child_process"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"

const rounds = 9
const rows = 200_000

/** A number, a tab, and a body: 100 bytes with the newline. */
const line = (n: number): string => {
  const head = `${n}\t`
  return `${head}${"x".repeat(99 - head.length)}`
}

const median = (figures: ReadonlyArray<number>): number =>
  figures.toSorted((a, b) => a - b)[Math.floor(figures.length / 2)] ?? Number.NaN

/** Milliseconds of each contender in each round; the order turns with the rounds. */
const contest = <E, R>(contenders: Readonly<Record<string, Effect.Effect<unknown, E, R>>>, times: number = rounds) =>
  Effect.gen(function*() {
    const names = Object.keys(contenders)
    const figures = new Map(names.map((name) => [name, new Array<number>()]))
    for (let round = 0; round <= times; round++) {
      for (let i = 0; i < names.length; i++) {
        const name = names[(i + round) % names.length] ?? ""
        const [took] = yield* Effect.timed(contenders[name] ?? Effect.void)
        // The first round warms up.
        if (round > 0) figures.get(name)?.push(Duration.toMillis(took))
      }
    }
    return figures
  })

const report = (figures: ReadonlyMap<string, ReadonlyArray<number>>, baseline: string) =>
  Effect.forEach(figures, ([name, own]) => {
    const base = figures.get(baseline) ?? own
    const ratio = median(own.map((figure, i) => (base[i] ?? figure) / figure))
    const speed = name === baseline ? "the measure" : `${ratio.toFixed(2)} times its speed`
    return Console.log(`${name.padEnd(58)} ${median(own).toFixed(1).padStart(9)} ms   ${speed}`)
  }, { discard: true })

const psql = (url: Redacted.Redacted, command: string) =>
  Effect.callback<void>((resume) => {
    const child = spawn("psql", ["-X", "-q", "-c", command, Redacted.value(url)], {
      stdio: ["ignore", "ignore", "inherit"]
    })
    child.on("close", (code) => resume(code === 0 ? Effect.void : Effect.die(new Error(`psql ended with ${code}`))))
  })

const hasPsql = spawnSync("psql", ["--version"]).status === 0

const temporary = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "restante-session-cost-"))),
  (directory) => Effect.sync(() => rmSync(directory, { recursive: true }))
)

const copy = Effect.fnUntraced(function*(url: Redacted.Redacted) {
  const directory = yield* temporary
  const file = join(directory, "rows.txt")
  const bytes = Buffer.from(Array.from({ length: rows }, (_, i) => `${line(i)}\n`).join(""))
  writeFileSync(file, bytes)
  const sql = yield* PgClient.PgClient
  yield* sql`create table copied (n int, body text)`
  const emptied = <A, E, R>(copying: Effect.Effect<A, E, R>) => Effect.andThen(sql`truncate copied`, copying)
  const pieces = Array.from(
    { length: Math.ceil(bytes.length / 65_536) },
    (_, i) => bytes.subarray(i * 65_536, (i + 1) * 65_536)
  )
  const values = Array.from({ length: rows }, (_, n) => [n, line(n).slice(line(n).indexOf("\t") + 1)])
  const table = { table: "copied" }

  yield* Console.log(`COPY in of ${rows.toLocaleString("en")} rows of 100 bytes`)
  const ours = {
    "copyIn, bytes": emptied(PgCopy.copyIn(table, Stream.fromIterable(pieces))),
    "copyInRows, a number and a text": emptied(PgCopy.copyInRows(table, Stream.fromIterable(values)))
  }
  const theirs = hasPsql ? { "psql \\copy from a file": emptied(psql(url, `\\copy copied from '${file}'`)) } : {}
  yield* report(yield* contest({ ...theirs, ...ours }), hasPsql ? "psql \\copy from a file" : "copyIn, bytes")

  yield* Console.log(`COPY out of the same rows`)
  const out = {
    "copyOut, bytes": Stream.runDrain(PgCopy.copyOut(table)),
    "copyOutRows": Stream.runDrain(PgCopy.copyOutRows(table))
  }
  const their = hasPsql ? { "psql \\copy to a file": psql(url, `\\copy copied to '${file}'`) } : {}
  yield* report(yield* contest({ ...their, ...out }), hasPsql ? "psql \\copy to a file" : "copyOut, bytes")
})

/**
 * MiB that a process holds: its heap and its buffers, both without garbage if it runs with `--expose-gc`, and all of it as the
 * system sees it.
 */
const memory = () => {
  globalThis.gc?.()
  const { arrayBuffers, heapUsed, rss } = process.memoryUsage()
  return [heapUsed, arrayBuffers, rss].map((bytes) => bytes / 1_048_576)
}

const mebibytes = (figures: ReadonlyArray<number>) => figures.map((figure) => figure.toFixed(0).padStart(5)).join(" ")

const million = Effect.gen(function*() {
  const sql = yield* PgClient.PgClient
  yield* sql`create table million (n int, body text)`
  const before = memory()
  let peak = before
  let arrays = 0
  const watched = <A, E, R>(stream: Stream.Stream<A, E, R>) =>
    Stream.mapArray(stream, (items) => {
      if (++arrays % 32 !== 0) return items
      const now = memory()
      peak = peak.map((most, i) => Math.max(most, now[i] ?? 0))
      return items
    })
  const body = "x".repeat(90)
  const given = Stream.map(Stream.range(1, 1_000_000), (n) => [n, body])
  yield* PgCopy.copyInRows({ table: "million" }, watched(given))
  yield* Stream.runDrain(watched(PgCopy.copyOutRows({ table: "million" })))
  yield* Console.log("1,000,000 rows of 100 bytes in and out as rows; MiB of heap, of buffers, of the process")
  yield* Console.log(`before                  ${mebibytes(before)}`)
  yield* Console.log(`at most, while it lasts ${mebibytes(peak)}`)
})

const statements = 2_000

const single = Effect.fnUntraced(function*(plain: PgClient.PgClient) {
  const sql = yield* PgClient.PgClient
  yield* plain`create table bare (id int primary key, body text)`
  yield* plain`insert into bare select n, repeat('x', 100) from generate_series(1, 1000) n`
  const repeated = <E>(statement: (n: number) => Effect.Effect<unknown, E>) =>
    Effect.forEach(Array.from({ length: statements }, (_, n) => n % 1000 + 1), statement, { discard: true })
  yield* Console.log(`${statements.toLocaleString("en")} single prepared statements, one after the other`)
  yield* report(
    yield* contest({
      "plain driver: one row by its key": repeated((n) => plain`select body from bare where id = ${n}`),
      "through the transport: one row by its key": repeated((n) => sql`select body from bare where id = ${n}`)
    }, 31),
    "plain driver: one row by its key"
  )
})

const fiveHundred = <E, R>(transaction: Effect.Effect<unknown, E, R>) =>
  Effect.forEach(Array.from({ length: 500 }), () => transaction, { discard: true })

const transactions = Effect.gen(function*() {
  const sql = yield* PgClient.PgClient
  const body = sql`select 1`
  yield* Console.log("500 transactions of one statement, one after the other, on the same transport")
  yield* report(
    yield* contest({
      "the client's own withTransaction": fiveHundred(sql.withTransaction(body)),
      "PgTransaction.withTransaction": fiveHundred(PgTransaction.withTransaction({}, body))
    }, 31),
    "the client's own withTransaction"
  )
})

Effect.gen(function*() {
  const { url } = yield* EmbeddedPostgres.EmbeddedPostgres
  const services = yield* Layer.build(PgTransport.layer({ url, maxConnections: 2 }))
  const plain = Context.get(yield* Layer.build(PgClient.layer({ url, maxConnections: 2 })), PgClient.PgClient)
  yield* Effect.provide(Effect.all([million, copy(url), single(plain), transactions]), services)
}).pipe(Effect.scoped, Effect.provide(EmbeddedPostgres.layer({ durable: true })), NodeRuntime.runMain)

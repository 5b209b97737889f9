/**
 * The server of a run, and what is recorded of it and of the machine. Refuses a server that would not keep what it has answered.
 */
import { PgClient } from "@effect/sql-pg"
import { PostgresServer } from "@restante/embedded-postgres"
import { Context, Data, Effect, Layer, Redacted, type Scope } from "effect"
import type { SqlError } from "effect/sql/SqlError"
import { execFileSync } from "node:child_process"
import { closeSync, fsyncSync, mkdtempSync, openSync, rmSync, statfsSync, writeSync } from "node:fs"
import { arch, cpus, loadavg, platform, tmpdir, totalmem } from "node:os"
import { join } from "node:path"
import type { Environment } from "./Results.ts"
import { median } from "./Statistics.ts"

/** The server cannot be measured. */
export class ServerUnfit extends Data.TaggedError("ServerUnfit")<{ readonly problem: string }> {
  override get message(): string {
    return this.problem
  }
}

export class Server extends Context.Service<Server, {
  readonly version: string
  readonly settings: Readonly<Record<string, string>>
  /** An empty database for as long as the scope is open. */
  readonly database: Effect.Effect<string, SqlError, Scope.Scope>
}>()("restante/bench/Server") {}

const shown = [
  "fsync",
  "synchronous_commit",
  "full_page_writes",
  "wal_level",
  "wal_sync_method",
  "shared_buffers",
  "max_wal_size",
  "checkpoint_timeout",
  "autovacuum",
  "max_connections"
]

/** What an answered commit has to survive; without it the numbers would be of another thing. */
const required = ["fsync", "synchronous_commit"]

/** The server of `DATABASE_URL`, or an embedded one that is as durable as an installed one. */
export const layer = Layer.effect(
  Server,
  Effect.gen(function*() {
    const server = yield* PostgresServer.PostgresServer
    const sql = yield* PgClient.PgClient
    const settings: Record<string, string> = {}
    for (const name of shown) {
      const [row] = yield* sql<{ readonly value: string }>`select current_setting(${name}, true) as value`
      settings[name] = row?.value ?? "unknown"
    }
    const weak = required.filter((name) => settings[name] !== "on")
    if (weak.length > 0) {
      return yield* new ServerUnfit({
        problem: `the server has ${weak.map((name) => `${name} = ${settings[name]}`).join(" and ")}. ` +
          "A message that was answered has to survive a crash: set both to on, or use another server"
      })
    }
    const [about] = yield* sql<{ readonly version: string }>`select current_setting('server_version') as version`
    let count = 0
    return Server.of({
      version: about?.version ?? "unknown",
      settings,
      database: Effect.acquireRelease(
        Effect.suspend(() => {
          const name = `restante_bench_${process.pid}_${count++}`
          return Effect.as(sql.unsafe(`create database ${name} template template0`).unprepared, name)
        }),
        (name) => Effect.ignore(sql.unsafe(`drop database ${name} with (force)`).unprepared, { log: "Warn" })
      ).pipe(Effect.map((name) => Redacted.value(server.databaseUrl(name))))
    })
  })
).pipe(
  Layer.provide(Layer.unwrap(Effect.map(
    PostgresServer.PostgresServer,
    ({ url }) => PgClient.layer({ url, maxConnections: 1, applicationName: "restante-bench" })
  ))),
  Layer.provide(PostgresServer.layer({ durable: true }))
)

const flushes = 50

/** Milliseconds to write a page and have it flushed. */
const timeOfFlush = (): number => {
  const directory = mkdtempSync(join(tmpdir(), "restante-bench-"))
  const file = openSync(join(directory, "flush"), "w")
  try {
    const page = Buffer.alloc(8_192, 1)
    const times = Array.from({ length: flushes }, () => {
      const from = performance.now()
      writeSync(file, page)
      fsyncSync(file)
      return performance.now() - from
    })
    return median(times) ?? 0
  } finally {
    closeSync(file)
    rmSync(directory, { recursive: true })
  }
}

const git = (...words: ReadonlyArray<string>): string =>
  execFileSync("git", words, { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] }).trim()

const commit = (): string => {
  try {
    return git("rev-parse", "--short=12", "HEAD") + (git("status", "--porcelain") === "" ? "" : " and changes")
  } catch {
    return "unknown"
  }
}

/** What the machine is, before anything is measured. */
export const machine = (): Pick<Environment, "commit" | "load" | "machine" | "node"> => ({
  commit: commit(),
  node: process.version,
  load: loadavg()[0] ?? 0,
  machine: {
    processor: `${cpus()[0]?.model.trim() ?? "unknown"}, ${platform()} ${arch()}`,
    cores: cpus().length,
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    fileSystem: `0x${statfsSync(tmpdir()).type.toString(16)}`,
    flush: timeOfFlush()
  }
})

/**
 * What a rate was paid with: processor time of client and server, and WAL. Looked at from a connection of its own, beside those
 * that are measured.
 */
import { PgClient } from "@effect/sql-pg"
import { Effect, ManagedRuntime, Redacted } from "effect"
import { readdirSync, readFileSync } from "node:fs"
import type { Sample } from "./Subject.ts"

interface Look {
  /** Seconds of processor time. */
  readonly client: number
  /** The same of all processes of the server; none if they cannot be seen, because they run elsewhere. */
  readonly server: number | undefined
  /** Bytes of WAL since the server was made. */
  readonly wal: number
}

export interface Explain {
  /** Clears away what came before: what is measured should not pay for it. */
  readonly settle: () => Promise<void>
  readonly look: () => Promise<Look>
  readonly since: (before: Look, after: Look, messages: number) => ReadonlyArray<Sample>
  readonly close: () => Promise<void>
}

/** For subjects without a database. */
const nothing: Explain = {
  settle: () => Promise.resolve(),
  look: () => Promise.resolve({ client: 0, server: undefined, wal: 0 }),
  since: () => [],
  close: () => Promise.resolve()
}

const clockTick = 100

/** What /proc says of a process: its parent, and its processor time with that of its children that have ended. */
const processAt = (pid: number | string): { readonly parent: number; readonly seconds: number } | undefined => {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, "utf8")
    // The name is in parentheses and may hold spaces; what follows it are numbers.
    const fields = text.slice(text.lastIndexOf(")") + 2).split(" ").map(Number)
    const ticks = [11, 12, 13, 14].reduce((sum, at) => sum + (fields[at] ?? 0), 0)
    return { parent: fields[1] ?? 0, seconds: ticks / clockTick }
  } catch {
    return undefined
  }
}

const serverSeconds = (backend: number): number | undefined => {
  const postmaster = processAt(backend)?.parent
  if (postmaster === undefined || postmaster <= 1) return undefined
  const all = readdirSync("/proc").filter((name) => /^\d+$/.test(name)).map((name) => ({ name, ...processAt(name) }))
  return all
    .filter(({ name, parent }) => parent === postmaster || name === String(postmaster))
    .reduce((sum, { seconds }) => sum + (seconds ?? 0), 0)
}

const statement = (text: string) =>
  Effect.flatMap(
    PgClient.PgClient,
    (sql) => sql.unsafe<{ readonly wal: number; readonly pid: number }>(text).unprepared
  )

export const open = async (url: string): Promise<Explain> => {
  if (url === "") return nothing
  const runtime = ManagedRuntime.make(
    PgClient.layer({ url: Redacted.make(url), maxConnections: 1, applicationName: "restante-bench explain" })
  )
  const local = ["127.0.0.1", "::1", "localhost"].includes(new URL(url).hostname)
  const [backend] = await runtime.runPromise(statement("select pg_backend_pid() as pid, 0::float8 as wal"))
  return {
    settle: () =>
      runtime.runPromise(Effect.asVoid(Effect.andThen(statement("vacuum (analyze)"), statement("checkpoint")))),
    look: async () => {
      const { system, user } = process.cpuUsage()
      const [row] = await runtime.runPromise(
        statement("select pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::float8 as wal, 0 as pid")
      )
      return {
        client: (system + user) / 1_000_000,
        server: local && backend !== undefined ? serverSeconds(backend.pid) : undefined,
        wal: row?.wal ?? 0
      }
    },
    since: (before, after, messages) => {
      if (messages === 0) return []
      const million = messages / 1_000_000
      const cpu = (measure: string, seconds: number): Sample => ({
        measure,
        unit: "s per 1e6 messages",
        value: seconds / million
      })
      return [
        cpu("client CPU", after.client - before.client),
        ...before.server === undefined || after.server === undefined
          ? []
          : [cpu("server CPU", after.server - before.server)],
        { measure: "WAL", unit: "bytes per message", value: (after.wal - before.wal) / messages }
      ]
    },
    close: () => runtime.dispose()
  }
}

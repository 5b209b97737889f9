/**
 * bullmq with its PostgreSQL backend. It has handlers only, so a cycle is a job added, handled and removed, and to take is to
 * let handlers run. Completed jobs are removed, as https://docs.bullmq.io/guide/postgresql advises.
 *
 * - `default`: 256 handlers.
 * - `fastest`: 32, the most of those for which it gives figures there. More wait for each other and for the ten connections: a
 *   cycle at 64 senders did 197/s with 32 and 162/s with 256, takers 408/s and 236/s. 33 connections were not faster.
 *
 * Each job that is added notifies, with the same effect as for graphile-worker.
 */
import { createPostgresBackend, type PgModule, runMigrations, withBackend } from "bullmq"
import { createRequire } from "node:module"
import type { Parameters, Run, Session, Subject, Work } from "../src/Subject.ts"
import { versions } from "./Installed.ts"
import * as Ledger from "./Ledger.ts"
import * as Workers from "./Workers.ts"

const { Queue, Worker } = withBackend(createPostgresBackend)

// Of the type that bullmq has for `pg`, since it does not accept a pool of the type that `@types/pg` has for it.
const { Pool }: PgModule = createRequire(import.meta.url)("pg")

const name = "messages"

const open = async ({ bodyBytes, options, pool, url }: Parameters): Promise<Session> => {
  const ledger = Ledger.make(bodyBytes)
  const handlers = options["mode"] === "fastest" ? 32 : 256
  // One more, because a worker keeps one for LISTEN. One pool for both, or each would have ten.
  const connection = new Pool({
    connectionString: url,
    max: pool + 1,
    keepAlive: true,
    options: "-c search_path=bullmq"
  })
  connection.on("error", ledger.fail)
  const client = await connection.connect()
  await runMigrations(client)
  client.release()
  const queue = new Queue<Ledger.Message>(name, { connection, defaultJobOptions: { removeOnComplete: true } })
  queue.on("error", ledger.fail)
  await queue.waitUntilReady()

  const start: Workers.Start = async (concurrency, { begin, complete, fail }) => {
    const worker = new Worker<Ledger.Message>(name, async ({ data }) => begin(data), {
      connection,
      concurrency
    })
    worker.on("completed", ({ data }) => complete(data.number))
    worker.on("failed", (_, error) => fail(error))
    worker.on("error", fail)
    await worker.waitUntilReady()
    return () => worker.close()
  }
  const send = async (message: Ledger.Message): Promise<number> => {
    await queue.add(name, message)
    return 1
  }
  const sendMany = async (count: number): Promise<number> => {
    await queue.addBulk(ledger.many(count).map((data) => ({ name, data })))
    return count
  }
  const works: Record<Work, ((run: Run) => Promise<void>) | undefined> = {
    send: (run) => Workers.repeat(run, () => send(ledger.next())),
    sendMany: (run) => Workers.repeat(run, () => sendMany(run.batch)),
    cycle: (run) => Workers.cycle(run, ledger, send, start, handlers),
    take: (run) => Workers.take(run, ledger, start, handlers),
    peek: undefined
  }
  return {
    run: async (work, run) => await works[work]?.(run),
    prepare: async (messages) => {
      for (let left = messages; left > 0; left -= 1000) await sendMany(Math.min(1000, left))
    },
    clear: async () => {
      await connection.query("truncate job cascade")
      ledger.clear()
    },
    check: async () => {
      const { rows: [row] } = await connection.query<{ left: number; other: number }>(
        "select count(*) filter (where state = 'waiting')::int as left,"
          + " count(*) filter (where state <> 'waiting')::int as other from job"
      )
      if (row === undefined || row.other > 0) return `${row?.other} jobs are not waiting though nobody works on them`
      return ledger.problem(row.left)
    },
    close: async () => {
      await queue.close()
      await connection.end()
    }
  }
}

export const subject: Subject = {
  id: "bullmq",
  role: "peer",
  works: ["send", "sendMany", "cycle", "take"],
  versions: versions("bullmq", "pg"),
  open
}

/**
 * pg-boss. A job is sent, fetched and completed; completed jobs stay in the table for a week, as they do by default.
 *
 * - `default`: as its constructor makes it, with its supervisor and its scheduler.
 * - `fastest`: without these two (`supervise` and `schedule` of https://pgboss.io/api/constructor), since neither is needed to
 *   send, fetch or complete.
 *
 * One queue, which is one kind of job: 64 of them, one for each worker, were not faster, nor was a partition of its own.
 */
import { Pool } from "pg"
import { PgBoss } from "pg-boss"
import type { Parameters, Run, Session, Subject, Work } from "../src/Subject.ts"
import { versions } from "./Installed.ts"
import * as Ledger from "./Ledger.ts"
import * as Workers from "./Workers.ts"

const name = "messages"

const open = async ({ bodyBytes, options, pool, url }: Parameters): Promise<Session> => {
  const ledger = Ledger.make(bodyBytes)
  const observer = new Pool({ connectionString: url, max: 1 })
  observer.on("error", ledger.fail)
  const boss = new PgBoss({
    connectionString: url,
    max: pool,
    ...(options["mode"] === "fastest" ? { supervise: false, schedule: false } : {})
  })
  boss.on("error", ledger.fail)
  await boss.start()
  await boss.createQueue(name)

  const send = async (): Promise<number> => {
    await boss.send(name, ledger.next())
    return 1
  }
  const sendMany = async (count: number): Promise<number> => {
    await boss.insert(name, ledger.many(count).map((data) => ({ data })))
    return count
  }
  const take = async (batchSize: number): Promise<number> => {
    const jobs = await boss.fetch<Ledger.Message>(name, { batchSize })
    if (jobs.length === 0) return 0
    for (const { data } of jobs) ledger.take(data)
    await boss.complete(name, jobs.map(({ id }) => id))
    return jobs.length
  }
  /** Others may have locked what there is. */
  const takeOne = async (): Promise<number> => {
    for (;;) {
      const taken = await take(1)
      if (taken > 0) return taken
    }
  }

  const works: Record<Work, ((run: Run) => Promise<void>) | undefined> = {
    send: (run) => Workers.repeat(run, send),
    sendMany: (run) => Workers.repeat(run, () => sendMany(run.batch)),
    cycle: (run) =>
      Workers.repeat(run, async () => {
        await send()
        return await takeOne()
      }),
    take: (run) => Workers.repeat(run, () => take(run.batch)),
    peek: undefined
  }
  return {
    run: async (work, run) => await works[work]?.(run),
    prepare: async (messages) => {
      for (let left = messages; left > 0; left -= 1000) await sendMany(Math.min(1000, left))
    },
    clear: async () => {
      await observer.query("truncate pgboss.job cascade")
      ledger.clear()
    },
    check: async () => {
      const { rows: [row] } = await observer.query<{ left: number; other: number }>(
        "select count(*) filter (where state = 'created')::int as left,"
          + " count(*) filter (where state not in ('created', 'completed'))::int as other from pgboss.job"
      )
      if (row === undefined || row.other > 0) return `${row?.other} jobs are neither waiting nor completed`
      return ledger.problem(row.left)
    },
    close: async () => {
      await boss.stop({ graceful: false })
      await observer.end()
    }
  }
}

export const subject: Subject = {
  id: "pg-boss",
  role: "peer",
  works: ["send", "sendMany", "cycle", "take"],
  versions: versions("pg-boss", "pg"),
  open
}

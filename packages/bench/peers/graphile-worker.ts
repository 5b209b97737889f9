/**
 * graphile-worker. It has handlers only, so a cycle is a job added, handled and deleted, and to take is to let handlers run.
 *
 * - `default`: plain, with as many handlers as its documentation allows for the number of connections, which is two less.
 * - `fastest`: a local queue of 500, completions in batches without delay, and 24 handlers: the settings of its own measurements
 *   (https://worker.graphile.org/docs/performance). Its takers are some 15 times as fast as plain ones. 25 connections, as
 *   there, were not faster than 10: with a local queue hardly any are used.
 *
 * Each job that is added notifies, and the server commits what notifies one after the other, flush included. So 64 senders are
 * hardly faster than one: nine in ten of their backends wait for that lock.
 */
import type { WorkerEvents } from "graphile-worker"
import { EventEmitter } from "node:events"
import { setTimeout } from "node:timers/promises"
import { Pool } from "pg"
import type { Parameters, Run, Session, Subject, Work } from "../src/Subject.ts"
import { versions } from "./Installed.ts"
import * as Ledger from "./Ledger.ts"
import * as Workers from "./Workers.ts"

const identifier = "message"

const isMessage = (payload: unknown): payload is Ledger.Message =>
  typeof payload === "object" && payload !== null && "number" in payload && "body" in payload

const open = async ({ bodyBytes, options, pool, url }: Parameters): Promise<Session> => {
  // Trap: read when the package is loaded. Otherwise a line is formatted for each job. Its own measurements set it, too.
  process.env["NO_LOG_SUCCESS"] = "1"
  const { Logger, makeWorkerUtils, run: runWorkers } = await import("graphile-worker")
  const ledger = Ledger.make(bodyBytes)
  // Quiet. Trap: with jobs left in its local queue it logs an error at its end ("Cannot background something when the queue is
  // already released"), and gives them back all the same. What matters comes as an event.
  const logger = new Logger(() => () => {})
  const fastest = options["mode"] === "fastest"
  const batching = fastest ? { localQueue: { size: 500 }, completeJobBatchDelay: 0, failJobBatchDelay: 0 } : {}
  const handlers = fastest ? 24 : pool - 2
  // One more, because a runner keeps one for LISTEN.
  const pgPool = new Pool({ connectionString: url, max: pool + 1 })
  pgPool.on("error", ledger.fail)
  pgPool.on("connect", (client) => client.on("error", ledger.fail))
  const utils = await makeWorkerUtils({ pgPool, logger })

  const start: Workers.Start = async (concurrency, { begin, complete, fail }) => {
    const events: WorkerEvents = new EventEmitter()
    // Trap: this is said when the deletion is sent, not when it is durable, and the runner does not wait for it at its end
    // either. So the end of a run does, and at most one deletion for each connection is counted too early.
    events.on("job:complete", ({ error, job }) => {
      if (error === null && isMessage(job.payload)) complete(job.payload.number)
      else fail(error)
    })
    events.on("worker:fatalError", ({ error }) => fail(error))
    events.on("pool:fatalError", ({ error }) => fail(error))
    const runner = await runWorkers({
      pgPool,
      logger,
      events,
      noHandleSignals: true,
      parsedCronItems: [],
      preset: { worker: { concurrentJobs: concurrency, ...batching } },
      taskList: {
        [identifier]: async (payload) => {
          if (isMessage(payload)) begin(payload)
        }
      }
    })
    return async () => {
      await runner.stop()
      while (pgPool.waitingCount > 0 || pgPool.idleCount < pgPool.totalCount) await setTimeout(1)
    }
  }
  const send = async (message: Ledger.Message): Promise<number> => {
    await utils.addJob(identifier, message)
    return 1
  }
  const sendMany = async (count: number): Promise<number> => {
    await utils.addJobs(ledger.many(count).map((payload) => ({ identifier, payload })))
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
      await pgPool.query("truncate graphile_worker._private_jobs")
      ledger.clear()
    },
    check: async () => {
      const { rows: [row] } = await pgPool.query<{ left: number; locked: number }>(
        "select count(*)::int as left, count(locked_at)::int as locked from graphile_worker._private_jobs"
      )
      if (row === undefined || row.locked > 0) return `${row?.locked} jobs are locked though nobody works on them`
      return ledger.problem(row.left)
    },
    close: async () => {
      await utils.release()
      await pgPool.end()
    }
  }
}

export const subject: Subject = {
  id: "graphile-worker",
  role: "peer",
  works: ["send", "sendMany", "cycle", "take"],
  versions: versions("graphile-worker", "pg"),
  open
}

/**
 * A process of a subject, from the outside: it is sent its job and tells what it finds.
 */
import { Schema } from "effect"
import { fork } from "node:child_process"
import { fileURLToPath } from "node:url"
import { type Job, Report } from "./Job.ts"

/** Programs start twice as fast with it, and a run starts many. */
const compileCache = fileURLToPath(new URL("../node_modules/.cache/compiled", import.meta.url))

const worker = fileURLToPath(new URL("worker.ts", import.meta.url))

/** What a process said on its way out, if it says nothing better. */
const lastWords = 2_000

export interface Visit {
  /** Resolves when the process has ended, with what went wrong with it as a whole, if anything did. */
  readonly ended: Promise<string | undefined>
  readonly kill: () => void
}

export const start = (job: Job, onReport: (report: Report) => void): Visit => {
  const child = fork(worker, [], {
    stdio: ["ignore", "pipe", "pipe", "ipc"],
    execArgv: [],
    env: { ...process.env, NODE_COMPILE_CACHE: compileCache }
  })
  let words = ""
  for (const stream of [child.stdout, child.stderr]) {
    stream?.setEncoding("utf8").on("data", (text: string) => {
      words = (words + text).slice(-lastWords)
    })
  }
  let failure: string | undefined
  const decode = Schema.decodeUnknownSync(Report)
  child.on("message", (message) => {
    const report = decode(message)
    if (report._tag === "Failed") failure = report.problem
    else onReport(report)
  })
  child.send(job)
  return {
    ended: new Promise((resolve) => {
      child.on("error", (error) => resolve(error.message))
      child.on("close", (code, signal) =>
        resolve(
          failure ?? (code === 0 ? undefined : `its process ended with ${signal ?? `code ${code}`}: ${words.trim()}`)
        ))
    }),
    kill: () => {
      child.kill("SIGKILL")
    }
  }
}

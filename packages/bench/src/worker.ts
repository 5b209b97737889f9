/**
 * The process of one subject. It is sent a job, and answers with reports.
 */
import { Schema } from "effect"
import * as Explain from "./Explain.ts"
import { Job, type Report, type Step } from "./Job.ts"
import * as Loop from "./Loop.ts"
import type { Sample, Session, Subject } from "./Subject.ts"
import * as Subjects from "./Subjects.ts"

const report = (report: Report): Promise<void> =>
  new Promise((resolve, reject) => {
    if (process.send === undefined) return reject(new Error("this program is started by the benchmark"))
    process.send(report, (error: Error | null) => error === null ? resolve() : reject(error))
  })

/** What went wrong, in words; driver errors keep theirs in their causes. */
const wordsOf = (error: unknown): string => {
  if (!(error instanceof Error)) return String(error)
  const own = error.message === "" ? error.name : error.message
  return error.cause === undefined ? own : `${own}: ${wordsOf(error.cause)}`
}

const take = async (
  session: Session,
  explain: Explain.Explain,
  subject: Subject,
  { action, params }: Step
): Promise<ReadonlyArray<Sample>> => {
  if (action._tag === "Special") {
    if (session.measure === undefined) throw new Error("not offered")
    return session.measure({ name: action.name, seconds: action.seconds, params })
  }
  if (!subject.works.includes(action.work)) throw new Error("not offered")
  if (action.clear) await session.clear()
  if (action.prepare > 0) await session.prepare(action.prepare)
  await explain.settle()
  const before = await explain.look()
  const batchesBefore = await session.batches?.()
  const { messages, rate } = await Loop.run(session, action)
  const explained = explain.since(before, await explain.look(), messages)
  const batchesAfter = await session.batches?.()
  const latencies = action.latency ? await Loop.latency(session, action, rate) : []
  return [
    { measure: "rate", unit: "msg/s", value: rate },
    ...latencies,
    ...explained,
    ...together(batchesBefore, batchesAfter)
  ]
}

type Batches = Awaited<ReturnType<NonNullable<Session["batches"]>>> | undefined

const together = (before: Batches, after: Batches): ReadonlyArray<Sample> => {
  if (before === undefined || after === undefined || after.statements === before.statements) return []
  const value = (after.calls - before.calls) / (after.statements - before.statements)
  return [{ measure: "calls per batch", unit: "calls", value }]
}

const work = async (job: Job): Promise<void> => {
  const subject = await Subjects.load(job.subject)
  const explain = await Explain.open(job.url)
  const session = await subject.open(job)
  await report({ _tag: "Opened", versions: subject.versions })
  for (const [index, step] of job.steps.entries()) {
    try {
      const found = await take(session, explain, subject, step)
      // What nothing was recorded of has no number, and a number that is none cannot be sent.
      const samples = found.filter(({ value }) => Number.isFinite(value))
      // A special measurement checks what it does itself, and the session does not know of it.
      const problem = step.action._tag === "Loop" ? await session.check() : undefined
      await report(
        problem === undefined
          ? { _tag: "Measured", step: index, samples }
          : { _tag: "Violated", step: index, problem }
      )
    } catch (error) {
      await report({ _tag: "NotMeasured", step: index, reason: wordsOf(error) })
    }
  }
  await session.close()
  await explain.close()
}

process.once("message", (message) => {
  const job = Schema.decodeUnknownPromise(Job)(message)
  job.then(work).catch((error: unknown) => report({ _tag: "Failed", problem: wordsOf(error) })).finally(() => {
    // What a subject has left open, such as timers of its own, does not keep the process.
    process.exit()
  })
})

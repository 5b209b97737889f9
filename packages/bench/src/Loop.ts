/**
 * Drives a session through one operation over and over, and counts.
 */
import { setTimeout as sleep } from "node:timers/promises"
import { Histogram } from "./Histogram.ts"
import type { Run, Sample, Session, Work } from "./Subject.ts"

export interface Loop {
  readonly work: Work
  readonly concurrency: number
  readonly batch: number
  /** Seconds: discarded, and measured. */
  readonly warmUp: number
  readonly seconds: number
}

export interface Counted {
  /** Messages per second. */
  readonly rate: number
  /** Of all that was done, the warm-up included. */
  readonly messages: number
  readonly latencies: Histogram
}

/** As fast as it goes; with a pace, operations are offered at that many per second. */
export const run = async (session: Session, loop: Loop, pace?: number): Promise<Counted> => {
  const latencies = new Histogram()
  const start = performance.now()
  const from = start + loop.warmUp * 1_000
  const to = from + loop.seconds * 1_000
  let messages = 0
  let counted = 0
  let last = from
  const run: Run = {
    concurrency: loop.concurrency,
    batch: loop.batch,
    isOver: () => performance.now() >= to,
    due: pace === undefined ? undefined : paced(start, to, pace),
    done: (completed, began) => {
      const now = performance.now()
      messages += completed
      // By its beginning, however late it ends: otherwise the slowest would be left out.
      if (began >= from && began < to) latencies.record(now - began)
      if (now < from || now >= to) return
      counted += completed
      last = now
    }
  }
  await session.run(loop.work, run)
  // A run that has nothing left to do ends early: then the time until its last message counts.
  const ended = performance.now() < to ? last : to
  return { rate: ended > from ? counted / ((ended - from) / 1_000) : 0, messages, latencies }
}

/**
 * Hands out the times at which operations are due. One that nobody was free to take is handed out late with the time at
 * which it was due, so that a stalled subject cannot hide its delay. Timers tick in milliseconds, which is part of what is seen.
 */
export const paced = (start: number, end: number, perSecond: number): () => Promise<number | undefined> => {
  let next = 0
  return async () => {
    const at = start + (next++ * 1_000) / perSecond
    const wait = Math.min(at, end) - performance.now()
    if (wait > 0) await sleep(wait)
    return at < end ? at : undefined
  }
}

/** Latencies at half of the rate, from the time at which each operation was due. */
export const latency = async (session: Session, loop: Loop, rate: number): Promise<ReadonlyArray<Sample>> => {
  const { latencies } = await run(session, loop, rate / loop.batch / 2)
  return quantiles(latencies)
}

export const quantiles = (latencies: Histogram): ReadonlyArray<Sample> =>
  (["p50", "p99"] as const).flatMap((measure) => {
    const value = latencies.quantile(measure === "p50" ? 0.5 : 0.99)
    return value === undefined ? [] : [{ measure, unit: "ms", value }]
  })

/**
 * S8: how long an idle reader sleeps on after a write in another process. The body of each message is the time at which its
 * write began, by the monotonic clock that all processes of a machine share.
 */
import type { Cause } from "effect"
import { Data, Effect, Fiber, Option, Schedule, Stream } from "effect"
import { setTimeout as sleep } from "node:timers/promises"
import { MsgStore } from "restante"
import { Histogram } from "../Histogram.ts"
import type { Job } from "../Job.ts"
import { quantiles } from "../Loop.ts"
import type { Parameters, Sample, Special } from "../Subject.ts"
import * as Visit from "../Visit.ts"
import type { Measurement } from "./Measurement.ts"

/** The time now, as a body. */
const stamp = (): Uint8Array => {
  const bytes = Buffer.alloc(8)
  bytes.writeBigInt64BE(process.hrtime.bigint())
  return bytes
}

/** The time in a body. */
const stampOf = (bytes: Uint8Array): bigint =>
  Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).readBigInt64BE()

/** Both processes are cold at first: what is sent in this time, in nanoseconds, after the first is not recorded. */
const cold = 500_000_000n

/** The time from each stamp until it was seen. */
export class Recorder {
  readonly latencies = new Histogram()
  #first: bigint | undefined

  record(stamp: bigint, seen: bigint): void {
    this.#first ??= stamp
    if (stamp - this.#first >= cold) this.latencies.record(Number(seen - stamp) / 1e6)
  }
}

/** What the other process could not do. */
export class OtherProcessFailed extends Data.TaggedError("OtherProcessFailed")<{ readonly problem: string }> {
  override get message(): string {
    return `the process that writes: ${this.problem}`
  }
}

/** Lets another process write at the rate of the measurement, and answers how often it did. */
export const offerElsewhere = (
  subject: string,
  parameters: Parameters,
  special: Special
): Effect.Effect<number, OtherProcessFailed> =>
  Effect.callback((resume) => {
    const job: Job = {
      subject,
      ...parameters,
      options: { ...parameters.options, join: true },
      steps: [{
        scenario: "",
        params: special.params,
        action: { _tag: "Special", name: "offer", seconds: special.seconds }
      }]
    }
    let sent: number | undefined
    let problem = "it has said nothing"
    const visit = Visit.start(job, (report) => {
      if (report._tag === "Measured") sent = report.samples[0]?.value
      if (report._tag === "NotMeasured") problem = report.reason
    })
    void visit.ended.then((failure) =>
      resume(
        sent === undefined ? Effect.fail(new OtherProcessFailed({ problem: failure ?? problem })) : Effect.succeed(sent)
      )
    )
    return Effect.sync(visit.kill)
  })

/** One operation after another falls due, and does not wait for those before. */
export const offerAtRate = (
  special: Special,
  operation: (turn: number) => Effect.Effect<unknown, unknown>
): Effect.Effect<ReadonlyArray<Sample>, unknown> =>
  Effect.gen(function*() {
    const rate = Number(special.params["rate"])
    const count = Math.round(special.seconds * rate)
    const start = performance.now()
    const fibers = []
    for (let turn = 0; turn < count; turn++) {
      const wait = start + (turn * 1_000) / rate - performance.now()
      if (wait > 0) yield* Effect.promise(() => sleep(wait))
      fibers.push(yield* Effect.forkChild(operation(turn)))
    }
    yield* Fiber.joinAll(fibers)
    return [{ measure: "sent", unit: "messages", value: count }]
  })

/** What is late by more is lost. */
const patience = "10 seconds"

/** Waits until everything that was sent has been received. */
export const allOf = (sent: number, received: () => number): Effect.Effect<void, Cause.TimeoutError> =>
  Effect.suspend(() => received() >= sent ? Effect.void : Effect.fail("more to come")).pipe(
    Effect.retry(Schedule.spaced("10 millis")),
    Effect.orDie,
    Effect.timeout(patience)
  )

export const offer: Measurement = ({ addresses, special }) =>
  Effect.gen(function*() {
    const store = yield* MsgStore.MsgStore
    return yield* offerAtRate(special, (turn) => {
      const address = addresses[turn % addresses.length]
      return address === undefined
        ? Effect.void
        : Effect.suspend(() => store.write({ senderId: address.senderId }, { body: stamp() }))
    })
  })

export const measure: Measurement = ({ addresses, parameters, special }) =>
  Effect.gen(function*() {
    const store = yield* MsgStore.MsgStore
    const recorder = new Recorder()
    let received = 0
    /** Reads a queue until it is empty. Only its first message has been waited for. */
    const drain = (recipientId: (typeof addresses)[number]["recipientId"], woken: bigint) =>
      Effect.gen(function*() {
        let head = yield* store.peek(recipientId)
        if (Option.isSome(head)) recorder.record(stampOf(head.value.body), woken)
        while (Option.isSome(head)) {
          received++
          head = (yield* store.acknowledgeAndPeek(recipientId, head.value.id)).next
        }
      })
    const readers = yield* Effect.forkChild(Effect.forEach(
      addresses,
      ({ recipientId }) =>
        Stream.runForEach(store.arrivals(recipientId), () => drain(recipientId, process.hrtime.bigint())),
      { concurrency: "unbounded", discard: true }
    ))
    const sent = yield* offerElsewhere("msg-store", parameters, special)
    yield* allOf(sent, () => received)
    yield* Fiber.interrupt(readers)
    return quantiles(recorder.latencies)
  })

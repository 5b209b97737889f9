/**
 * Runs a plan: each subject in a process of its own and on a database of its own, one after the other; the floor before and
 * after each pass; subjects in rotating order.
 */
import { Console, Effect } from "effect"
import type { SqlError } from "effect/sql/SqlError"
import type { Job, Report, Step } from "./Job.ts"
import type { Block, Contender } from "./Plan.ts"
import { type Cell, keyOf, type NotMeasured } from "./Results.ts"
import { Server } from "./Server.ts"
import { drift, median, steadyLimit } from "./Statistics.ts"
import type { Sample } from "./Subject.ts"
import * as Visit from "./Visit.ts"

export interface Measured {
  readonly cells: ReadonlyArray<Cell>
  readonly notMeasured: ReadonlyArray<NotMeasured>
  readonly violations: ReadonlyArray<string>
  readonly versions: Readonly<Record<string, string>>
}

/** What one process found: by step, as they were sent. */
interface Seen {
  readonly samples: ReadonlyMap<Step, ReadonlyArray<Sample>>
}

/** One sample of a cell, with the floor around it. */
interface Point {
  readonly cell: Pick<Cell, "measure" | "params" | "role" | "scenario" | "subject" | "unit">
  readonly value: number
  readonly floor: number | undefined
  readonly steady: boolean
}

/** A process that takes this much longer than its steps ask for is stuck: installing, filling and checking included. */
const patience = { factor: 3, seconds: 60 }

/** What only stores a fixed amount has no length: an import of a million messages on a slow disk. */
const secondsOf = ({ action }: Step): number =>
  action._tag === "Special"
    ? action.seconds + 60
    : (action.warmUp + action.seconds) * (action.latency ? 2 : 1) + action.prepare / 5_000

const timeoutOf = ({ queues, steps }: Contender): number =>
  patience.seconds + queues / 1_000 + patience.factor * steps.reduce((sum, step) => sum + secondsOf(step), 0)

const rotated = <A>(items: ReadonlyArray<A>, by: number): ReadonlyArray<A> => {
  const at = items.length === 0 ? 0 : by % items.length
  return [...items.slice(at), ...items.slice(0, at)]
}

const number = (value: number): string => value.toLocaleString("en-US", { maximumSignificantDigits: 4 })

/** The floors by name and measure. A floor that was measured in several ways is the best of them. */
const floorsOf = (seen: Seen | undefined): ReadonlyMap<string, number> => {
  const floors = new Map<string, number>()
  for (const [{ floor }, samples] of seen?.samples ?? []) {
    if (floor === undefined) continue
    for (const { measure, value } of samples) {
      const key = JSON.stringify([floor, measure])
      const other = floors.get(key) ?? value
      floors.set(key, measure === "rate" ? Math.max(other, value) : Math.min(other, value))
    }
  }
  return floors
}

const pointsOf = (
  { label, role }: Contender,
  seen: Seen,
  floorOf: (floor: string | undefined, measure: string) => readonly [number, number] | undefined,
  isSteady: boolean
): ReadonlyArray<Point> =>
  [...seen.samples].flatMap(([{ floor, params, scenario }, samples]) =>
    samples.map(({ measure, unit, value }) => {
      const around = role === "floor" ? undefined : floorOf(floor, measure)
      return {
        cell: { scenario, subject: role === "floor" ? floor ?? label : label, role, params, measure, unit },
        value,
        floor: around === undefined ? undefined : (around[0] + around[1]) / 2,
        steady: around === undefined ? isSteady : drift(...around) <= steadyLimit
      }
    })
  )

export const run = Effect.fnUntraced(function*(
  plan: ReadonlyArray<Block>
): Effect.fn.Return<Measured, SqlError, Server> {
  const server = yield* Server
  const began = performance.now()
  const versions: Record<string, string> = {}
  const violations: Array<string> = []
  const notMeasured = new Map<string, NotMeasured>()
  const points: Array<Point> = []

  const say = (text: string) =>
    Console.error(`${String(Math.round((performance.now() - began) / 1_000)).padStart(5)} s  ${text}`)

  const cannot = (scenario: string, subject: string, reason: string): void => {
    notMeasured.set(JSON.stringify([scenario, subject, reason]), { scenario, subject, reason })
  }

  /** One process, from its database to its end. */
  const visit = (contender: Contender): Effect.Effect<Seen, SqlError> =>
    Effect.scoped(Effect.gen(function*() {
      const { label, steps, subject } = contender
      const url = contender.database ? yield* server.database : ""
      const { bodyBytes, options, pool, queues } = contender
      const job: Job = { subject, url, pool, queues, bodyBytes, options, steps }
      const samples = new Map<Step, ReadonlyArray<Sample>>()
      const onReport = (report: Report): void => {
        if (report._tag === "Opened") Object.assign(versions, report.versions)
        if (report._tag === "Opened" || report._tag === "Failed") return
        const step = steps[report.step]
        if (step === undefined) return
        if (report._tag === "Measured") samples.set(step, report.samples)
        else if (report._tag === "NotMeasured") cannot(step.scenario, label, report.reason)
        else violations.push(`${step.scenario}, ${label}, ${JSON.stringify(step.params)}: ${report.problem}`)
      }
      const failure = yield* Effect.timeoutOrElse(ended(job, onReport), {
        duration: timeoutOf(contender) * 1_000,
        orElse: () => Effect.succeed("it was stopped because it took too long")
      })
      if (failure !== undefined) {
        for (const step of steps) if (!samples.has(step)) cannot(step.scenario, label, failure)
      }
      const found = [...samples].flatMap(([{ params }, [first]]) =>
        first === undefined ? [] : [`${wordsFor(params)}${number(first.value)} ${first.unit}`]
      )
      yield* say(`${label.padEnd(28)} ${found.length === 0 ? "not measured" : found.join("   ")}`)
      return { samples }
    }))

  const pass = Effect.fnUntraced(function*(block: Block, index: number, before: Seen | undefined) {
    const seen = yield* Effect.forEach(
      rotated(block.contenders, index),
      (contender) => Effect.map(visit(contender), (seen) => ({ contender, seen }))
    )
    const after = block.floor === undefined ? undefined : yield* visit(block.floor)
    const first = floorsOf(before)
    const last = floorsOf(after)
    const floorOf = (floor: string | undefined, measure: string): readonly [number, number] | undefined => {
      const key = JSON.stringify([floor, measure])
      const [a, b] = [first.get(key), last.get(key)]
      return a === undefined || b === undefined ? undefined : [a, b]
    }
    // What has no floor of its own is as steady as those of its neighbours.
    const isSteady = [...last].every(([key, value]) => drift(first.get(key) ?? value, value) <= steadyLimit)
    const found = seen.flatMap(({ contender, seen }) => pointsOf(contender, seen, floorOf, isSteady))
    return { after, found }
  })

  for (const block of plan) {
    yield* say(`— ${block.title}`)
    let floor: Seen | undefined
    if (block.floor !== undefined) {
      floor = yield* visit(block.floor)
      points.push(...pointsOf(block.floor, floor, () => undefined, true))
    }
    for (let index = 0; index < block.passes; index++) {
      const passBegan = performance.now()
      let { after, found } = yield* pass(block, index, floor)
      if (block.until === Infinity && found.some(({ steady }) => !steady)) {
        yield* say("  the floor has moved by more than 15 %: once more")
        ;({ after, found } = yield* pass(block, index, after))
      }
      points.push(...found)
      if (block.floor !== undefined && after !== undefined) {
        points.push(...pointsOf(block.floor, after, () => undefined, true))
      }
      floor = after
      const now = performance.now()
      if (now - began + (now - passBegan) > block.until * 1_000) break
    }
  }
  return { cells: cellsOf(points), notMeasured: [...notMeasured.values()], violations, versions }
})

const wordsFor = (params: Step["params"]): string => {
  const words = Object.entries(params).map(([name, value]) => typeof value === "string" ? value : `${name} ${value}`)
  return words.length === 0 ? "" : `${words.join(", ")}: `
}

const ended = (job: Job, onReport: (report: Report) => void): Effect.Effect<string | undefined> =>
  Effect.callback((resume) => {
    const visit = Visit.start(job, onReport)
    void visit.ended.then((failure) => resume(Effect.succeed(failure)))
    // Waits for the end: nothing else may run on the machine beside what is measured next.
    return Effect.promise(() => {
      visit.kill()
      return visit.ended
    })
  })

/** The samples of each cell together. */
const cellsOf = (points: ReadonlyArray<Point>): ReadonlyArray<Cell> => {
  const byCell = Map.groupBy(points, ({ cell }) => keyOf(cell))
  return [...byCell.values()].flatMap((points) => {
    const [first] = points
    const middle = median(points.map(({ value }) => value))
    if (first === undefined || middle === undefined) return []
    const floors = points.flatMap(({ floor }) => floor ?? [])
    const ratios = points.flatMap(({ floor, value }) => floor === undefined ? [] : value / floor)
    return [{
      ...first.cell,
      samples: points.map(({ value }) => value),
      median: middle,
      floor: median(floors) ?? null,
      ratio: median(ratios) ?? null,
      steady: points.every(({ steady }) => steady)
    }]
  })
}

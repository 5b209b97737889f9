/**
 * The goals of the specification (section 6), as far as there are stores for them. Each is a ratio of cells of one run, or of
 * a cell to its floor.
 */
import { floors, label } from "./Plan.ts"
import type { Cell, Results } from "./Results.ts"

export interface Goal {
  readonly id: string
  readonly what: string
  readonly atLeast: boolean
  readonly bound: number
  readonly unit: "×" | "ms" | "/s"
  /** What it is in this run, and against whom; none if it was not measured. */
  readonly found: (cells: Cells) => Found | undefined
}

export interface Found {
  readonly value: number
  readonly against?: string | undefined
  readonly steady: boolean
}

export interface Verdict extends Omit<Goal, "found"> {
  readonly found: Found | undefined
  readonly met: boolean | undefined
}

type Params = Cell["params"]

/** Questions to a run. */
class Cells {
  readonly #cells: ReadonlyArray<Cell>

  constructor(cells: ReadonlyArray<Cell>) {
    this.#cells = cells
  }

  /** Those of a scenario that have these parameters, among others perhaps. */
  all(scenario: string, params: Params, measure = "rate"): ReadonlyArray<Cell> {
    const entries = Object.entries(params)
    return this.#cells.filter((cell) =>
      cell.scenario === scenario && cell.measure === measure &&
      entries.every(([name, value]) => cell.params[name] === value)
    )
  }

  one(subject: string, scenario: string, params: Params, measure = "rate"): Cell | undefined {
    return this.all(scenario, params, measure).find((cell) => cell.subject === subject)
  }

  bestPeer(scenario: string, params: Params): Cell | undefined {
    return best(this.all(scenario, params).filter(({ role }) => role === "peer"))
  }
}

export type { Cells }

/** For rates: the fastest. */
const best = (cells: ReadonlyArray<Cell>): Cell | undefined => cells.toSorted((a, b) => b.median - a.median)[0]

const both = (cell: Cell | undefined, other: Cell | undefined): Found | undefined =>
  cell === undefined || other === undefined
    ? undefined
    : { value: cell.median / other.median, against: other.subject, steady: cell.steady && other.steady }

const toFloor = (cell: Cell | undefined): Found | undefined =>
  cell === undefined || cell.ratio === null ? undefined : { value: cell.ratio, steady: cell.steady }

const itself = (cell: Cell | undefined): Found | undefined =>
  cell === undefined ? undefined : { value: cell.median, steady: cell.steady }

/** The worst of several, all of which have to be there. */
const worst = (atLeast: boolean, found: ReadonlyArray<Found | undefined>): Found | undefined => {
  const all = found.flatMap((one) => one ?? [])
  if (all.length === 0 || all.length < found.length) return undefined
  return all.reduce((a, b) => (a.value < b.value) === atLeast ? a : b)
}

const ours = label.coalescing

const againstPeer = (scenario: string, params: Params) => (cells: Cells) =>
  both(cells.one(ours, scenario, params), cells.bestPeer(scenario, params))

/** The cells of S10, minute after minute. */
const minutes = (cells: Cells, measure: string): ReadonlyArray<Cell> => {
  const found: Array<Cell> = []
  for (let minute = 1;; minute++) {
    const cell = cells.one(ours, "S10", {}, `${measure}, minute ${minute}`)
    if (cell === undefined) return found
    found.push(cell)
  }
}

export const goals: ReadonlyArray<Goal> = [
  {
    id: "H1",
    what: "single durable write, 64 fibers, against the best peer",
    atLeast: true,
    bound: 6,
    unit: "×",
    found: againstPeer("S1", { fibers: 64 })
  },
  {
    id: "H2",
    what: "single durable write, 256 fibers, against the best peer",
    atLeast: true,
    bound: 8,
    unit: "×",
    found: againstPeer("S1", { fibers: 256 })
  },
  {
    id: "H3",
    what: `single durable write, 256 fibers, against ${floors.insertMany(256)}`,
    atLeast: true,
    bound: 0.6,
    unit: "×",
    found: (cells) => toFloor(cells.one(ours, "S1", { fibers: 256 }))
  },
  {
    id: "H4",
    what: "write, take and settle, 64 fibers, against the best peer",
    atLeast: true,
    bound: 8,
    unit: "×",
    found: againstPeer("S3", { fibers: 64, kind: "send, take, settle" })
  },
  {
    id: "H5 in",
    what: "import of 100,000 messages against COPY in",
    atLeast: true,
    bound: 0.5,
    unit: "×",
    found: (cells) => toFloor(cells.one(ours, "S15", { kind: "import", messages: 100_000 }))
  },
  {
    id: "H5 out",
    what: "export of 100,000 messages against COPY out",
    atLeast: true,
    bound: 0.5,
    unit: "×",
    found: (cells) => toFloor(cells.one(ours, "S15", { kind: "export", messages: 100_000 }))
  },
  {
    id: "H6",
    what: "single durable write, 1,024 fibers against the best number of fibers",
    atLeast: true,
    bound: 0.9,
    unit: "×",
    found: (cells) => {
      const mine = cells.all("S1", {}).filter(({ subject }) => subject === ours)
      const found = both(mine.find(({ params }) => params["fibers"] === 1_024), best(mine))
      return found === undefined ? undefined : { ...found, against: `${best(mine)?.params["fibers"]} fibers` }
    }
  },
  {
    id: "H7",
    what: "single durable write, one fiber: latency through the lane against a direct call",
    atLeast: false,
    bound: 1.1,
    unit: "×",
    found: (cells) => itself(cells.one(ours, "S1", { fibers: 1 }, "ratio"))
  },
  {
    id: "H8",
    what: "peek p99, 1,000,000 messages in 100,000 queues against 1,000 in 100",
    atLeast: false,
    bound: 1.3,
    unit: "×",
    found: (cells) => itself(cells.one(ours, "S11", { messages: 1_000_000 }, "ratio"))
  },
  {
    id: "H9",
    what: "memory store: write + acknowledge against two bare TxRef.modify",
    atLeast: false,
    bound: 2.5,
    unit: "×",
    found: (cells) => toFloor(cells.one(label.memory, "S14", { queues: 1_000, depth: 0 }, "time"))
  },
  {
    id: "H10",
    what: "wake-up from write to arrivals in another process, p50",
    atLeast: false,
    bound: 5,
    unit: "ms",
    found: (cells) => itself(cells.one(ours, "S8", { rate: 10 }, "p50"))
  },
  {
    id: "G1",
    what: `coalesce: false, 64 fibers, against ${floors.insertOne(64)}`,
    atLeast: true,
    bound: 0.6,
    unit: "×",
    found: (cells) => toFloor(cells.one(label.single, "S1", { fibers: 64 }))
  },
  {
    id: "G2",
    what: `batches of 1,000 against ${floors.insertMany(1_000)}`,
    atLeast: true,
    bound: 0.7,
    unit: "×",
    found: (cells) => toFloor(cells.one(ours, "S2", { batch: 1_000, callers: 8 }))
  },
  {
    id: "G3",
    what: "100,000 queues against 1,000: send, cycle and batch consume, the worst",
    atLeast: true,
    bound: 0.8,
    unit: "×",
    found: (cells) =>
      worst(
        true,
        [{ kind: "send" }, { kind: "cycle" }, { kind: "batch consume" }].map((params) =>
          both(
            cells.one(ours, "S6", { ...params, queues: 100_000 }),
            cells.one(ours, "S6", { ...params, queues: 1_000 })
          )
        )
      )
  },
  {
    id: "G4",
    what: "the ratio of H3 at 100 B and at 16 KiB against 1 KiB, the worst",
    atLeast: true,
    bound: 0.8,
    unit: "×",
    found: (cells) => {
      const at = (bodyBytes: number) => toFloor(cells.one(ours, "S7", { bodyBytes, kind: "send" }))
      const middle = at(1_024)
      return worst(
        true,
        [100, 16_384].map((bodyBytes) => {
          const found = at(bodyBytes)
          return middle === undefined || found === undefined
            ? undefined
            : { value: found.value / middle.value, steady: found.steady && middle.steady }
        })
      )
    }
  },
  {
    id: "G5",
    what: "an old transaction held open: rate of the last minute against what was offered",
    atLeast: true,
    bound: 0.95,
    unit: "×",
    found: (cells) => {
      const last = minutes(cells, "rate").at(-1)
      return last === undefined
        ? undefined
        : { value: last.median / Number(last.params["offered"]), steady: last.steady }
    }
  },
  {
    id: "G5 p99",
    what: "an old transaction held open: p99 of the last minute against the first",
    atLeast: false,
    bound: 1.5,
    unit: "×",
    found: (cells) => {
      const all = minutes(cells, "p99")
      return all.length < 2 ? undefined : both(all.at(-1), all[0])
    }
  },
  {
    id: "G6",
    what: "send and batch consume at the most stored messages against 1,000, the worst",
    atLeast: true,
    bound: 0.8,
    unit: "×",
    found: (cells) =>
      worst(
        true,
        ["send", "batch consume"].map((kind) => {
          const all = cells.all("S11", { kind }).toSorted((a, b) =>
            Number(a.params["stored"]) - Number(b.params["stored"])
          )
          return all.length < 2 ? undefined : both(all.at(-1), all[0])
        })
      )
  },
  {
    id: "G7",
    what: `bytes on disk at 1 KiB against ${floors.table}`,
    atLeast: false,
    bound: 1.5,
    unit: "×",
    found: (cells) => toFloor(cells.one(ours, "S12", {}, "disk"))
  },
  {
    id: "G7 WAL",
    what: `WAL of a single write at 256 fibers against ${floors.insertMany(256)}`,
    atLeast: false,
    bound: 1.5,
    unit: "×",
    found: (cells) => toFloor(cells.one(ours, "S1", { fibers: 256 }, "WAL"))
  },
  {
    id: "G8",
    what: "statements of a process with 1,000 waiting readers",
    atLeast: false,
    bound: 1,
    unit: "/s",
    found: (cells) => itself(cells.one(ours, "S13", { receivers: 1_000 }, "statements"))
  },
  {
    id: "G9",
    what: "memory store at 100,000 messages in a queue or 100,000 queues against depth 1, the worst",
    atLeast: false,
    bound: 2,
    unit: "×",
    found: (cells) => {
      const at = (queues: number, depth: number) =>
        cells.one(label.memory, "S14", { queues, depth, kind: "send + settle" }, "time")
      const small = at(1, 1)
      return worst(false, [both(at(1, 100_000), small), both(at(100_000, 1), small)])
    }
  }
]

/** In the order of the specification; also those that were not measured. */
export const judge = ({ cells }: Pick<Results, "cells">): ReadonlyArray<Verdict> => {
  const all = new Cells(cells)
  return goals.map(({ found: find, ...goal }) => {
    const found = find(all)
    return {
      ...goal,
      found,
      met: found === undefined ? undefined : goal.atLeast ? found.value >= goal.bound : found.value <= goal.bound
    }
  })
}

/**
 * The benchmark: what it calculates, what it says, and that it measures and notices what it should, on a very small plan.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Option, Redacted, Schema } from "effect"
import { spawnSync } from "node:child_process"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { MsgStore } from "restante"
import { afterAll } from "vitest"
import * as Compare from "../packages/bench/src/Compare.ts"
import * as Fleet from "../packages/bench/src/Fleet.ts"
import * as Goals from "../packages/bench/src/Goals.ts"
import { Histogram } from "../packages/bench/src/Histogram.ts"
import * as Loop from "../packages/bench/src/Loop.ts"
import * as Plan from "../packages/bench/src/Plan.ts"
import * as Plot from "../packages/bench/src/Plot.ts"
import * as Report from "../packages/bench/src/Report.ts"
import { type Cell, Results } from "../packages/bench/src/Results.ts"
import * as Runner from "../packages/bench/src/Runner.ts"
import { Server } from "../packages/bench/src/Server.ts"
import { drift, median } from "../packages/bench/src/Statistics.ts"
import type { Run, Session } from "../packages/bench/src/Subject.ts"
import * as Loops from "../packages/bench/src/subjects/msgStore.ts"
import * as Workers from "../packages/bench/src/Workers.ts"
import * as PostgresDatabase from "./PostgresDatabase.ts"

describe("statistics", () => {
  it("the median is the one in the middle, or between the two in the middle, and never the best", () => {
    assert.strictEqual(median([9, 1, 5]), 5)
    assert.strictEqual(median([4, 1, 2, 100]), 3)
    assert.isUndefined(median([]))
  })

  it("drift is the difference against the mean of both", () => {
    assert.closeTo(drift(90, 110), 0.2, 1e-9)
    assert.strictEqual(drift(5, 5), 0)
  })
})

describe("the histogram", () => {
  it("gives quantiles with an error of at most 1 %", () => {
    const histogram = new Histogram()
    for (let i = 1; i <= 10_000; i++) histogram.record(i / 100)
    for (const share of [0.5, 0.9, 0.99, 0.999, 1]) {
      const expected = share * 100
      assert.closeTo(histogram.quantile(share) ?? 0, expected, expected * 0.01)
    }
  })

  it("has no quantiles of nothing, and keeps what is out of its range at its ends", () => {
    const histogram = new Histogram()
    assert.isUndefined(histogram.quantile(0.5))
    histogram.record(0)
    histogram.record(1e12)
    assert.strictEqual(histogram.total, 2)
    assert.strictEqual(histogram.quantile(0.5), 0.001)
    assert.isAbove(histogram.quantile(1) ?? 0, 900_000)
  })
})

describe("the messages that are measured", () => {
  it("an id tells the number of its message, and no two numbers have the same id", () => {
    const numbers = [0, 1, 2, 77, 65_536, 2 ** 31, 2 ** 32 - 1]
    assert.deepStrictEqual(numbers.map((number) => Fleet.numberOf(Fleet.idOf(number))), numbers)
    assert.strictEqual(new Set(Array.from({ length: 10_000 }, (_, i) => Fleet.idOf(i))).size, 10_000)
  })

  it("a log has every message once, spread evenly over the queues", () => {
    const addresses = Fleet.addresses(3)
    const log = [...Fleet.log({ addresses, messages: 8, bodyBytes: 5, first: 40 })].join("").trimEnd().split("\n")
    const messages = log.filter((line) => line.startsWith(`{"t":"message"`))
    assert.deepStrictEqual(
      addresses.map(({ recipientId }) => messages.filter((line) => line.includes(recipientId)).length),
      [3, 3, 2]
    )
    const ids = messages.map((line) => /"id":"([^"]+)"/.exec(line)?.[1])
    assert.deepStrictEqual(new Set(ids), new Set(Array.from({ length: 8 }, (_, i) => Fleet.idOf(40 + i))))
    assert.strictEqual(log.at(-1), `{"t":"end","queues":3,"entries":8}`)
  })
})

const nothing = () => Promise.resolve()

const tick = () => new Promise<void>((resolve) => setImmediate(resolve))

/** A subject whose operations take no time, and stall as they are told to. */
const sessionOf = (operation: (turn: number) => Promise<void>): Session => {
  let turn = 0
  const worker = async ({ done, due, isOver }: Run) => {
    while (!isOver()) {
      const began = due === undefined ? performance.now() : await due()
      if (began === undefined) return
      await operation(turn++)
      done(1, began)
    }
  }
  return {
    run: async (_work, run) => {
      await Promise.all(Array.from({ length: run.concurrency }, () => worker(run)))
    },
    prepare: nothing,
    clear: nothing,
    check: () => Promise.resolve(undefined),
    close: nothing
  }
}

describe("the loop", () => {
  const loop = { work: "send", concurrency: 1, batch: 1, warmUp: 0, seconds: 0.2 } as const

  it("counts what is done after the warm-up", async () => {
    const { messages, rate } = await Loop.run(sessionOf(tick), { ...loop, warmUp: 0.1 })
    assert.isAbove(rate, 0)
    assert.isBelow(rate * loop.seconds, messages)
  })

  it("counts the delay of operations that a stalled subject let wait", async () => {
    // All operations of the first tenth of a second wait for the first one, which takes that long.
    const stalled = new Promise<void>((resolve) => setTimeout(resolve, 100))
    const { latencies } = await Loop.run(sessionOf((turn) => turn === 0 ? stalled : Promise.resolve()), loop, 1_000)
    assert.isAbove(latencies.quantile(0.5) ?? 0, 0)
    assert.isAbove(latencies.quantile(0.9) ?? 0, 30)
  })
})

const environment: Results["environment"] = {
  date: "2026-01-01T00:00:00.000Z",
  mode: "quick",
  commit: "0",
  node: "v24",
  server: "18",
  settings: { fsync: "on" },
  versions: { restante: "0" },
  machine: { processor: "p", cores: 2, memoryGiB: 8, fileSystem: "0x1", flush: 1 },
  load: 0,
  seconds: 1
}

const cell = (given: Partial<Cell>): Cell => ({
  scenario: "S1",
  subject: Plan.label.coalescing,
  role: "ours",
  params: { fibers: 64 },
  measure: "rate",
  unit: "msg/s",
  samples: [given.median ?? 1_000],
  median: 1_000,
  floor: null,
  ratio: null,
  steady: true,
  ...given
})

const resultsOf = (cells: ReadonlyArray<Cell>): Results => ({
  version: 1,
  environment,
  cells,
  notMeasured: [{ scenario: "S1", subject: "absent", reason: "not installed" }],
  violations: []
})

const slow = cell({ subject: "slow", role: "peer", median: 100 })
const fast = cell({ subject: "fast", role: "peer", median: 200 })

describe("goals and report", () => {
  it("a goal against peers is judged by the fastest of them", () => {
    const verdict = Goals.judge(resultsOf([cell({}), slow, fast])).find(({ id }) => id === "H1")
    assert.strictEqual(verdict?.found?.value, 5)
    assert.strictEqual(verdict?.found?.against, "fast")
    assert.isFalse(verdict?.met)
  })

  it("a goal that was not measured is neither met nor missed, and is in the report all the same", () => {
    const results = resultsOf([cell({})])
    assert.isUndefined(Goals.judge(results).find(({ id }) => id === "H10")?.met)
    assert.match(Report.render(results), /H10 .* not measured/)
  })

  it("says what a peer does better, what was not measured and why, and what was violated", () => {
    const better = cell({ subject: "better", role: "peer", median: 3_000 })
    const text = Report.render({ ...resultsOf([cell({}), better]), violations: ["a message is lost"] })
    assert.include(text, "better 3 × MsgStore")
    assert.include(text, "S1, absent: not installed")
    assert.include(text, "a message is lost")
  })

  it("results survive being written and read", () => {
    const results = resultsOf([cell({ floor: 2, ratio: 500 }), slow])
    const text = JSON.stringify(Schema.encodeSync(Results)(results))
    assert.deepStrictEqual(Schema.decodeUnknownSync(Schema.fromJsonString(Results))(text), results)
  })
})

describe("comparing two runs", () => {
  it("tells of ratios that moved by more than 10 %, and of no numbers", () => {
    const before = resultsOf([cell({ ratio: 0.5 }), fast])
    const same = resultsOf([cell({ ratio: 0.54, median: 10_000 }), { ...fast, median: 2_000 }])
    assert.deepStrictEqual(Compare.compare(before, same), [])
    const moved = Compare.compare(before, resultsOf([cell({ ratio: 0.4, median: 500 }), fast]))
    assert.deepStrictEqual(moved.map(({ after, before }) => [before, after]), [[5, 2.5], [0.5, 0.4]])
    assert.include(Compare.render(moved), "-20 %")
  })

  it("does not compare what was unsteady", () => {
    const before = resultsOf([cell({ ratio: 0.5 })])
    assert.deepStrictEqual(Compare.compare(before, resultsOf([cell({ ratio: 0.1, steady: false })])), [])
  })
})

describe("pictures", () => {
  it("shows each subject and the floor as a line, and leaves out what there is nothing for", () => {
    const name = Plan.floors.insertMany(256)
    const plots = Plot.plots(resultsOf([
      cell({}),
      cell({ params: { fibers: 256 }, median: 4_000 }),
      cell({ scenario: "floor", subject: name, role: "floor", params: { batch: 256 }, median: 9_000 })
    ]))
    assert.deepStrictEqual([...plots.keys()], ["sends.svg"])
    const svg = plots.get("sends.svg") ?? ""
    assert.strictEqual(svg.match(/<path /g)?.length, 2)
    assert.include(svg, `<path class="floor"`)
    assert.notInclude(svg, "NaN")
  })
})

describe("the plan", () => {
  it("of some scenarios has these, and only the floors that they are compared with", () => {
    const plan = Plan.make({ quick: true, only: ["S15"], stored: 0, held: 1 })
    const steps = plan.flatMap(({ contenders }) => contenders.flatMap(({ steps }) => steps))
    assert.deepStrictEqual(new Set(steps.map(({ scenario }) => scenario)), new Set(["S15"]))
    assert.isDefined(plan[0]?.floor)
  })

  it("that is quick measures what every headline goal needs", () => {
    const plan = Plan.make({ quick: true, only: [], stored: 0, held: 1 })
    const cells = plan.flatMap(({ contenders }) =>
      contenders.flatMap(({ label, role, steps }) =>
        steps.flatMap(({ params, scenario }) =>
          ["rate", "time", "ratio", "p50"].map((measure) =>
            cell({ scenario, subject: label, role, params, measure, ratio: 1, floor: 1 })
          )
        )
      )
    )
    const headlines = Goals.judge(resultsOf(cells)).filter(({ id }) => id.startsWith("H"))
    assert.deepStrictEqual(headlines.filter(({ found }) => found === undefined), [])
  })
})

type Store = MsgStore.MsgStore["Service"]

/** What the loops find in a memory store that is changed in this way. */
const found = (work: "send" | "cycle", change: (store: Store) => Store): Promise<string | undefined> =>
  Effect.gen(function*() {
    const loops = yield* Loops.make(change(yield* MsgStore.MsgStore), Fleet.addresses(4), 10)
    let left = 40
    const run: Run = { concurrency: 2, batch: 1, isOver: () => left-- <= 0, done: () => {} }
    yield* Workers.run(run, 4, loops.operations(run)[work])
    return yield* loops.check
  }).pipe(Effect.provide(MsgStore.layerMemory({ defaultQuota: 1_000 })), Effect.runPromise)

/** Says that it has stored a message, and has not. */
const losing = (store: Store): Store => {
  let writes = 0
  return {
    ...store,
    write: (target, message) =>
      writes++ === 20
        ? Effect.succeed({ _tag: "Accepted", wasEmpty: false, sequence: 1n })
        : store.write(target, message)
  }
}

/** Answers as if it had removed the head, and leaves it. */
const repeating = (store: Store): Store => ({
  ...store,
  acknowledgeAndPeek: (recipientId, _id) =>
    Effect.map(store.peekBatch(recipientId, { limit: 2 }), ([head, next]) => ({
      acknowledged: Option.fromUndefinedOr(head),
      next: Option.fromUndefinedOr(next)
    }))
})

const same = (store: Store): Store => store

describe("the check of what is measured", () => {
  it("finds nothing wrong with a right store", async () => {
    assert.isUndefined(await found("send", same))
    assert.isUndefined(await found("cycle", same))
  })

  it("finds a message that is lost", async () => {
    assert.strictEqual(await found("send", losing), "39 messages are stored, and should be 40")
    assert.strictEqual(await found("cycle", losing), "a message is lost, or another one is in front of it")
  })

  it("finds a message that comes twice", async () => {
    assert.strictEqual(await found("cycle", repeating), "a message that was taken is not there any more")
  })
})

const url = await PostgresDatabase.open()

/** Each subject gets a clone of the template: it makes a schema of its own, or finds that of the store installed. */
const testServer = Layer.succeed(Server, {
  version: "18",
  settings: {},
  database: Effect.map(PostgresDatabase.clone, ({ url }) => Redacted.value(url)).pipe(Effect.orDie)
})

const shorter = (contender: Plan.Contender): Plan.Contender => ({
  ...contender,
  queues: Math.min(contender.queues, 20),
  steps: contender.steps.map((step) => ({
    ...step,
    action: step.action._tag === "Loop"
      ? { ...step.action, warmUp: 0, seconds: 0.1, prepare: Math.min(step.action.prepare, 100), concurrency: 4 }
      : { ...step.action, seconds: 0.1 }
  }))
})

const tiny = (block: Plan.Block): Plan.Block => {
  return {
    ...block,
    passes: 1,
    until: 0,
    floor: block.floor === undefined ? undefined : shorter(block.floor),
    contenders: block.contenders.filter(({ role }) => role === "ours").map(shorter)
  }
}

describe("the runner", () => {
  it("measures floors and stores, each in a process of its own, and finds nothing lost or twice", () =>
    Effect.gen(function*() {
      const [sends] = Plan.make({ quick: true, only: ["S1", "S3"], stored: 0, held: 1 })
        .filter(({ title }) => title.startsWith("sends"))
      if (sends === undefined) return assert.fail("the plan has no sends")
      const { cells, notMeasured, versions, violations } = yield* Runner.run([tiny(sends)])
      assert.deepStrictEqual({ notMeasured, violations }, { notMeasured: [], violations: [] })
      const rate = cells.find(({ measure, params, subject }) =>
        subject === Plan.label.coalescing && measure === "rate" && params["fibers"] === 256
      )
      assert.isAbove(rate?.median ?? 0, 0)
      assert.isAbove(rate?.ratio ?? 0, 0)
      assert.property(versions, "restante")
    }).pipe(Effect.provide(testServer), Effect.runPromise))

  it("goes on without a subject that cannot be measured, and says why", () =>
    Effect.gen(function*() {
      const contender: Plan.Contender = {
        label: "nobody",
        role: "peer",
        subject: "no-such-subject",
        options: {},
        queues: 1,
        bodyBytes: 1,
        pool: 1,
        database: false,
        steps: [{ scenario: "S1", params: {}, action: { _tag: "Special", name: "anything", seconds: 0 } }]
      }
      const { cells, notMeasured } = yield* Runner.run([{ title: "", passes: 1, until: 0, contenders: [contender] }])
      assert.deepStrictEqual(cells, [])
      assert.deepStrictEqual(notMeasured, [
        { scenario: "S1", subject: "nobody", reason: "there is no subject no-such-subject" }
      ])
    }).pipe(Effect.provide(testServer), Effect.runPromise))
})

const folder = mkdtempSync(join(tmpdir(), "restante-bench-test-"))
afterAll(() => rmSync(folder, { recursive: true }))

const main = fileURLToPath(new URL("../packages/bench/src/main.ts", import.meta.url))

const bench = (...words: ReadonlyArray<string>) =>
  spawnSync(process.execPath, [main, ...words], {
    encoding: "utf8",
    env: { ...process.env, INIT_CWD: folder, DATABASE_URL: Redacted.value(url) }
  })

describe("the command", () => {
  it("refuses a server that would lose what it has answered", () => {
    const { status, stderr } = bench("--quick", "--only", "S1")
    assert.strictEqual(status, 1)
    assert.include(stderr, "fsync = off")
  })

  it("refuses wrong arguments in words", () => {
    writeFileSync(join(folder, "wrong.json"), "{}")
    const refused: ReadonlyArray<readonly [string, ReadonlyArray<string>]> = [
      ["there is no scenario S99", ["--only", "S99"]],
      ["--compare takes two files", ["--compare", "a.json"]],
      ["none.json cannot be read", ["--plot", "none.json"]],
      ["wrong.json does not hold results", ["--plot", "wrong.json"]],
      ["quik", ["--quik"]]
    ]
    for (const [words, given] of refused) {
      const { status, stderr } = bench(...given)
      assert.strictEqual(status, 1, given.join(" "))
      assert.include(stderr, words)
    }
  })
})

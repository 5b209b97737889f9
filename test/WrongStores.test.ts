/**
 * Proves that the suite can fail: each store in `wrong-stores/` has one mistake, and the cases that its file names have to
 * catch it. At the end it prints, for each mistake, how many of them did.
 */
import { MsgStoreCases, MsgStoreModel } from "@restante/conformance"
import { Effect } from "effect"
import { execFile } from "node:child_process"
import { readdirSync } from "node:fs"
import { promisify } from "node:util"
import { MsgStore } from "restante"
import { afterAll, assert, describe, it } from "vitest"
import { ofModel, type WrongStore } from "./wrong-stores/WrongStore.ts"

// Found by reading the folder, so that none can be forgotten.
const names = readdirSync(new URL("./wrong-stores/", import.meta.url))
  .filter((file) => file !== "WrongStore.ts")
  .map((file) => file.replace(/\.ts$/, ""))

const load = async (name: string): Promise<WrongStore> => {
  const module: { readonly store: WrongStore } = await import(`./wrong-stores/${name}.ts`)
  return module.store
}

// The random histories are judged by themselves: they find nearly everything, and would hide what the cases find.
const isHistories = (test: MsgStoreCases.Case) => test.spec.includes("87")

const aboutReopening = (test: MsgStoreCases.Case) => test.requires?.survivesReopen !== undefined

const run = (
  layer: MsgStoreCases.Constructor,
  only: (test: MsgStoreCases.Case) => boolean,
  features: MsgStoreCases.Features = {}
) =>
  Effect.runPromise(MsgStoreCases.run(layer, features, {
    // The same histories in each run, so that what they find is a fact and not luck.
    histories: 120,
    seed: "wrong stores",
    only
  }))

/** Cases of section 12 first, in their order, then rules and invariants. */
const sorted = (numbers: Iterable<string>) => {
  const all = [...new Set(numbers)]
  const cases = all.filter((number) => /^\d+$/.test(number))
  const others = all.filter((number) => !cases.includes(number))
  return [...cases.toSorted((a, b) => Number(a) - Number(b)), ...others.toSorted()]
}

/** The operations of the history that an explanation shows, and the answer that differs. */
const scriptIn = (explanation: string | undefined) => explanation?.split("\n").slice(1)

describe("a right store", () => {
  it("that is the memory store is caught by no case", async () => {
    const report = await run((limits) => MsgStore.layerMemory(limits), () => true)
    assert.strictEqual(
      MsgStoreCases.reportText({ ...report, skipped: [] }),
      `${report.passed.length} passed, 0 failed, 0 skipped`
    )
    assert.strictEqual(report.passed.length + report.skipped.length, MsgStoreCases.cases.length)
  })

  it("that is made of the model is caught by no case: the judge keeps the contract that it judges by", async () => {
    const report = await run(ofModel(MsgStoreModel.MsgStoreModel), () => true)
    assert.strictEqual(
      MsgStoreCases.reportText({ ...report, skipped: [] }),
      `${report.passed.length} passed, 0 failed, 0 skipped`
    )
  })
})

describe("a store that survives its layer", () => {
  // Storage that all layers of one constructor open.
  const queues: Array<MsgStoreModel.ModelQueue> = []
  const durable = ofModel(
    class extends MsgStoreModel.MsgStoreModel {
      override readonly queues = queues
    }
  )

  it("is caught by no case when it says so", async () => {
    const report = await run(durable, (test) => !isHistories(test), {
      survivesReopen: true,
      empty: ofModel(MsgStoreModel.MsgStoreModel)
    })
    assert.strictEqual(
      MsgStoreCases.reportText(report).split("\n").at(-1),
      `${report.passed.length} passed, 0 failed, 1 skipped`
    )
  })

  it("is caught when it does not say so", async () => {
    const { failed } = await run(durable, aboutReopening)
    assert.deepEqual(failed.map((end) => end.case.spec), [["76"]])
  })

  it("and a store that only says so are told apart", async () => {
    const { failed, passed } = await run(MsgStore.layerMemory, aboutReopening, {
      survivesReopen: true
    })
    assert.deepEqual(passed, [])
    assert.deepEqual(sorted(failed.flatMap((end) => end.case.spec)).slice(0, 3), ["17", "36", "76"])
  })
})

describe("a wrong store", () => {
  const summary: Array<string> = []
  afterAll(() => {
    console.info(summary.toSorted().join("\n"))
  })

  it.each(names)("%s is caught by the cases that its file names", async (name) => {
    const wrong = await load(name)
    // Only the cases that are named to catch it: all of them, on more than a hundred stores, take as long as all other tests.
    const { failed, passed } = await run(
      wrong.layer,
      (test) => !isHistories(test) && test.spec.some((number) => wrong.caughtBy.includes(number))
    )
    const numbers = sorted(failed.flatMap((end) => end.case.spec))
    summary.push(
      `${name} ${wrong.mistake}: caught by ${failed.length} of ${failed.length + passed.length} cases on its subject` +
        (wrong.caughtByHistories ? ", and by random histories" : ", not by random histories")
    )
    assert.isAbove(wrong.caughtBy.length, 0, "a wrong store names the cases that have to catch it")
    assert.deepEqual(wrong.caughtBy.filter((number) => !numbers.includes(number)), [], "numbers that did not catch it")
  })

  it.each(names)("%s is caught by random histories alone, or not, as its file says", async (name) => {
    const wrong = await load(name)
    const { failed, passed } = await run(wrong.layer, isHistories)
    assert.strictEqual(failed.length + passed.length, 2)
    assert.strictEqual(failed.length > 0, wrong.caughtByHistories)
    for (const { failure } of failed) {
      // What a person needs: the operations, the answer that differs, and a way to see it again.
      assert.match(failure.explanation, / -> expected .+, got .+/)
      assert.match(failure.explanation, /replay: /)
    }
  })

  it("is shown again by the replay token that its failure printed", async () => {
    const wrong = await load("QuotaOffByOne")
    const { failed } = await run(wrong.layer, isHistories)
    const replay = failed[0]?.failure.explanation.split("replay: ")[1]
    const again = await Effect.runPromise(MsgStoreCases.run(wrong.layer, {}, { replay, only: isHistories }))
    assert.isAbove(scriptIn(failed[0]?.failure.explanation)?.length ?? 0, 3)
    assert.deepEqual(scriptIn(again.failed[0]?.failure.explanation), scriptIn(failed[0]?.failure.explanation))
  })
})

describe("a plain program", () => {
  it("runs the cases without loading vitest", async () => {
    const program = `
      import { registerHooks } from "node:module"
      registerHooks({
        resolve: (specifier, context, next) => {
          if (specifier.includes("vitest")) throw new Error("the cases load " + specifier)
          return next(specifier, context)
        }
      })
      const { MsgStoreCases } = await import("@restante/conformance")
      const { MsgStore } = await import("restante")
      const { Effect } = await import("effect")
      const report = await Effect.runPromise(MsgStoreCases.run((limits) => MsgStore.layerMemory(limits), {}, { histories: 40 }))
      console.log(MsgStoreCases.reportText({ ...report, skipped: [] }))`
    const { stdout } = await promisify(execFile)(process.execPath, ["--input-type=module", "--eval", program], {
      cwd: import.meta.dirname
    })
    assert.match(stdout, /^\d\d\d passed, 0 failed, 0 skipped\n$/)
  })
})

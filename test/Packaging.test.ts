/**
 * What somebody gets who installs the packages: everything exported loads under plain Node, what is internal does not, and
 * `restante` brings nothing but `effect`.
 */
import { assert, describe, it } from "@effect/vitest"
import { execFileSync } from "node:child_process"
import { readdirSync, readFileSync } from "node:fs"
import { fileURLToPath } from "node:url"

const packages = new URL("../packages/", import.meta.url)
const importer = fileURLToPath(new URL("fixtures/packaging/import.ts", import.meta.url))

interface Manifest {
  readonly name: string
  /** Nobody installs it. */
  readonly private?: boolean
  readonly dependencies?: Readonly<Record<string, string>>
  readonly peerDependencies?: Readonly<Record<string, string>>
}

const manifests = readdirSync(packages).map((directory) => {
  const manifest: Manifest = JSON.parse(readFileSync(new URL(`${directory}/package.json`, packages), "utf8"))
  return { directory, ...manifest }
}).filter((manifest) => manifest.private !== true)

/** The public modules of a package, as somebody imports them. */
const specifiersOf = ({ directory, name }: { readonly directory: string; readonly name: string }) => [
  name,
  ...readdirSync(new URL(`${directory}/src`, packages))
    .filter((file) => file.endsWith(".ts") && file !== "index.ts")
    .map((file) => `${name}/${file.slice(0, -".ts".length)}`)
]

const load = (...specifiers: ReadonlyArray<string>): ReadonlyArray<string> =>
  JSON.parse(execFileSync(process.execPath, [importer, ...specifiers], { encoding: "utf8", stdio: "pipe" }))

describe("packages", () => {
  it("restante loads nothing but effect", () => {
    const restante = manifests.find((manifest) => manifest.name === "restante") ?? assert.fail("no package restante")
    const foreign = load(...specifiersOf(restante)).filter((url) =>
      !url.includes("/packages/core/dist/") && !url.includes("/node_modules/effect/dist/")
    )
    assert.deepStrictEqual(foreign, [])
    assert.isUndefined(restante.dependencies)
    assert.deepStrictEqual(Object.keys(restante.peerDependencies ?? {}), ["effect"])
  })

  for (const manifest of manifests) {
    // A suite registers itself with vitest, so its module loads where vitest runs; all others load anywhere.
    const specifiers = specifiersOf(manifest).filter((specifier) => specifier !== "@restante/conformance/MsgStoreSuite")
    it(`${manifest.name}: every export loads under plain Node`, () => {
      for (const specifier of specifiers) assert.isNotEmpty(load(specifier), specifier)
    })

    it(`${manifest.name}: what is internal cannot be imported`, () => {
      assert.throws(() => load(`${manifest.name}/internal/anything`), /ERR_PACKAGE_PATH_NOT_EXPORTED/)
    })
  }
})

/**
 * The demo and the examples, run as a person runs them.
 */
import { assert, describe, it } from "@effect/vitest"
import { Redacted } from "effect"
import { spawnSync } from "node:child_process"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { afterAll } from "vitest"
import * as PostgresDatabase from "./PostgresDatabase.ts"

const examples = fileURLToPath(new URL("../examples/", import.meta.url))
const folder = mkdtempSync(join(tmpdir(), "restante-demo-"))
afterAll(() => rmSync(folder, { recursive: true }))

const run = (
  program: string,
  parameters: ReadonlyArray<string>,
  environment: Readonly<Record<string, string>> = {}
) => {
  const { DATABASE_URL: _, ...inherited } = process.env
  const { status, stderr, stdout } = spawnSync(process.execPath, [join(examples, program), ...parameters], {
    cwd: folder,
    encoding: "utf8",
    env: { ...inherited, INIT_CWD: folder, ...environment }
  })
  return { status, stderr, stdout }
}

const onTestServer = { DATABASE_URL: Redacted.value(await PostgresDatabase.open()) }

const file = (name: string, content: string | Uint8Array): string => {
  writeFileSync(join(folder, name), content)
  return name
}

describe("the demo", () => {
  it("relays the committed text through a server that is killed, and gets the same on both stores", () => {
    const { status, stderr, stdout } = run("demo.ts", [])
    assert.strictEqual(stderr, "")
    assert.strictEqual(status, 0)
    for (const words of ["KILL: SIGKILL", "QuotaReached", "same text", "same transcript"]) assert.include(stdout, words)
    assert.strictEqual(stdout.trimEnd().split("\n").at(-1), "demo: ok")
  })

  const texts = {
    "with Windows line ends and no last one": "one\r\n\r\ntwo\r\n\r\n\r\nthree\r\nof two lines",
    "of blank runs": "\n\n\n  one\n \n\t\n\ntwo\n\n\n\n",
    "of a single letter": "x",
    "of one paragraph larger than a body may be": "word ".repeat(40_000),
    "of many languages": "Grüße aus Köln\n\nПривет\n\n日本語\n\n🙂\n".repeat(50)
  }
  for (const [what, text] of Object.entries(texts)) {
    it(`brings a text ${what} through byte by byte, on a server that it did not start`, () => {
      const { status, stderr, stdout } = run("demo.ts", [file("text.txt", text)], onTestServer)
      assert.strictEqual(stderr, "")
      assert.strictEqual(status, 0, stdout)
      assert.include(stdout, "demo: ok")
    })
  }

  const wrong = {
    "a missing file": () => ["missing.txt"],
    "a directory": () => ["."],
    "an empty file": () => [file("empty.txt", "")],
    "a file without a word": () => [file("blank.txt", "\n \n\n")],
    "a binary file": () => [file("binary.bin", new Uint8Array([0x7f, 0x45, 0x4c, 0x46, 0, 0, 0]))],
    "a file that is not UTF-8": () => [file("latin1.txt", new Uint8Array([0x67, 0x72, 0xfc, 0xdf]))],
    "two files": () => ["a.txt", "b.txt"]
  }
  for (const [what, parameters] of Object.entries(wrong)) {
    it(`says plainly what is wrong with ${what}`, () => {
      const { status, stderr, stdout } = run("demo.ts", parameters())
      assert.strictEqual(status, 1)
      assert.strictEqual(stdout, "")
      assert.isAtMost(stderr.trimEnd().split("\n").length, 2, stderr)
      assert.isNotEmpty(stderr.trim())
      assert.notInclude(stderr, "    at ")
    })
  }
})

describe("the examples", () => {
  for (const program of ["quickstart.ts", "postgres.ts"]) {
    it(`${program} prints the message it wrote`, () => {
      const { status, stderr, stdout } = run(program, [], onTestServer)
      assert.strictEqual(status, 0, stderr)
      assert.include(stdout, "Gone fishing")
    })
  }
})

import { assert, describe, it } from "@effect/vitest"
import { Effect, Redacted, type Scope } from "effect"
import { spawnSync } from "node:child_process"
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  realpathSync,
  statSync,
  symlinkSync,
  writeFileSync
} from "node:fs"
import { createRequire } from "node:module"
import { dirname, join } from "node:path"
import * as Installation from "./fixtures/embedded-postgres/installation.ts"
import { unpacked } from "./fixtures/embedded-postgres/native.ts"
import {
  alive,
  eventually,
  folder,
  homesIn,
  isRoot,
  mentioning,
  query,
  uidOf
} from "./fixtures/embedded-postgres/probe.ts"
import { type Program, run } from "./fixtures/embedded-postgres/program.ts"

const limit = 60_000

/** Ends a program whose server is up, and sees everything go that it had started. */
const endedBy = (args: ReadonlyArray<string>, end: (program: Program) => void) =>
  Effect.gen(function*() {
    const tmp = yield* folder
    const program = yield* run({ args, tmp })
    const { dataDirectory, pid } = yield* program.started
    assert.isTrue(alive(pid))
    assert.isAbove(mentioning(tmp).length, 0)
    end(program)
    const ended = yield* program.ended
    yield* eventually("the end of the server", () => !alive(pid))
    yield* eventually("the end of the directory", () => !existsSync(dirname(dataDirectory)))
    yield* eventually("the end of the guardian", () => mentioning(tmp).length === 0)
    // What may stay is the copy of binaries in a checkout that the server's user cannot reach.
    assert.deepStrictEqual(readdirSync(tmp).filter((name) => !name.startsWith("restante-postgres-binaries-")), [])
    return ended
  })

describe("EmbeddedPostgres and the program that started it", () => {
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP", "SIGKILL"] as const) {
    it.live(
      `stops the server when the program is ended by ${signal}, and the program still ends by ${signal}`,
      () =>
        Effect.gen(function*() {
          const ended = yield* endedBy([], (program) => program.process.kill(signal))
          assert.deepStrictEqual(ended, { code: null, signal })
        }),
      limit
    )
  }

  for (const signal of ["SIGINT", "SIGTERM", "SIGKILL"] as const) {
    it.live(
      `stops the server when a program under runMain is ended by ${signal}`,
      () => endedBy(["--run-main"], (program) => program.process.kill(signal)),
      limit
    )
  }

  it.live(
    "stops the server when the program exits without closing its scope, and keeps its exit code",
    () =>
      Effect.gen(function*() {
        const ended = yield* endedBy(["--exit"], () => {})
        assert.deepStrictEqual(ended, { code: 7, signal: null })
      }),
    limit
  )

  it.live("stops initdb when the program is killed during initialisation", () =>
    Effect.gen(function*() {
      const tmp = yield* folder
      const program = yield* run({ tmp })
      yield* eventually("initdb", () => mentioning(tmp).some((line) => line.includes("--pgdata")))
      program.process.kill("SIGKILL")
      yield* eventually("the end of all of it", () => mentioning(tmp).length === 0)
      assert.deepStrictEqual(homesIn(tmp), [])
    }), limit)

  it.live(
    "shuts a named directory down in order when the program is killed, and keeps it",
    () =>
      Effect.gen(function*() {
        const tmp = yield* folder
        const directory = join(tmp, "named")
        const first = yield* run({ args: ["--directory", directory], tmp })
        const { pid, url } = yield* first.started
        yield* query(Redacted.make(url), (sql) => sql`create table letter (id int4)`)
        first.process.kill("SIGKILL")
        yield* eventually("the end of the server", () => !alive(pid))
        assert.isFalse(existsSync(join(directory, "data", "postmaster.pid")))

        const second = yield* run({ args: ["--directory", directory], tmp })
        yield* query(Redacted.make((yield* second.started).url), (sql) => sql`select id from letter`)
      }),
    limit
  )

  it.live("keeps the server from the signals of the program's terminal", () =>
    Effect.gen(function*() {
      const tmp = yield* folder
      const program = yield* run({ tmp })
      const { pid } = yield* program.started
      const groups = spawnSync("ps", ["-o", "pgid=", "-p", `${pid},${program.process.pid}`], { encoding: "utf8" })
      assert.strictEqual(new Set(groups.stdout.trim().split(/\s+/)).size, 2)
    }), limit)

  const ordinary = uidOf("nobody")
  it.live.skipIf(!isRoot || ordinary === undefined)("works for an ordinary user", () =>
    Effect.gen(function*() {
      const tmp = yield* writableByAll
      const installation = yield* Installation.readableByAll
      const program = yield* run({ installation, tmp, ...(ordinary === undefined ? {} : { uid: ordinary }) })
      const { pid, url } = yield* program.started
      yield* query(Redacted.make(url), (sql) => sql`select 1`)
      program.process.kill("SIGTERM")
      yield* eventually("the end of the server", () => !alive(pid))
      yield* eventually("the end of the directory", () => homesIn(tmp).length === 0)
    }), limit)

  it.live.skipIf(!isRoot || ordinary === undefined)(
    "works for one who may not write the links that are missing",
    () =>
      Effect.gen(function*() {
        const tmp = yield* writableByAll
        const program = yield* run({
          args: ["--binaries", yield* unpacked],
          installation: yield* Installation.readableByAll,
          tmp,
          ...(ordinary === undefined ? {} : { uid: ordinary })
        })
        const { url } = yield* program.started
        yield* query(Redacted.make(url), (sql) => sql`select 1`)
        const copies = readdirSync(tmp).filter((name) => name.startsWith("restante-postgres-binaries-"))
        assert.deepStrictEqual(copies.map((name) => statSync(join(tmp, name)).uid), [ordinary])
      }),
    limit
  )

  it.live("says which package is missing when the binaries are not installed", () =>
    Effect.gen(function*() {
      const place = yield* folder
      const own = createRequire(import.meta.url).resolve("@restante/embedded-postgres")
      const copy = join(place, "node_modules", "@restante", "embedded-postgres")
      mkdirSync(join(place, "node_modules", "@effect"), { recursive: true })
      cpSync(dirname(own), join(copy, "dist"), { recursive: true })
      cpSync(join(dirname(own), "..", "package.json"), join(copy, "package.json"))
      const linked = (name: string) =>
        symlinkSync(realpathSync(join(import.meta.dirname, "node_modules", name)), join(place, "node_modules", name))
      linked("effect")
      linked("@effect/sql-pg")
      writeFileSync(
        join(place, "main.mjs"),
        `import { EmbeddedPostgres } from "@restante/embedded-postgres"
         import { Effect } from "effect"
         const error = await Effect.runPromise(Effect.flip(Effect.scoped(EmbeddedPostgres.make())))
         process.stdout.write(error.reason._tag + " " + error.message)`
      )
      // Trap: pnpm's shims set NODE_PATH, through which Node finds what is not installed in this place.
      const { stderr, stdout } = spawnSync(process.execPath, [join(place, "main.mjs")], {
        encoding: "utf8",
        env: { ...process.env, NODE_PATH: "" }
      })
      assert.include(stdout, "BinariesMissing", stderr)
      assert.include(stdout, `@embedded-postgres/${process.platform}-${process.arch}`)
    }), limit)
})

const writableByAll: Effect.Effect<string, never, Scope.Scope> = Effect.tap(
  folder,
  (path) => Effect.sync(() => chmodSync(path, 0o1777))
)

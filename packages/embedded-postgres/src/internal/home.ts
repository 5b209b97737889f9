/**
 * The directory of a server:
 *
 * - `data`: the PostgreSQL data directory. It is initialised elsewhere and moved here, so it is complete if it is there.
 * - `password`: of the superuser, readable by us alone. It is written before the data that knows it.
 * - `server.log`: the server's words since the layer was built.
 * - `initialising-*`: an initialisation under way, or one whose process died.
 *
 * As root the directory and the password stay root's, and only `data` belongs to the server's user.
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { execFile } from "node:child_process"
import { randomBytes } from "node:crypto"
import {
  chmodSync,
  chownSync,
  closeSync,
  fsyncSync,
  linkSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync
} from "node:fs"
import { rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join, resolve } from "node:path"
import {
  DirectoryInUse,
  DirectoryNotEmpty,
  DirectoryNotOurs,
  DirectoryUnusable,
  DirectoryVersionMismatch,
  type EmbeddedPostgresError,
  InitdbFailed,
  NotADatabase
} from "../EmbeddedPostgresError.ts"
import type { Binaries } from "./binaries.ts"
import { attempt, attemptPromise, codeOf, fail, lastWords, words } from "./failure.ts"
import type { Guardian } from "./guardian.ts"
import { environment, identity, launch } from "./launch.ts"
import { until } from "./patience.ts"
import { find, mayServe, signal } from "./process-table.ts"
import { ownUid, type RunAs } from "./run-as.ts"

export interface Home {
  readonly directory: string
  readonly data: string
  readonly log: string
  readonly temporary: boolean
}

const unusable = (directory: string) => (output: string): DirectoryUnusable =>
  new DirectoryUnusable({ directory, output })

const homeAt = (directory: string, temporary: boolean): Home => ({
  directory,
  data: join(directory, "data"),
  log: join(directory, "server.log"),
  temporary
})

// With a user of its own for the server, that user must be able to pass, and to do no more.
const modeFor = (runAs: RunAs | undefined): number => runAs === undefined ? 0o700 : 0o711

/** A new temporary home. */
export const makeTemporary = (runAs: RunAs | undefined): Effect.Effect<Home, EmbeddedPostgresError> =>
  attempt(() => {
    const directory = mkdtempSync(join(realpathSync(tmpdir()), "restante-postgres-"))
    chmodSync(directory, modeFor(runAs))
    return homeAt(directory, true)
  }, unusable(tmpdir()))

/** Fails if the server's user cannot get to the directory. Takes about 3 ms, nothing unless there is such a user. */
export const requireReachable = (
  home: Home,
  runAs: RunAs | undefined
): Effect.Effect<void, EmbeddedPostgresError> =>
  runAs === undefined ? Effect.void : Effect.callback((resume) => {
    execFile(
      "/bin/sh",
      ["-c", "cd \"$1\"", "sh", home.directory],
      { ...identity(runAs), cwd: "/", env: environment() },
      (error, _, stderr) =>
        resume(
          error === null
            ? Effect.void
            : fail(unusable(home.directory)(`As the user ${runAs.name}: ${lastWords(stderr) || words(error)}`))
        )
    )
  })

/** A home at a path of the caller's choice, which may exist. Refuses what is somebody else's without touching it. */
export const openNamed = Effect.fnUntraced(function*(
  path: string,
  runAs: RunAs | undefined
): Effect.fn.Return<Home, EmbeddedPostgresError> {
  const wanted = resolve(path)
  const directory = yield* attempt(() => {
    mkdirSync(wanted, { recursive: true, mode: modeFor(runAs) })
    return realpathSync(wanted)
  }, unusable(wanted))
  const home = homeAt(directory, false)

  const owner = (path: string) => attempt(() => statSync(path).uid, unusable(path))
  const owners = runAs === undefined ? [ownUid()] : [ownUid(), runAs.uid]
  const uid = yield* owner(directory)
  if (!owners.includes(uid)) {
    return yield* fail(new DirectoryNotOurs({ directory, owner: uid, expected: owners, output: "" }))
  }
  const entries = yield* attempt(() => readdirSync(directory), unusable(directory))
  if (entries.includes("data")) {
    const expected = runAs?.uid ?? ownUid()
    const dataOwner = yield* owner(home.data)
    if (dataOwner !== expected) {
      return yield* fail(
        new DirectoryNotOurs({ directory: home.data, owner: dataOwner, expected: [expected], output: "" })
      )
    }
  } else {
    const foreign = entries.filter((name) =>
      name !== "password" && name !== "server.log" && !name.startsWith("initialising-")
    )
    if (foreign.length > 0) {
      return yield* fail(new DirectoryNotEmpty({ directory, output: `Found: ${foreign.slice(0, 10).join(", ")}` }))
    }
  }
  if (runAs !== undefined) {
    yield* attempt(() => {
      const mode = statSync(directory).mode & 0o777
      if ((mode & 0o001) === 0) chmodSync(directory, mode | 0o011)
    }, unusable(directory))
  }
  return home
})

const readPassword = (home: Home): string => readFileSync(join(home.directory, "password"), "utf8").trim()

/** Two processes may do this at once: the first password stays, and both use it. Throws. */
const ensurePassword = (home: Home): string => {
  const scratch = join(home.directory, `password.${randomBytes(6).toString("hex")}`)
  try {
    writeFileSync(scratch, randomBytes(24).toString("base64url"), { mode: 0o600, flag: "wx" })
    try {
      linkSync(scratch, join(home.directory, "password"))
    } catch (thrown) {
      if (codeOf(thrown) !== "EEXIST") throw thrown
    }
  } finally {
    rmSync(scratch, { force: true })
  }
  return readPassword(home)
}

/** Removes what dead processes left in the middle of an initialisation. Throws. */
const sweep = (home: Home): void => {
  for (const name of readdirSync(home.directory)) {
    const pid = /^initialising-(\d+)-/.exec(name)?.[1]
    if (pid !== undefined && find(Number(pid)) === undefined) {
      rmSync(join(home.directory, name), { recursive: true, force: true })
    }
  }
}

/** Makes a rename in this folder survive a crash of the machine. Throws. */
const syncFolder = (path: string): void => {
  const folder = openSync(path, "r")
  try {
    fsyncSync(folder)
  } finally {
    closeSync(folder)
  }
}

const initialise = Effect.fnUntraced(function*(
  home: Home,
  binaries: Binaries,
  guardian: Guardian,
  durable: boolean
): Effect.fn.Return<string, EmbeddedPostgresError> {
  const scratch = join(home.directory, `initialising-${process.pid}-${randomBytes(6).toString("hex")}`)
  const log = join(home.directory, "server.log")
  const data = join(scratch, "data")
  const passwordFile = join(scratch, "password")
  const give = (path: string): void => {
    if (binaries.runAs !== undefined) chownSync(path, binaries.runAs.uid, binaries.runAs.gid)
  }
  const run = Effect.gen(function*() {
    const password = yield* attempt(() => {
      sweep(home)
      const password = ensurePassword(home)
      mkdirSync(scratch, { mode: 0o700 })
      writeFileSync(passwordFile, password, { mode: 0o600, flag: "wx" })
      give(passwordFile)
      give(scratch)
      return password
    }, unusable(home.directory))
    const initdbFailed = (output: string) => fail(new InitdbFailed({ directory: home.directory, output }))
    const args = [
      `--pgdata=${data}`,
      "--username=postgres",
      `--pwfile=${passwordFile}`,
      "--auth=scram-sha-256",
      "--encoding=UTF8",
      "--locale=C",
      // Older servers have no provider of their own: theirs is the C library, whose C is the only locale on every machine.
      ...(Number(binaries.major) >= 17 ? ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"] : []),
      "--no-instructions",
      ...(durable ? [] : ["--no-sync"])
    ]
    yield* Effect.acquireUseRelease(
      Effect.catch(
        launch({ guardian, command: binaries.initdb, args, runAs: binaries.runAs, log }),
        initdbFailed
      ),
      (initdb) =>
        Effect.gen(function*() {
          const inTime = yield* initdb.awaitEnd(120_000)
          if (initdb.ended() === "exit code 0") return yield* Effect.void
          const said = yield* attempt(() => readFileSync(log, "utf8"), unusable(log))
          return yield* initdbFailed(lastWords(`${said}\n${inTime ? initdb.ended() : "not finished after 120 s"}`))
        }),
      (initdb) =>
        Effect.gen(function*() {
          // The group: initdb waits for its children before it obeys. SIGTERM lets them free their shared memory.
          for (const name of ["SIGTERM", "SIGKILL"] as const) {
            if (initdb.ended() !== undefined) break
            signal(-initdb.pid, name)
            yield* initdb.awaitEnd(5_000)
          }
          yield* guardian.forget
        })
    )
    return password
  })
  const password = yield* run.pipe(
    Effect.tap(() =>
      attempt(() => {
        try {
          renameSync(data, home.data)
        } catch (thrown) {
          // Another process was faster. Its server will be found running, or its data is used.
          if (codeOf(thrown) !== "ENOTEMPTY" && codeOf(thrown) !== "EEXIST") throw thrown
        }
        if (durable) syncFolder(home.directory)
      }, unusable(home.directory))
    ),
    Effect.ensuring(Effect.ignore(Effect.tryPromise(() => rm(scratch, { recursive: true, force: true }))))
  )
  return password
})

/**
 * Makes sure that there is a database of the right version, and gives its password.
 *
 * - errors: the reasons of a directory, `InitdbFailed`
 */
export const ensureDatabase = Effect.fnUntraced(function*(
  home: Home,
  binaries: Binaries,
  guardian: Guardian,
  durable: boolean
): Effect.fn.Return<string, EmbeddedPostgresError> {
  yield* attempt(() => writeFileSync(home.log, "", { mode: 0o600 }), unusable(home.log))
  const there = yield* attempt(
    () => lstatSync(home.data, { throwIfNoEntry: false }) !== undefined,
    unusable(home.directory)
  )
  if (!there) return yield* initialise(home, binaries, guardian, durable)

  const incomplete = (output: string) => new NotADatabase({ directory: home.directory, output })
  const found = (yield* attempt(() => readFileSync(join(home.data, "PG_VERSION"), "utf8"), incomplete)).trim()
  if (found !== binaries.major) {
    return yield* fail(
      new DirectoryVersionMismatch({ directory: home.directory, found, expected: binaries.major, output: "" })
    )
  }
  return yield* attempt(() => readPassword(home), incomplete)
})

/** What the file says that a server keeps while it runs: postmaster.pid. */
export interface PidFile {
  readonly pid: number
  readonly port: number
  readonly ready: boolean
  readonly text: string
}

/** `undefined` if there is none. Half a file reads as a server that is not ready, an empty one has the pid 0. */
export const readPidFile = (home: Home): PidFile | undefined => {
  try {
    const text = readFileSync(join(home.data, "postmaster.pid"), "utf8")
    const lines = text.split("\n")
    // A server without sessions (--single) puts a minus before its pid.
    const pid = Math.abs(Number(lines[0]))
    return { pid: Number.isInteger(pid) ? pid : 0, port: Number(lines[3]), ready: lines[7]?.trim() === "ready", text }
  } catch {
    return undefined
  }
}

/**
 * Refuses a directory whose server lives, and removes a stale postmaster.pid that PostgreSQL would not.
 *
 * If nobody has the pid, PostgreSQL sees that by itself. If another program of the same user has it now, PostgreSQL
 * takes it for a server and refuses to start; likewise if a crash left the file empty.
 */
export const clearStalePidFile = Effect.fnUntraced(
  function*(home: Home): Effect.fn.Return<void, EmbeddedPostgresError> {
    // Trap: a server that is starting has an empty file for a moment. Only one that stays empty is stale.
    yield* until(Effect.sync(() => readPidFile(home)?.pid === 0 ? Option.none() : Option.some("written")), {
      every: 20,
      within: 2_000
    })
    const file = readPidFile(home)
    if (file === undefined || (file.pid !== 0 && find(file.pid) === undefined)) return yield* Effect.void
    const inUse = new DirectoryInUse({ directory: home.directory, output: `postmaster.pid names process ${file.pid}` })
    if (file.pid !== 0 && mayServe(file.pid, home.data)) return yield* fail(inUse)
    const path = join(home.data, "postmaster.pid")
    const aside = join(home.data, `postmaster.stale.${randomBytes(6).toString("hex")}`)
    const moved = yield* attempt(() => {
      try {
        renameSync(path, aside)
      } catch (thrown) {
        if (codeOf(thrown) === "ENOENT") return "ours" as const
        throw thrown
      }
      // Between the look and the move a server may have started. Then it gets its file back.
      const ours = readFileSync(aside, "utf8") === file.text
      if (!ours) linkSync(aside, path)
      rmSync(aside)
      return ours ? "ours" as const : "theirs" as const
    }, unusable(home.data))
    return yield* moved === "theirs" ? fail(inUse) : Effect.void
  }
)

/** Removes a temporary home. A process that is just ending may still write, so it is tried several times. */
export const remove = (home: Home): Effect.Effect<void, EmbeddedPostgresError> =>
  attemptPromise(
    () => rm(home.directory, { recursive: true, force: true, maxRetries: 20, retryDelay: 50 }),
    unusable(home.directory)
  )

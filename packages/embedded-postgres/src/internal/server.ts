/** One run of the server process: from its start until it is gone. */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { randomInt } from "node:crypto"
import { readFileSync, statSync } from "node:fs"
import {
  DirectoryInUse,
  type EmbeddedPostgresError,
  PortTaken,
  type Reason,
  StartFailed,
  StopFailed
} from "../EmbeddedPostgresError.ts"
import type { Binaries } from "./binaries.ts"
import { fail, failure, lastWords } from "./failure.ts"
import type { Guardian } from "./guardian.ts"
import { clearStalePidFile, type Home, readPidFile } from "./home.ts"
import { launch, type Launched } from "./launch.ts"
import { until, untilTrue } from "./patience.ts"
import * as ProcessTable from "./process-table.ts"
import { serverArguments } from "./settings.ts"

export interface Setup {
  readonly home: Home
  readonly binaries: Binaries
  readonly guardian: Guardian
  readonly durable: boolean
  readonly settings: Readonly<Record<string, string>>
  /** In milliseconds. */
  readonly startTimeout: number
  /** Called once for each server that became ready, before anything can interrupt the caller. */
  readonly onReady: (server: Server) => void
}

export interface Server {
  readonly port: number
  readonly process: Launched
}

const sizeOf = (path: string): number => statSync(path, { throwIfNoEntry: false })?.size ?? 0

const wordsSince = (path: string, offset: number): string => {
  try {
    return lastWords(readFileSync(path).subarray(offset).toString("utf8"))
  } catch {
    return ""
  }
}

const explain = (home: Home, port: number, output: string): Reason => {
  if (/could not bind .*in use/i.test(output)) return new PortTaken({ port, output })
  if (/lock file .* (?:already exists|is empty)|pre-existing shared memory block/.test(output)) {
    return new DirectoryInUse({ directory: home.directory, output })
  }
  return new StartFailed({ directory: home.directory, output })
}

/** SIGKILL to the server and all its processes at the same moment, as a power cut would end them. */
export const kill = Effect.fnUntraced(function*(
  process: Launched,
  guardian: Guardian
): Effect.fn.Return<void, EmbeddedPostgresError> {
  const server = ProcessTable.find(process.pid)
  if (process.ended() === undefined && server !== undefined) {
    // Stopped, it starts no more backends and reaps none: the list below stays true until the last signal.
    ProcessTable.signal(process.pid, "SIGSTOP")
    yield* untilTrue(() => (ProcessTable.find(process.pid)?.state ?? "T").toUpperCase() === "T", {
      every: 1,
      within: 1_000
    })
    const backends = ProcessTable.childrenOf(process.pid)
    for (const backend of backends) ProcessTable.signal(backend.pid, "SIGKILL")
    ProcessTable.signal(process.pid, "SIGKILL")
    // Trap: as long as one orphan lives, the shared memory block is in use and the next start is refused.
    const left = () => [server, ...backends].filter(ProcessTable.isRunning)
    if (!(yield* untilTrue(() => left().length === 0, { every: 3, within: 10_000 }))) {
      return yield* fail(new StopFailed({ pids: left().map(({ pid }) => pid), output: "" }))
    }
  }
  if (!(yield* process.awaitEnd(10_000))) {
    return yield* fail(new StopFailed({ pids: [process.pid], output: "" }))
  }
  return yield* guardian.forget
}, Effect.uninterruptible)

/**
 * PostgreSQL's fast shutdown: sessions are ended, transactions rolled back, a checkpoint is written. If it is not done
 * after 10 s the immediate shutdown follows, after 6 s more SIGKILL.
 */
export const stop = Effect.fnUntraced(function*(
  process: Launched,
  guardian: Guardian
): Effect.fn.Return<void, EmbeddedPostgresError> {
  process.holdProgram(true)
  const limits = [["SIGINT", 10_000], ["SIGQUIT", 6_000]] as const
  for (const [signal, within] of limits) {
    if (process.ended() === undefined) ProcessTable.signal(process.pid, signal)
    if (yield* process.awaitEnd(within)) return yield* guardian.forget
  }
  return yield* kill(process, guardian)
}, Effect.uninterruptible)

/** One attempt on one port. Whatever interrupts or fails it leaves no process behind. */
const tryStart = (setup: Setup, port: number): Effect.Effect<Server, EmbeddedPostgresError> =>
  Effect.uninterruptibleMask((restore) =>
    Effect.gen(function*() {
      const { guardian, home } = setup
      const offset = sizeOf(home.log)
      const process = yield* Effect.mapError(
        launch({
          guardian,
          command: setup.binaries.postgres,
          args: serverArguments({ ...setup, dataDirectory: home.data, port }),
          runAs: setup.binaries.runAs,
          log: home.log
        }),
        (output) => failure(new StartFailed({ directory: home.directory, output }))
      )
      const look = Effect.sync(() => {
        const end = process.ended()
        if (end !== undefined) return Option.some(end)
        // Ours has the pid of our child. On the port can then be nobody else: the server binds it before it says ready.
        const file = readPidFile(home)
        return file?.ready === true && file.pid === process.pid && file.port === port
          ? Option.some("ready")
          : Option.none()
      })
      const outcome = yield* restore(until(look, { every: 3, within: setup.startTimeout })).pipe(
        // In order, although it has promised nothing yet: killed, it would leave shared memory in the system.
        Effect.onInterrupt(() => Effect.ignore(stop(process, guardian)))
      )
      if (Option.isSome(outcome) && outcome.value === "ready") {
        process.holdProgram(false)
        const server = { port, process }
        setup.onReady(server)
        return server
      }
      yield* stop(process, guardian)
      const end = Option.getOrElse(outcome, () => `not ready after ${setup.startTimeout} ms`)
      return yield* fail(explain(home, port, lastWords(`${wordsSince(home.log, offset)}\n${end}`)))
    })
  )

// Trap: not from the kernel's range for outgoing connections (32768 and up on Linux, 49152 on others). A client that
// keeps trying to reconnect to a port of that range on the loopback interface ends up connected to itself, and the
// restarted server finds its port taken.
const randomPort = (): number => randomInt(15_000, 32_768)

/**
 * Starts the server on this port, or on one that the server itself found free.
 *
 * - errors: `PortTaken`, `DirectoryInUse`, `StartFailed`, `DirectoryUnusable`
 */
export const start = Effect.fnUntraced(function*(
  setup: Setup,
  port: number | undefined
): Effect.fn.Return<Server, EmbeddedPostgresError> {
  const orphansUntil = performance.now() + 5_000
  for (let attempts = 1;; attempts++) {
    yield* clearStalePidFile(setup.home)
    const chosen = port ?? randomPort()
    const result = yield* Effect.result(tryStart(setup, chosen))
    if (result._tag === "Success") return result.success
    const { reason } = result.failure
    const another = reason._tag === "PortTaken" && port === undefined && attempts < 50
    // Backends of a server that was killed a moment ago end by themselves as soon as they look up.
    const orphans = reason._tag === "DirectoryInUse" && reason.output.includes("shared memory")
      && performance.now() < orphansUntil
    if (!another && !orphans) return yield* Effect.fail(result.failure)
  }
})

/**
 * After a kill: lets PostgreSQL remove the shared memory that the killed server left in the system, by running it once
 * without sessions. Does nothing but that, and what fails is left to the next boot.
 */
export const releaseSharedMemory = Effect.fnUntraced(function*(setup: Setup) {
  const single = yield* launch({
    guardian: setup.guardian,
    command: setup.binaries.postgres,
    args: ["--single", "-D", setup.home.data, "-c", "fsync=off", "postgres"],
    runAs: setup.binaries.runAs,
    log: setup.home.log
  })
  if (yield* single.awaitEnd(10_000)) return yield* setup.guardian.forget
  return yield* kill(single, setup.guardian)
}, (effect) => Effect.ignore(effect))

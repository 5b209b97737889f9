import * as Effect from "effect/Effect"
import { type ChildProcess, spawn } from "node:child_process"
import { closeSync, openSync } from "node:fs"
import { words } from "./failure.ts"
import type { Guardian } from "./guardian.ts"
import { untilTrue } from "./patience.ts"
import type { RunAs } from "./run-as.ts"

/** A process of ours that the guardian knows. */
export interface Launched {
  readonly pid: number
  /** How it ended, in words; `undefined` while it runs. */
  readonly ended: () => string | undefined
  /** Waits for the end; the answer says whether it came in time. In milliseconds. */
  readonly awaitEnd: (within: number) => Effect.Effect<boolean>
  /** Whether this process keeps the program alive. It does at first. */
  readonly holdProgram: (hold: boolean) => void
}

export interface LaunchOptions {
  readonly guardian: Guardian
  readonly command: string
  readonly args: ReadonlyArray<string>
  readonly runAs: RunAs | undefined
  /** Gets stdout and stderr, appended. Trap: not a pipe, a blocked event loop would let it fill up and stop the server. */
  readonly log: string
}

/**
 * The environment of the server's processes: nothing of the caller's, whose PGDATA or PGOPTIONS would have effects.
 * UTC and the C locale make servers alike on all machines; we also read the server's words.
 */
export const environment = (): NodeJS.ProcessEnv => ({
  PATH: process.env["PATH"] ?? "/usr/bin:/bin",
  LC_ALL: "C",
  TZ: "UTC"
})

export const identity = (runAs: RunAs | undefined): { readonly uid?: number; readonly gid?: number } =>
  runAs === undefined ? {} : { uid: runAs.uid, gid: runAs.gid }

/**
 * Starts a process that cannot outlive this one unseen. The child waits at a gate until the guardian has been told its
 * pid: if this process dies before that, the gate never opens.
 *
 * - errors: the words of the operating system
 */
export const launch = Effect.fnUntraced(function*(options: LaunchOptions): Effect.fn.Return<Launched, string> {
  const child = yield* Effect.try({
    try: (): ChildProcess => {
      const log = openSync(options.log, "a", 0o600)
      try {
        return spawn(
          "/bin/sh",
          ["-c", "read -r go && exec \"$@\" </dev/null", "sh", options.command, ...options.args],
          { ...identity(options.runAs), cwd: "/", detached: true, env: environment(), stdio: ["pipe", log, log] }
        )
      } finally {
        closeSync(log)
      }
    },
    catch: words
  })
  let end: string | undefined
  child.stdin?.on("error", () => {})
  child.once("exit", (code, signal) => {
    end = signal === null ? `exit code ${code}` : `signal ${signal}`
  })
  yield* Effect.callback<void, string>((resume) => {
    child.once("spawn", () => resume(Effect.void))
    child.once("error", (error) => {
      end = words(error)
      resume(Effect.fail(words(error)))
    })
  })
  const pid = child.pid
  if (pid === undefined) return yield* Effect.fail("no process id")
  yield* options.guardian.watch(pid)
  yield* Effect.sync(() => child.stdin?.end("go\n"))
  return {
    pid,
    ended: () => end,
    awaitEnd: (within) => untilTrue(() => end !== undefined, { every: 3, within }),
    holdProgram: (hold) => hold ? child.ref() : child.unref()
  }
}, Effect.uninterruptible)

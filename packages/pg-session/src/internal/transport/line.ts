/**
 * A connection while nobody but its opener speaks on it. Bytes are taken exactly as many as are asked for, so that what
 * belongs to somebody else, a TLS handshake or the relay, stays in the socket.
 */
import * as Effect from "effect/Effect"
import { connect, type Socket } from "node:net"
import { fromCause, PgTransportError, ProtocolViolation, TlsError, Unreachable } from "../../PgTransportError.ts"
import { type Address, isLoopback, showAddress } from "./options.ts"

export interface Frame {
  /** A letter; for example `R` is an authentication request. */
  readonly type: string
  readonly body: Buffer
  /** All of it, to be passed on. */
  readonly bytes: Buffer
}

const words: Readonly<Record<string, string>> = {
  ENOTFOUND: "unknown host",
  EAI_AGAIN: "the name service does not answer",
  ECONNREFUSED: "connection refused",
  ECONNRESET: "the server closed the connection",
  EPIPE: "the server closed the connection",
  ETIMEDOUT: "no answer from the network",
  EHOSTUNREACH: "no route to the host",
  ENETUNREACH: "no route to the network",
  ENOENT: "there is no such socket",
  EACCES: "no permission to use the socket",
  EINVAL: "the address cannot be used; the path of a socket has at most 107 bytes"
}

/** Worth another attempt: as far as the network goes, the server may only be restarting (spec 2.1). */
const passing: ReadonlySet<string> = new Set(["ECONNREFUSED", "ECONNRESET", "EPIPE", "ENOENT"])

export const codeOf = (error: unknown): string | undefined =>
  error instanceof Error && "code" in error && typeof error.code === "string" ? error.code : undefined

const isClose = (code: string | undefined): boolean => code === "ECONNRESET" || code === "EPIPE"

const closed = (): Error => Object.assign(new Error("the server closed the connection"), { code: "ECONNRESET" })

export const violation = (problem: string): PgTransportError =>
  new PgTransportError({ reason: new ProtocolViolation({ problem }) })

/** Whether to try again: refused, reset, starting up or shutting down (57P03), too many clients (53300). */
export const isTransient = (error: PgTransportError): boolean =>
  error.reason._tag === "Unreachable"
  && (error.reason.sqlstate !== undefined || passing.has(codeOf(error.cause) ?? ""))

const ignore = (): void => {}

export class Line {
  readonly address: Address
  /** Which attempt this is, counted from 1. */
  readonly attempt: number
  /** Replaced by the TLS socket around it. */
  socket: Socket

  constructor(address: Address, attempt: number) {
    this.address = address
    this.attempt = attempt
    this.socket = connect(
      "path" in address
        ? { path: address.path }
        : { host: address.host, port: address.port, noDelay: true, keepAlive: true, keepAliveInitialDelay: 30_000 }
    )
    this.socket.on("error", ignore)
  }

  get name(): string {
    return showAddress(this.address)
  }

  /** What is sent in plaintext is seen by nobody else. The address that was reached counts, not the name it was found by. */
  get isLocal(): boolean {
    return "path" in this.address || isLoopback(this.socket.remoteAddress ?? "")
  }

  /** What an error of the socket means. */
  failure(cause: unknown): PgTransportError {
    const code = codeOf(cause)
    if (code?.startsWith("ERR_SSL_")) {
      return fromCause(new TlsError({ address: this.name, problem: `the server broke TLS off (${code})` }), cause)
    }
    return fromCause(this.unreachable(words[code ?? ""] ?? `the socket failed (${code ?? "unknown reason"})`), cause)
  }

  unreachable(problem: string, sqlstate?: string): Unreachable {
    return new Unreachable({
      address: this.name,
      problem,
      attempts: this.attempt,
      ...(sqlstate === undefined ? {} : { sqlstate })
    })
  }

  /** Puts another socket, which is TLS, in the place of this one. */
  replace(socket: Socket): void {
    socket.on("error", ignore)
    this.socket = socket
  }

  destroy(): void {
    this.socket.destroy()
  }

  /** Waits for an event of the socket, or for its end. */
  event(name: "connect" | "secureConnect", failure: (error: unknown) => PgTransportError) {
    return Effect.callback<void, PgTransportError>((resume) => {
      const { socket } = this
      const finish = (effect: Effect.Effect<void, PgTransportError>): void => {
        stop()
        resume(effect)
      }
      const onEvent = () => finish(Effect.void)
      const onError = (error: Error) => finish(Effect.fail(failure(error)))
      const onClose = () => finish(Effect.fail(failure(closed())))
      const stop = () => {
        socket.off(name, onEvent).off("error", onError).off("close", onClose)
      }
      socket.on(name, onEvent).on("error", onError).on("close", onClose)
      // Trap: the fiber may have given way to others before it came here.
      if (name === "connect" && !socket.connecting && !socket.destroyed) onEvent()
      else if (socket.destroyed) onClose()
      return Effect.sync(stop)
    })
  }

  /** So many bytes, no more and no fewer. */
  take(size: number): Effect.Effect<Buffer, PgTransportError> {
    if (size === 0) return Effect.succeed(Buffer.alloc(0))
    return Effect.callback<Buffer, PgTransportError>((resume) => {
      const { socket } = this
      const finish = (effect: Effect.Effect<Buffer, PgTransportError>): void => {
        stop()
        resume(effect)
      }
      const onReadable = (): boolean => {
        const bytes: Buffer | null = socket.read(size)
        // At the end of the stream Node gives what there is, even if it is less.
        if (bytes === null || bytes.length < size) return false
        finish(Effect.succeed(bytes))
        return true
      }
      const onError = (error: Error) => finish(Effect.fail(this.failure(error)))
      const onClose = () => onError(socket.errored ?? closed())
      const stop = () => {
        socket.off("readable", onReadable).off("end", onClose).off("error", onError).off("close", onClose)
      }
      if (onReadable()) return
      if (socket.destroyed || socket.readableEnded) return onClose()
      socket.on("readable", onReadable).on("end", onClose).on("error", onError).on("close", onClose)
      return Effect.sync(stop)
    })
  }

  /** The rest of a frame whose type byte is already taken. `limit` bounds its length, in bytes without that byte. */
  rest(type: Buffer, limit: number): Effect.Effect<Frame, PgTransportError> {
    return Effect.flatMap(this.take(4), (head) => {
      const length = head.readInt32BE(0)
      if (length < 4 || length > limit) {
        return Effect.fail(violation(`the server sent a frame of length ${length} while the session was starting`))
      }
      return Effect.map(this.take(length - 4), (body) => ({
        type: type.toString("latin1"),
        body,
        bytes: Buffer.concat([type, head, body])
      }))
    })
  }

  frame(limit: number): Effect.Effect<Frame, PgTransportError> {
    return Effect.flatMap(this.take(1), (type) => this.rest(type, limit))
  }

  /** Waits for the server to close. A reset is a close too; that TLS breaks off is not. */
  get closed(): Effect.Effect<void, PgTransportError> {
    return Effect.catchIf(
      Effect.forever(this.take(1)),
      (error) => error.reason._tag === "Unreachable" && isClose(codeOf(error.cause)),
      () => Effect.void
    )
  }

  write(bytes: Uint8Array): Effect.Effect<void> {
    // An error of writing is an error of the socket, and whoever reads next meets it.
    return Effect.sync(() => {
      this.socket.write(bytes)
    })
  }
}

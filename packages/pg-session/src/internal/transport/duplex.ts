/**
 * What the driver holds for a socket: one connection, whose first frame decides what it is for. A StartupMessage opens a
 * session, a CancelRequest is sent on a connection of its own. TLS is ours, so an SSLRequest is a mistake.
 */
import { Duplex } from "node:stream"
import { fromCause, Misuse, type PgTransportError, ProtocolViolation } from "../../PgTransportError.ts"
import type { Relay } from "./relay.ts"

/** What is done for the driver's connections. Each answers later, through one of the callbacks, or not at all once stopped. */
export interface Opener {
  readonly session: (startup: Uint8Array, on: {
    readonly open: (relay: Relay, greeting: Uint8Array) => void
    readonly failed: (error: PgTransportError) => void
  }, client: TransportDuplex) => Stop
  readonly cancel: (request: { readonly pid: number; readonly secret: Uint8Array }, on: {
    readonly done: () => void
    readonly failed: (error: PgTransportError) => void
  }) => Stop
}

type Stop = () => void

const code = { cancel: 80877102, ssl: 80877103, gss: 80877104 } as const

/** As much is read ahead from the server, and taken from the driver before it is told to wait. */
const highWaterMark = 256 * 1024

/** No driver sends a longer StartupMessage; the server takes 10,000 bytes. */
const startupLimit = 64 * 1024

const misuse =
  "the client asked for TLS itself; leave `ssl` and `sslmode` out of its options, and give the transport `tls` options"

type Phase =
  | { readonly _tag: "Waiting"; readonly seen: Buffer }
  | { readonly _tag: "Opening"; readonly stop: Stop }
  | { readonly _tag: "Open"; readonly relay: Relay }
  | { readonly _tag: "Over" }

export class TransportDuplex extends Duplex {
  readonly #opener: Opener
  #phase: Phase = { _tag: "Waiting", seen: Buffer.alloc(0) }

  constructor(opener: Opener) {
    super({ readableHighWaterMark: highWaterMark, writableHighWaterMark: highWaterMark })
    this.#opener = opener
    // A driver that has let go of a connection no longer listens; what becomes of it then must not end the process.
    this.on("error", () => {})
  }

  /**
   * A statement is one write and one read of a few bytes. The machinery of streams costs 2 µs for the pair, a tenth of what
   * the whole statement takes, so while nothing waits on either side both go past it: here, and in `deliver`.
   */
  override write(
    chunk: unknown,
    encoding?: BufferEncoding | ((error: Error | null | undefined) => void),
    done?: (error: Error | null | undefined) => void
  ): boolean {
    const phase = this.#phase
    if (phase._tag === "Open" && encoding === undefined && chunk instanceof Buffer && this.writableLength === 0) {
      if (phase.relay.fromClient(chunk)) return true
      phase.relay.onDrain(() => this.emit("drain"))
      return false
    }
    return typeof encoding === "string" ? super.write(chunk, encoding, done) : super.write(chunk, encoding ?? done)
  }

  /** What the server said, for the driver. False: it has enough for now. */
  deliver(bytes: Buffer): boolean {
    if (this.readableFlowing !== true || this.readableLength > 0 || this.destroyed) return this.push(bytes)
    this.emit("data", bytes)
    // The driver may have paused just now.
    return this.readableFlowing
  }

  /** Trap: what `deliver` gives past the buffer does not count as read, so the buffer never asks for more by itself. */
  override resume(): this {
    super.resume()
    if (this.#phase._tag === "Open") this.#phase.relay.resume()
    return this
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error) => void): void {
    const phase = this.#phase
    switch (phase._tag) {
      case "Open": {
        const { relay } = phase
        if (relay.fromClient(chunk)) done()
        else relay.onDrain(done)
        return
      }
      case "Waiting":
        this.#first(Buffer.concat([phase.seen, chunk]))
        return done()
      case "Opening":
        // A driver that speaks before it is answered does not know the protocol.
        return done(
          fromCause(new ProtocolViolation({ problem: "the client spoke before the session began" }), undefined)
        )
      case "Over":
        return done()
    }
  }

  #first(seen: Buffer): void {
    if (seen.length < 8) {
      this.#phase = { _tag: "Waiting", seen }
      return
    }
    const length = seen.readInt32BE(0)
    if (length < 8 || length > startupLimit) {
      this.destroy(fromCause(new ProtocolViolation({ problem: "the client's first frame is none" }), undefined))
      return
    }
    if (seen.length < length) {
      this.#phase = { _tag: "Waiting", seen }
      return
    }
    const failed = (error: PgTransportError) => this.destroy(error)
    switch (seen.readInt32BE(4)) {
      case code.ssl:
      case code.gss:
        this.destroy(fromCause(new Misuse({ problem: misuse }), undefined))
        return
      case code.cancel: {
        if (length < 16) {
          this.destroy(
            fromCause(new ProtocolViolation({ problem: "the client's CancelRequest is cut short" }), undefined)
          )
          return
        }
        const stop = this.#opener.cancel({ pid: seen.readInt32BE(8), secret: seen.subarray(12, length) }, {
          done: () => this.destroy(),
          failed
        })
        this.#phase = { _tag: "Opening", stop }
        return
      }
      default: {
        const stop = this.#opener.session(seen.subarray(0, length), {
          open: (relay, greeting) => {
            this.#phase = { _tag: "Open", relay }
            this.push(greeting)
            relay.resume()
          },
          failed
        }, this)
        // Trap: an answer that came at once has set the phase already.
        if (this.#phase._tag === "Waiting") this.#phase = { _tag: "Opening", stop }
      }
    }
  }

  override _read(): void {
    if (this.#phase._tag === "Open") this.#phase.relay.resume()
  }

  override _final(done: (error?: Error) => void): void {
    const phase = this.#phase
    this.#phase = { _tag: "Over" }
    if (phase._tag === "Open") phase.relay.finish()
    else if (phase._tag === "Opening") phase.stop()
    done()
    this.destroy()
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    const phase = this.#phase
    this.#phase = { _tag: "Over" }
    if (phase._tag === "Open") phase.relay.abandon()
    else if (phase._tag === "Opening") phase.stop()
    done(error)
  }
}

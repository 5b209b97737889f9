/**
 * The relay of one session: every frame between the driver and the server passes here (spec 2.3).
 *
 * Outside COPY frames pass unchanged and in order; what is learnt on the way is the session's state. A COPY of a marked
 * statement is taken out of the conversation: the driver, which knows no COPY, sees a statement that takes its time and then
 * has a command tag. A COPY without a mark is ended at once, and the driver is told 0A000.
 */
import type { Socket } from "node:net"
import { fromCause, type PgTransportError, ProtocolViolation, SessionLost } from "../../PgTransportError.ts"
import * as ServerFields from "../serverFields.ts"
import type { CopyFormat, CopyInput, CopyOutput, CopyWatcher, Session, Status, Watcher } from "./session.ts"

/** What a relay needs from its transport. */
export interface Host {
  /** The watcher of a token that was issued and not yet used; it counts as used from now on. */
  readonly claim: (token: string) => Watcher | undefined
  readonly onTag: (token: string, tag: string) => void
  readonly onNotice: (relay: Relay, fields: ServerFields.ServerFields) => void
  /** The types of the columns that are about to be described to the driver. */
  readonly onColumns: (oids: ReadonlyArray<number>) => void
  readonly onLost: (relay: Relay) => void
  /** A session that could not be saved was closed from this side. */
  readonly onDestroyed: () => void
  readonly now: () => number
}

/** The driver's side. */
export interface Client {
  /** False: stop reading from the server until `resume`. */
  readonly deliver: (bytes: Buffer) => boolean
  readonly destroy: (error: Error) => unknown
}

/** What goes from one Sync to its ReadyForQuery. */
interface Cycle {
  readonly number: number
  startedAt: number
  token: string | undefined
  watcher: Watcher | undefined
  tag: string | undefined
  error: ServerFields.ServerFields | undefined
}

/** A COPY under way, or its aftermath up to the last ReadyForQuery. */
interface Copy {
  readonly direction: "in" | "out"
  readonly watcher: CopyWatcher | undefined
  /** In: nothing more may be sent. Out: rows are thrown away. */
  over: boolean
  /** In: what is to be told of the end. `fenced` until the fence's CloseComplete, `closed` after it. */
  fence: "none" | "fenced" | "closed"
  /** How many keep the session from being ready. */
  holds: number
}

const frame = {
  bindComplete: 0x32,
  closeComplete: 0x33,
  commandComplete: 0x43,
  copyDone: 0x63,
  copyData: 0x64,
  copyInResponse: 0x47,
  copyOutResponse: 0x48,
  dataRow: 0x44,
  errorResponse: 0x45,
  noticeResponse: 0x4e,
  parameterStatus: 0x53,
  parse: 0x50,
  query: 0x51,
  rowDescription: 0x54,
  readyForQuery: 0x5a,
  sync: 0x53
} as const

/** A mark is at most this deep in a Parse frame: header, the statement's name (empty) and the comment. */
const markLength = "/*restante:".length + 32 + "*/".length
const markEnd = 5 + 1 + markLength
const markStart = Buffer.from("\0/*restante:")

/** A longer frame is passed on in pieces and not read: no more than this waits here. */
const wholeFrameLimit = 1024 * 1024

/** Errors are read for as long as the driver takes them. */
const errorLimit = 16 * 1024 * 1024

/** CopyData frames are cut to this size, far below the server's limit. */
const copyDataSize = 1024 * 1024

/** Milliseconds for the last bytes of a session. */
const goodbye = 1_000

const closeUnknown = "restante_fence"

/**
 * Sync, Close of a statement that does not exist, Sync. The driver's own Sync, sent with the COPY, is swallowed by a server that
 * reads rows, but is answered by one that failed before it read any, as after an error in a BEFORE STATEMENT trigger. Counting
 * ReadyForQuery cannot tell these apart; the CloseComplete can: the next ReadyForQuery after it is the last.
 */
const fence = Buffer.concat([
  Buffer.from([frame.sync, 0, 0, 0, 4]),
  Buffer.from([0x43, 0, 0, 0, 4 + 1 + closeUnknown.length + 1, 0x53]),
  Buffer.from(`${closeUnknown}\0`),
  Buffer.from([frame.sync, 0, 0, 0, 4])
])

const commitTag = Buffer.from("COMMIT\0")

const copyDone = Buffer.from([frame.copyDone, 0, 0, 0, 4])

const copyFail = (reason: string): Uint8Array => {
  const text = Buffer.from(reason.replaceAll("\0", " "))
  const bytes = Buffer.alloc(text.length + 6)
  bytes[0] = 0x66
  bytes.writeInt32BE(text.length + 5, 1)
  text.copy(bytes, 5)
  return bytes
}

const unmarked: ServerFields.ServerFields = {
  severity: "ERROR",
  severityUnlocalized: "ERROR",
  code: "0A000",
  message: "COPY is not supported in an ordinary statement",
  hint: "Use PgCopy of @restante/pg-session."
}

const statuses: Readonly<Record<number, Status>> = { 0x49: "idle", 0x54: "transaction", 0x45: "failed" }

const cstring = (bytes: Buffer, from: number, to: number): string => {
  const end = bytes.indexOf(0, from)
  return bytes.toString("utf8", from, end === -1 || end > to ? to : end)
}

export class Relay implements Session {
  readonly pid: number
  readonly parameters: Map<string, string>
  status: Status = "idle"
  firstError: ServerFields.ServerFields | undefined
  lastFailure: { readonly idleCount: number; readonly error: ServerFields.ServerFields } | undefined
  idleCount = 1
  commitCount = 0
  /** The last FATAL error: why the server is about to close. */
  fatal: ServerFields.ServerFields | undefined
  lost: PgTransportError | undefined
  readonly #socket: Socket
  readonly #client: Client
  readonly #host: Host
  /** The session's statement_timeout in milliseconds as given at startup; 0 for none. */
  readonly #statementTimeout: number
  /** The frames that the client is still sending a cycle of; moves to `#cycles` with its Sync. */
  #open: Cycle
  /** Sent, and not yet ready, oldest first. */
  readonly #cycles: Array<Cycle> = []
  #copy: Copy | undefined
  #unfinishedFromClient: Buffer | undefined
  /** What has come of a frame that must be whole, and how much of it there must be before it is looked at again. */
  #gathered: Array<Buffer> = []
  #gatheredSize = 0
  #wantedSize = 0
  /** Bytes of the current frame still to come, and what becomes of them. */
  #skipFromClient = 0
  #skipFromServer = 0
  #skipped: "pass" | "copy" = "pass"
  /** The cycle that this process last asked the server to cancel. */
  #cancelled = -1
  #paused = false
  #clientFull = false

  constructor(options: {
    readonly pid: number
    readonly parameters: ReadonlyMap<string, string>
    readonly socket: Socket
    readonly client: Client
    readonly host: Host
    readonly statementTimeout: number
  }) {
    this.pid = options.pid
    this.parameters = new Map(options.parameters)
    this.#socket = options.socket
    this.#client = options.client
    this.#host = options.host
    this.#statementTimeout = options.statementTimeout
    this.#open = this.#cycle(0)
    const socket = options.socket
    socket.on("data", this.#onServer)
    socket.on("end", () => this.#end(new SessionLost({ problem: "the server closed the connection" }), undefined))
    socket.on("error", (cause) => this.#end(new SessionLost({ problem: cause.message }), cause))
    const onClose = () => this.#end(new SessionLost({ problem: "the connection was closed" }), undefined)
    socket.on("close", onClose)
    // It may have gone between the end of authentication and now.
    if (socket.destroyed) setImmediate(onClose)
  }

  #cycle(number: number): Cycle {
    return { number, startedAt: 0, token: undefined, watcher: undefined, tag: undefined, error: undefined }
  }

  get sentCount(): number {
    return this.#open.number
  }

  // ---- lifetime

  destroy(error: PgTransportError): void {
    if (this.lost !== undefined) return
    this.#host.onDestroyed()
    this.#close(error)
  }

  #close(error: PgTransportError): void {
    this.#lose(error)
    this.#socket.destroy()
    this.#client.destroy(error)
  }

  /** The driver has said goodbye: that is flushed, within a second, then the socket is closed. */
  finish(): void {
    const socket = this.#socket
    this.#lose(closed())
    socket.end(() => socket.destroy())
    socket.setTimeout(goodbye, () => socket.destroy())
  }

  /** The driver gave the session up. */
  abandon(): void {
    this.#lose(closed())
    this.#socket.destroy()
  }

  #end(reason: SessionLost, cause: unknown): void {
    if (this.lost !== undefined) return
    const fatal = this.fatal
    this.#close(
      fatal === undefined
        ? fromCause(reason, cause)
        : fromCause(new SessionLost({ problem: `the server ended it (${fatal.code ?? "no code"})` }), fatal)
    )
  }

  #lose(error: PgTransportError): void {
    if (this.lost !== undefined) return
    this.lost = error
    this.#host.onLost(this)
    const watchers = [...this.#cycles, this.#open].map((cycle) => cycle.watcher)
    this.#cycles.length = 0
    for (const watcher of watchers) watcher?.onLost(error)
  }

  #violation(problem: string): void {
    this.destroy(fromCause(new ProtocolViolation({ problem }), undefined))
  }

  /** This process asked the server to cancel what the session is doing. */
  cancelling(): void {
    this.#cancelled = this.#cycles[0]?.number ?? -1
  }

  // ---- from the driver

  /** True: more may be sent at once. */
  fromClient(chunk: Buffer): boolean {
    if (this.lost !== undefined) return true
    const bytes = this.#unfinishedFromClient === undefined ? chunk : Buffer.concat([this.#unfinishedFromClient, chunk])
    this.#unfinishedFromClient = undefined
    let at = Math.min(this.#skipFromClient, bytes.length)
    this.#skipFromClient -= at
    while (at < bytes.length) {
      if (bytes.length - at < 5) return this.#sendUpTo(bytes, at)
      const size = 1 + bytes.readInt32BE(at + 1)
      if (size < 5) {
        this.#violation("a frame of the client is shorter than its header")
        return true
      }
      const type = bytes[at]
      if (type === frame.parse) {
        if (bytes.length - at < Math.min(size, markEnd)) return this.#sendUpTo(bytes, at)
        if (size > markEnd) this.#readMark(bytes, at)
      } else if (type === frame.sync || type === frame.query) {
        const cycle = this.#open
        cycle.startedAt = this.#host.now()
        this.#cycles.push(cycle)
        this.#open = this.#cycle(cycle.number + 1)
      }
      const end = Math.min(at + size, bytes.length)
      this.#skipFromClient = at + size - end
      at = end
    }
    return this.#socket.write(bytes)
  }

  #sendUpTo(bytes: Buffer, at: number): boolean {
    this.#unfinishedFromClient = Buffer.from(bytes.subarray(at))
    return at === 0 || this.#socket.write(bytes.subarray(0, at))
  }

  #readMark(bytes: Buffer, at: number): void {
    const start = at + 5
    for (let i = 0; i < markStart.length; i++) {
      if (bytes[start + i] !== markStart[i]) return
    }
    const from = start + markStart.length
    if (bytes[from + 32] !== 0x2a || bytes[from + 33] !== 0x2f) return
    const token = bytes.toString("latin1", from, from + 32)
    const watcher = this.#host.claim(token)
    if (watcher === undefined) return
    this.#open.token = token
    this.#open.watcher = watcher
    watcher.onSession(this)
  }

  onDrain(f: () => void): void {
    this.#socket.once("drain", f)
  }

  // ---- from the server

  /** The driver has room again. */
  resume(): void {
    this.#clientFull = false
    this.#flow()
  }

  #flow(): void {
    if (this.#paused || this.#clientFull) this.#socket.pause()
    else this.#socket.resume()
  }

  #pass(bytes: Buffer, from: number, to: number): void {
    if (to <= from) return
    if (!this.#client.deliver(from === 0 && to === bytes.length ? bytes : bytes.subarray(from, to))) {
      this.#clientFull = true
      this.#flow()
    }
  }

  readonly #onServer = (chunk: Buffer): void => {
    if (this.#gatheredSize === 0) return this.#receive(chunk)
    this.#gathered.push(chunk)
    this.#gatheredSize += chunk.length
    if (this.#gatheredSize < this.#wantedSize) return
    const bytes = Buffer.concat(this.#gathered)
    this.#gather(bytes, bytes.length, 0)
    this.#receive(bytes)
  }

  /** Keeps what begins at `at` until there are `wanted` bytes of it. */
  #gather(bytes: Buffer, at: number, wanted: number): void {
    this.#gathered = at < bytes.length ? [Buffer.from(bytes.subarray(at))] : []
    this.#gatheredSize = bytes.length - at
    this.#wantedSize = wanted
  }

  #receive(bytes: Buffer): void {
    /** Where what is still to be passed on begins. */
    let from = 0
    let at = 0
    let wanted = 0
    let copied = false
    if (this.#skipFromServer > 0) {
      at = Math.min(this.#skipFromServer, bytes.length)
      this.#skipFromServer -= at
      if (this.#skipped === "copy") {
        this.#copyData(bytes.subarray(0, at))
        copied = true
        from = at
      }
    }
    while (at < bytes.length && this.lost === undefined) {
      wanted = 5
      if (bytes.length - at < 5) break
      const size = 1 + bytes.readInt32BE(at + 1)
      if (size < 5) {
        this.#pass(bytes, from, at)
        return this.#violation("a frame of the server is shorter than its header")
      }
      const type = bytes[at]
      if (type === frame.dataRow || size > (type === frame.errorResponse ? errorLimit : wholeFrameLimit)) {
        if (type !== frame.copyData || this.#copy === undefined) {
          const end = Math.min(at + size, bytes.length)
          this.#skipFromServer = at + size - end
          this.#skipped = "pass"
          at = end
          continue
        }
      }
      if (type === frame.copyData && this.#copy !== undefined) {
        this.#pass(bytes, from, at)
        const end = Math.min(at + size, bytes.length)
        this.#copyData(bytes.subarray(at + 5, end))
        copied = true
        this.#skipFromServer = at + size - end
        this.#skipped = "copy"
        at = end
        from = end
        continue
      }
      wanted = size
      if (bytes.length - at < size) break
      if (type === frame.readyForQuery && (this.#copy?.holds ?? 0) > 0) {
        // One byte more than there is: until it is let go, nothing makes it whole.
        wanted = Number.POSITIVE_INFINITY
        break
      }
      const instead = this.#read(type ?? 0, bytes, at + 5, at + size)
      if (instead !== bytes) {
        this.#pass(bytes, from, at)
        from = at + size
        if (instead !== undefined) this.#pass(instead, 0, instead.length)
      }
      at += size
    }
    if (this.lost !== undefined) return
    if (copied) this.#copy?.watcher?.onChunkEnd()
    this.#pass(bytes, from, at)
    this.#gather(bytes, at, wanted)
  }

  #copyData(bytes: Buffer): void {
    const copy = this.#copy
    if (copy !== undefined && !copy.over && bytes.length > 0) copy.watcher?.onData(bytes)
  }

  /** Reads a whole frame. Gives `bytes` to pass it on, undefined to withhold it, or what to pass on in its place. */
  #read(type: number, bytes: Buffer, from: number, to: number): Buffer | undefined {
    const copy = this.#copy
    switch (type) {
      case frame.readyForQuery: {
        if (copy?.fence === "fenced") return undefined
        this.#ready(bytes[from] ?? 0)
        return bytes
      }
      case frame.closeComplete: {
        if (copy?.fence !== "fenced") return bytes
        copy.fence = "closed"
        return undefined
      }
      case frame.commandComplete: {
        const cycle = this.#cycles[0]
        if (copy !== undefined && copy.watcher === undefined) {
          // A COPY without a mark ran to its end: output, since input has been refused.
          if (cycle !== undefined) cycle.error = unmarked
          return Buffer.from(ServerFields.encodeError(unmarked))
        }
        if (cycle?.watcher !== undefined) {
          cycle.tag = cstring(bytes, from, to)
          if (cycle.token !== undefined && cycle.watcher.keepTag === true) this.#host.onTag(cycle.token, cycle.tag)
        }
        if (to - from === commitTag.length && bytes.compare(commitTag, 0, commitTag.length, from, to) === 0) {
          this.commitCount++
        }
        return bytes
      }
      case frame.rowDescription:
        this.#host.onColumns(columnTypes(bytes, from))
        return bytes
      case frame.errorResponse:
        return this.#error(bytes, from, to)
      case frame.noticeResponse:
        this.#host.onNotice(this, ServerFields.parse(bytes.subarray(from, to)))
        return bytes
      case frame.parameterStatus: {
        const name = cstring(bytes, from, to)
        this.parameters.set(name, cstring(bytes, from + Buffer.byteLength(name) + 1, to))
        return bytes
      }
      case frame.copyInResponse:
        this.#beginCopyIn(formatOf(bytes, from))
        return undefined
      case frame.copyOutResponse:
        this.#beginCopyOut(formatOf(bytes, from))
        return undefined
      case frame.copyDone:
        return copy === undefined ? bytes : undefined
      default:
        return bytes
    }
  }

  #ready(code: number): void {
    const status = statuses[code]
    if (status === undefined) return this.#violation("ReadyForQuery with an unknown status")
    this.status = status
    const cycle = this.#cycles.shift()
    if (status === "idle") {
      this.idleCount++
      if (this.firstError !== undefined) this.lastFailure = { idleCount: this.idleCount, error: this.firstError }
    }
    if (status === "failed") this.firstError ??= cycle?.error
    else this.firstError = undefined
    this.#copy = undefined
    if (this.#paused) {
      this.#paused = false
      this.#flow()
    }
    cycle?.watcher?.onReady({ tag: cycle.tag, error: cycle.error })
  }

  #error(bytes: Buffer, from: number, to: number): Buffer | undefined {
    const said = ServerFields.parse(bytes.subarray(from, to))
    let fields = said
    const severity = fields.severityUnlocalized ?? fields.severity
    if (severity === "FATAL" || severity === "PANIC") this.fatal = fields
    const cycle = this.#cycles[0]
    const copy = this.#copy
    if (copy?.direction === "in" && copy.watcher === undefined && severity === "ERROR") fields = unmarked
    else if (cycle !== undefined) fields = this.#annotated(fields, cycle)
    if (cycle !== undefined) cycle.error ??= fields
    if (copy?.direction === "in" && !copy.over) {
      copy.over = true
      this.#raiseFence(copy)
    }
    copy?.watcher?.onError(fields)
    return fields === said ? bytes : Buffer.from(ServerFields.encodeError(fields))
  }

  /** What only we know: whose cancel it was, and that the text the server saw began with a mark. */
  #annotated(fields: ServerFields.ServerFields, cycle: Cycle): ServerFields.ServerFields {
    const { code, position } = fields
    if (code === "57014") {
      const origin = this.#originOfCancel(cycle)
      if (origin !== undefined) return { ...fields, z: origin }
    }
    return cycle.token === undefined || position === undefined
      ? fields
      : { ...fields, position: String(Number(position) - markLength) }
  }

  /** Section 11's question: who ended this statement? Undefined: the server's words have to do. */
  #originOfCancel(cycle: Cycle): "self" | "timeout" | undefined {
    if (this.#cancelled === cycle.number) return "self"
    const limit = this.#statementTimeout
    return limit > 0 && this.#host.now() - cycle.startedAt >= limit ? "timeout" : undefined
  }

  // ---- COPY

  #raiseFence(copy: Copy): void {
    copy.fence = "fenced"
    this.#socket.write(fence)
  }

  /** See `Hold`. */
  #hold(copy: Copy): (() => void) | undefined {
    if (this.#copy !== copy || this.lost !== undefined) return undefined
    copy.holds++
    return () => {
      copy.holds--
      if (copy.holds > 0 || this.lost !== undefined || this.#wantedSize !== Number.POSITIVE_INFINITY) return
      const bytes = Buffer.concat(this.#gathered)
      this.#gather(bytes, bytes.length, 0)
      this.#receive(bytes)
    }
  }

  #beginCopyIn(format: CopyFormat): void {
    const watcher = this.#cycles[0]?.watcher?.copy
    const copy: Copy = { direction: "in", watcher, over: false, fence: "none", holds: 0 }
    this.#copy = copy
    const socket = this.#socket
    const end = (bytes: Uint8Array): void => {
      if (copy.over || this.lost !== undefined) return
      copy.over = true
      socket.cork()
      socket.write(bytes)
      this.#raiseFence(copy)
      socket.uncork()
    }
    const input: CopyInput = {
      write: (bytes) => {
        if (copy.over || this.lost !== undefined) return
        socket.cork()
        for (let at = 0; at < bytes.length; at += copyDataSize) {
          const part = bytes.subarray(at, at + copyDataSize)
          const header = Buffer.allocUnsafe(5)
          header[0] = frame.copyData
          header.writeInt32BE(part.length + 4, 1)
          socket.write(header)
          socket.write(part)
        }
        socket.uncork()
      },
      isFull: () => socket.writableNeedDrain,
      onDrain: (f) => {
        socket.once("drain", f)
        return () => socket.off("drain", f)
      },
      done: () => end(copyDone),
      fail: (reason) => end(copyFail(reason)),
      hold: () => this.#hold(copy)
    }
    if (watcher === undefined) input.fail(unmarked.message ?? "")
    else watcher.onCopyIn(input, format)
  }

  #beginCopyOut(format: CopyFormat): void {
    const watcher = this.#cycles[0]?.watcher?.copy
    const copy: Copy = { direction: "out", watcher, over: false, fence: "none", holds: 0 }
    this.#copy = copy
    const output: CopyOutput = {
      pause: () => {
        if (this.#copy !== copy) return
        this.#paused = true
        this.#flow()
      },
      resume: () => {
        // A consumer may take its rest when the session is busy with somebody else's COPY.
        if (this.#copy !== copy || this.lost !== undefined) return
        this.#paused = false
        this.#flow()
      },
      discard: () => {
        copy.over = true
      },
      hold: () => this.#hold(copy)
    }
    watcher?.onCopyOut(output, format)
  }
}

/** The types in a RowDescription: for each column its name, then 18 bytes, of which 6 to 9 are the type's OID. */
const columnTypes = (bytes: Buffer, from: number): ReadonlyArray<number> => {
  const oids: Array<number> = []
  let at = from + 2
  for (let left = bytes.readInt16BE(from); left > 0; left--) {
    at = bytes.indexOf(0, at) + 1
    oids.push(bytes.readUInt32BE(at + 6))
    at += 18
  }
  return oids
}

const closed = () => fromCause(new SessionLost({ problem: "the session was closed here" }), undefined)

const formatOf = (bytes: Buffer, from: number): CopyFormat => ({
  binary: bytes[from] === 1,
  columns: bytes.readInt16BE(from + 1)
})

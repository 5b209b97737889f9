/**
 * COPY in both directions, with back-pressure, in or outside a transaction (spec 3).
 *
 * Everything here needs a `PgClient` whose connections go through a `PgTransport`, as `PgSession.layer` gives it; with a plain
 * one it fails with `Misuse` and sends nothing. A COPY runs on the connection of the current transaction if there is one,
 * otherwise on one of the pool. It is one statement: it stores every row or none.
 *
 * In a transaction the session is busy until the COPY has ended: a source or a consumer that itself runs a statement in the same
 * transaction waits for ever. Give it a connection of its own, or read first.
 *
 * Memory: at most 256 KiB wait on either side, however long the data. A stalled server stalls the source, a stalled
 * consumer stalls the server.
 */
import { Cause, Effect, Exit, Result, type Scope, Semaphore, Stream } from "effect"
import { begin, type Conversation, type Sink } from "./internal/copy/conversation.ts"
import * as Target from "./internal/copy/target.ts"
import * as TextRow from "./internal/copy/textRow.ts"
import { PgClient } from "./internal/driver.ts"
import type { CopyFormat, CopyInput, CopyOutput } from "./internal/transport/session.ts"
import { BadRow, fromCause, Misuse, type PgCopyError } from "./PgCopyError.ts"

export type { FormatOptions, Query, Table } from "./internal/copy/target.ts"
export * from "./PgCopyError.ts"

export interface Copied {
  /** As the server counted them. */
  readonly rows: number
}

/** A COPY FROM STDIN under way. */
export interface Writer {
  /** The columns that a row has, and whether the format is binary: what the server said. */
  readonly format: CopyFormat
  /**
   * Sends bytes; where rows begin and end is for the bytes to say. Returns when the next may be written.
   *
   * - errors: `CopyError` once the server has refused what it has so far, `SessionLost`, `Misuse` after the end
   */
  readonly write: (bytes: Uint8Array) => Effect.Effect<void, PgCopyError>
  /** Ends the input; returns when the server has taken it all. Interruption cancels the statement. */
  readonly finish: Effect.Effect<Copied, PgCopyError>
  /** Gives up: no row is stored. The server's log shows the reason. In a transaction, that has failed. */
  readonly cancel: (reason: string) => Effect.Effect<void>
}

export interface OutOptions extends Target.FormatOptions {
  /**
   * What to do with the rest when the consumer has enough. `cancel` asks the server to stop: over within 5 s, but a transaction
   * has then failed. `drain` reads it all and throws it away, however long that takes: the transaction stays good. A consumer
   * that fails or is interrupted cancels in any case. Default: `cancel`.
   */
  readonly onEarlyEnd?: "cancel" | "drain" | undefined
}

const misuse = (kind: Misuse["kind"], problem: string): PgCopyError =>
  fromCause(new Misuse({ kind, problem }), undefined)

const finished = misuse("Finished", "the writer has been finished or cancelled")

const notOutput = misuse("WrongDirection", "this is a COPY TO; use copyOut or copyOutSql. Nothing was copied")

const notInput = misuse("WrongDirection", "this is a COPY FROM; use copyIn, copyInSql or writer. Nothing was copied")

const notCopy = misuse(
  "NotCopy",
  "the statement is no COPY from STDIN or to STDOUT; it has been run, and what it does is done"
)

/** As much is sent in one piece at most, and rows are gathered up to it. */
const pieceSize = 64 * 1024

const writerOf = (
  conversation: Conversation,
  input: CopyInput,
  format: CopyFormat
): { readonly writer: Writer; readonly isOver: () => boolean } => {
  let over = false
  // Several fibers may write, each in its turn.
  const turn = Semaphore.makeUnsafe(1)
  const room = Effect.callback<void>((resume) => {
    const done = () => {
      stop()
      resume(Effect.void)
    }
    const forgetStop = conversation.onStopped(done)
    const forgetDrain = input.onDrain(done)
    const stop = () => {
      forgetStop()
      forgetDrain()
    }
    // Trap: looked at here, in the same step, because a fiber may give way to others between two effects.
    if (conversation.isStopped() || !input.isFull()) done()
    return Effect.sync(stop)
  })
  /** Why nothing more is taken. Success would mean that the server is content with what it has; it never is. */
  const refusal = Effect.asVoid(conversation.result)
  const write = (bytes: Uint8Array): Effect.Effect<void, PgCopyError> =>
    turn.withPermit(Effect.suspend(() => {
      if (over) return Effect.fail(finished)
      if (conversation.isStopped()) return refusal
      input.write(bytes)
      if (!input.isFull()) return Effect.void
      return Effect.flatMap(room, () => conversation.isStopped() ? refusal : Effect.void)
    }))
  return {
    isOver: () => over,
    writer: {
      format,
      write,
      finish: Effect.uninterruptibleMask((restore) =>
        Effect.suspend(() => {
          if (over) return Effect.fail(finished)
          over = true
          if (conversation.isStopped()) return Effect.as(refusal, { rows: 0 })
          conversation.complete()
          input.done()
          return restore(conversation.result).pipe(
            Effect.onInterrupt(() => conversation.abort("the caller was interrupted")),
            Effect.map((rows) => ({ rows }))
          )
        })
      ),
      cancel: (reason) =>
        Effect.uninterruptible(Effect.suspend(() => {
          if (over) return Effect.void
          over = true
          return conversation.abort(reason)
        }))
    }
  }
}

interface Opened {
  readonly writer: Writer
  /** The statement has stopped by itself: the server refused, or is gone. */
  readonly stopped: Effect.Effect<void>
}

/** Begins a COPY FROM STDIN; what is unfinished when the scope closes is given up. */
const open = (text: string): Effect.Effect<Opened, PgCopyError, Scope.Scope | PgClient.PgClient> =>
  Effect.uninterruptibleMask((restore) =>
    Effect.gen(function*() {
      const sql = yield* PgClient.PgClient
      const conversation = yield* begin(sql, text)
      const waiting = <A>(effect: Effect.Effect<A>) =>
        Effect.onInterrupt(restore(effect), () => conversation.abort("the caller was interrupted"))
      const started = yield* waiting(conversation.started)
      switch (started._tag) {
        case "Ended":
          yield* conversation.result
          return yield* notCopy
        case "Out":
          yield* waiting(conversation.drain)
          return yield* notOutput
        case "In": {
          const { isOver, writer } = writerOf(conversation, started.input, started.format)
          yield* Effect.addFinalizer((exit) =>
            Effect.suspend(() => isOver() ? Effect.void : conversation.abort(reasonOf(exit)))
          )
          return { writer, stopped: conversation.stopped }
        }
      }
    })
  )

/** What the server's log will say. Never the source's own words: they may quote what it was reading. */
const reasonOf = (exit: Exit.Exit<unknown, unknown>): string => {
  if (Exit.isSuccess(exit)) return "the writer was closed before it was finished"
  if (Cause.hasInterruptsOnly(exit.cause)) return "the caller was interrupted"
  return Cause.hasDies(exit.cause) ? "the source died" : "the source failed"
}

const textOf = (
  direction: "from stdin" | "to stdout",
  target: Target.Table | Target.Query,
  options: Target.FormatOptions
): Effect.Effect<string, PgCopyError> =>
  Effect.fromResult(
    Result.mapError(Target.statement(direction, target, options), (reason) => fromCause(reason, undefined))
  )

const joined = (parts: ReadonlyArray<Uint8Array>): Uint8Array =>
  parts.length === 1 && parts[0] !== undefined ? parts[0] : Buffer.concat(parts)

/** What an array of the source's items comes to, made as it is asked for: an item may be large, and an array long. */
type Encode<A> = (items: ReadonlyArray<A>) => Iterator<Result.Result<Uint8Array, BadRow>>

/** Small pieces of one array travel together. */
const pieces: Encode<Uint8Array> = function*(parts) {
  let from = 0
  let size = 0
  for (let i = 0; i < parts.length; i++) {
    const length = parts[i]?.length ?? 0
    if (size > 0 && size + length > pieceSize) {
      yield Result.succeed(joined(parts.slice(from, i)))
      from = i
      size = 0
    }
    size += length
  }
  if (size > 0) yield Result.succeed(joined(parts.slice(from)))
}

/** Lines of text; `encode` is given an item and its number, from 1 on. */
const lines = <A>(encode: (item: A, number: number) => Result.Result<string, BadRow>): Encode<A> => {
  let number = 0
  return function*(items) {
    let text = ""
    for (const item of items) {
      const line = encode(item, ++number)
      if (Result.isFailure(line)) return yield Result.fail(line.failure)
      text += line.success
      if (text.length >= pieceSize) {
        yield Result.succeed(Buffer.from(text))
        text = ""
      }
    }
    if (text !== "") yield Result.succeed(Buffer.from(text))
  }
}

/** Runs the source into the writer. If the server refuses in mid-stream, the source is interrupted and finalized. */
const feed = <A, E, R>(
  { stopped, writer }: Opened,
  source: Stream.Stream<A, E, R>,
  encode: Encode<A>
): Effect.Effect<Copied, E | PgCopyError, R> => {
  const run = Stream.runForEachArray(source, (items) => {
    const encoded = encode(items)
    const next: Effect.Effect<void, PgCopyError> = Effect.suspend(() => {
      const { done, value } = encoded.next()
      if (done === true) return Effect.void
      return Result.isFailure(value)
        ? Effect.fail(fromCause(value.failure, undefined))
        : Effect.flatMap(writer.write(value.success), () => next)
    })
    return next
  })
  return Effect.andThen(Effect.raceFirst(run, stopped), writer.finish)
}

/**
 * Any COPY … FROM STDIN, sent as given, with the bytes of a stream as they are.
 *
 * - errors: those of the stream, after which no row is stored and a transaction has failed; `PgCopyError`
 */
export const copyInSql = <E, R>(
  sql: string,
  source: Stream.Stream<Uint8Array, E, R>
): Effect.Effect<Copied, E | PgCopyError, Exclude<R, Scope.Scope> | PgClient.PgClient> =>
  Effect.scoped(Effect.flatMap(open(sql), (opened) => feed(opened, source, pieces)))

/** Copies bytes in the format of the options into a table; otherwise as `copyInSql`. */
export const copyIn = <E, R>(
  target: Target.Table,
  source: Stream.Stream<Uint8Array, E, R>,
  options: Target.FormatOptions = {}
): Effect.Effect<Copied, E | PgCopyError, Exclude<R, Scope.Scope> | PgClient.PgClient> =>
  Effect.flatMap(textOf("from stdin", target, options), (sql) => copyInSql(sql, source))

// Trap: encoding to UTF-8 would replace half a surrogate pair silently.
const lineOf = (line: string, number: number): Result.Result<string, BadRow> =>
  line.isWellFormed()
    ? Result.succeed(line.endsWith("\n") ? line : `${line}\n`)
    : Result.fail(new BadRow({ row: number, problem: "text that is not well-formed Unicode" }))

/** Options of a format that is text, and then UTF-8. */
export type TextOptions = Omit<Target.FormatOptions, "format" | "encoding">

/** Copies lines of text; one that does not end with a newline is given one. Otherwise as `copyIn`. */
export const copyInLines = <E, R>(
  target: Target.Table,
  source: Stream.Stream<string, E, R>,
  options: TextOptions & { readonly format?: "text" | "csv" | undefined } = {}
): Effect.Effect<Copied, E | PgCopyError, Exclude<R, Scope.Scope> | PgClient.PgClient> =>
  Effect.flatMap(
    textOf("from stdin", target, { ...options, encoding: "UTF8" }),
    (sql) => Effect.scoped(Effect.flatMap(open(sql), (opened) => feed(opened, source, lines(lineOf))))
  )

/**
 * Copies rows of values, one for each column. NULL is null; text, numbers (with NaN and the infinities), bigints, booleans,
 * `Uint8Array` as bytea, `Date` with its zone, nested arrays as array literals, other objects as JSON.
 *
 * - errors: `BadRow` for undefined, a wrong number of values, NUL or half a surrogate pair in text, an invalid Date, an array of
 *   more than six dimensions: nothing is stored then; otherwise as `copyInSql`
 */
export const copyInRows = <E, R>(
  target: Target.Table,
  rows: Stream.Stream<ReadonlyArray<unknown>, E, R>
): Effect.Effect<Copied, E | PgCopyError, Exclude<R, Scope.Scope> | PgClient.PgClient> =>
  Effect.flatMap(
    textOf("from stdin", target, { encoding: "UTF8" }),
    (sql) =>
      Effect.scoped(Effect.flatMap(open(sql), (opened) => {
        const { columns } = opened.writer.format
        return feed(opened, rows, lines((row, number) => TextRow.encode(row, columns, number)))
      }))
  )

/** For writing by hand; closing the scope unfinished gives up, and no row is stored. */
export const writer = (
  target: Target.Table,
  options: Target.FormatOptions = {}
): Effect.Effect<Writer, PgCopyError, Scope.Scope | PgClient.PgClient> =>
  Effect.flatMap(textOf("from stdin", target, options), (sql) => Effect.map(open(sql), ({ writer }) => writer))

// ---- output

/** As much may wait for the consumer before the server is stalled. What is on its way adds one read of the socket. */
const waitingLimit = 128 * 1024

/** What has come and was not taken yet. */
class Arrivals implements Sink {
  #output: CopyOutput | undefined
  #parts: Array<Uint8Array> = []
  #chunks: Array<Uint8Array> = []
  #size = 0
  #paused = false
  #wake: (() => void) | undefined
  #ended = false

  readonly onOutput = (output: CopyOutput): void => {
    this.#output = output
  }

  readonly onData = (bytes: Uint8Array): void => {
    this.#parts.push(bytes)
    this.#size += bytes.length
  }

  /** One chunk for what came in one read of the socket: rows may be small, and each has a frame of its own. */
  readonly onChunkEnd = (): void => {
    if (this.#parts.length === 0) return
    this.#chunks.push(joined(this.#parts))
    this.#parts = []
    if (this.#size >= waitingLimit && !this.#paused) {
      this.#paused = true
      this.#output?.pause()
    }
    this.wake()
  }

  readonly wake = (): void => {
    const wake = this.#wake
    this.#wake = undefined
    wake?.()
  }

  take(): readonly [Uint8Array, ...Array<Uint8Array>] | undefined {
    this.onChunkEnd()
    const [first, ...rest] = this.#chunks
    if (first === undefined) return undefined
    this.#chunks = []
    this.#size = 0
    if (this.#paused) {
      this.#paused = false
      this.#output?.resume()
    }
    return [first, ...rest]
  }

  /** Nothing more comes. */
  readonly end = (): void => {
    this.#ended = true
    this.wake()
  }

  get ended(): boolean {
    return this.#ended
  }

  readonly arrived: Effect.Effect<void> = Effect.callback((resume) => {
    // Trap: looked at here, in the same step, because a fiber may give way to others between two effects.
    if (this.#ended || this.#chunks.length > 0) return resume(Effect.void)
    this.#wake = () => resume(Effect.void)
    return Effect.sync(() => {
      this.#wake = undefined
    })
  })
}

/** `onStart` is told what the server says of the output before any of it comes. */
const output = (
  sql: string,
  onEarlyEnd: OutOptions["onEarlyEnd"],
  onStart: (format: CopyFormat) => void = () => {}
): Stream.Stream<Uint8Array, PgCopyError, PgClient.PgClient> =>
  Stream.scoped(Stream.fromPull(Effect.uninterruptibleMask((restore) =>
    Effect.gen(function*() {
      const client = yield* PgClient.PgClient
      const arrivals = new Arrivals()
      const conversation = yield* begin(client, sql, arrivals)
      conversation.onStopped(arrivals.end)
      const started = yield* Effect.onInterrupt(
        restore(conversation.started),
        () => conversation.abort("the consumer was interrupted")
      )
      if (started._tag === "In") {
        yield* conversation.abort(notInput.reason.message)
        return yield* notInput
      }
      if (started._tag === "Ended") {
        yield* conversation.result
        return yield* notCopy
      }
      onStart(started.format)
      yield* Effect.addFinalizer((exit) =>
        Effect.suspend(() => {
          if (arrivals.ended) return Effect.void
          return onEarlyEnd === "drain" && Exit.isSuccess(exit)
            ? conversation.drain
            : conversation.abort("the consumer has enough")
        })
      )
      const pull: Effect.Effect<readonly [Uint8Array, ...Array<Uint8Array>], PgCopyError | Cause.Done> = Effect.suspend(
        () => {
          const chunks = arrivals.take()
          if (chunks !== undefined) return Effect.succeed(chunks)
          if (arrivals.ended) return Effect.andThen(conversation.result, Cause.done())
          return Effect.andThen(arrivals.arrived, pull)
        }
      )
      return pull
    })
  )))

/**
 * Any COPY … TO STDOUT, sent as given: its bytes as they come, not cut at rows.
 *
 * - errors: `PgCopyError`, also after some bytes
 */
export const copyOutSql = (
  sql: string,
  options: Pick<OutOptions, "onEarlyEnd"> = {}
): Stream.Stream<Uint8Array, PgCopyError, PgClient.PgClient> => output(sql, options.onEarlyEnd)

/** Copies a table, or the rows of a query, out in the format of the options; otherwise as `copyOutSql`. */
export const copyOut = (
  target: Target.Table | Target.Query,
  options: OutOptions = {}
): Stream.Stream<Uint8Array, PgCopyError, PgClient.PgClient> => {
  const { onEarlyEnd, ...format } = options
  return Stream.unwrap(Effect.map(textOf("to stdout", target, format), (sql) => output(sql, onEarlyEnd)))
}

const newline = 0x0a

/** Cuts bytes at newlines. A line that is not whole is kept in the pieces in which it came: joining them each time adds up. */
const linesOf = <E, R>(bytes: Stream.Stream<Uint8Array, E, R>): Stream.Stream<string, E, R> =>
  Stream.mapAccumArray(
    bytes,
    (): Array<Uint8Array> => [],
    (rest, chunks) => {
      const texts: Array<string> = []
      for (const chunk of chunks) {
        const end = chunk.lastIndexOf(newline)
        if (end === -1) {
          rest.push(chunk)
          continue
        }
        const whole = Buffer.concat([...rest, chunk.subarray(0, end)])
        for (const text of whole.toString("utf8").split("\n")) texts.push(text)
        rest = end + 1 === chunk.length ? [] : [chunk.subarray(end + 1)]
      }
      return [rest, texts] as const
    }
  )

/** The lines of COPY's text format without their newlines: there a newline within a value is escaped, so each is one row. */
export const copyOutLines = (
  target: Target.Table | Target.Query,
  options: TextOptions & Pick<OutOptions, "onEarlyEnd"> = {}
): Stream.Stream<string, PgCopyError, PgClient.PgClient> => linesOf(copyOut(target, { ...options, encoding: "UTF8" }))

/** The rows as text, each column as the server writes it; null for NULL. Columns are in the table's or query's order. */
export const copyOutRows = (
  target: Target.Table | Target.Query,
  options: Pick<OutOptions, "onEarlyEnd"> = {}
): Stream.Stream<ReadonlyArray<string | null>, PgCopyError, PgClient.PgClient> =>
  Stream.unwrap(Effect.map(textOf("to stdout", target, { encoding: "UTF8" }), (sql) => {
    let columns = 1
    const bytes = output(sql, options.onEarlyEnd, (format) => {
      columns = format.columns
    })
    return Stream.map(linesOf(bytes), (line) => TextRow.decode(line, columns))
  }))

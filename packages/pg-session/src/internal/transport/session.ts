/**
 * A live session as the other modules of this package see it, and how a statement is marked so that the transport knows it.
 *
 * A mark is a comment at the very start of a statement's text, with a token that was issued for that one statement. When its
 * Parse frame passes, the watcher of the mark learns which session it is on, and what becomes of it.
 */
import type { PgTransportError } from "../../PgTransportError.ts"
import type { ServerFields } from "../serverFields.ts"

/** From the last ReadyForQuery. */
export type Status = "idle" | "transaction" | "failed"

export interface Session {
  readonly pid: number
  readonly status: Status
  /** The first error since the transaction was good, while `status` is `failed`. */
  readonly firstError: ServerFields | undefined
  /** The first error of the last transaction that ended as a failed one, and `idleCount` after its end. */
  readonly lastFailure: { readonly idleCount: number; readonly error: ServerFields } | undefined
  /** How often the session has been ready outside a transaction. Unchanged since BEGIN: the body ended nothing itself. */
  readonly idleCount: number
  /** How many statements, or groups of them up to a Sync, have been sent. Unchanged: nothing was. */
  readonly sentCount: number
  /** How many COMMITs the server has confirmed. */
  readonly commitCount: number
  /** The server has said that it ends the session; `lost` follows. */
  readonly fatal: ServerFields | undefined
  /** Set once the session is over, for whatever reason. */
  readonly lost: PgTransportError | undefined
  /** Closes the socket at once, without Terminate. The client sees the error as the cause. */
  readonly destroy: (error: PgTransportError) => void
}

/** Told synchronously, from the socket's events; must not throw. Every marked statement ends in exactly one of the last two. */
export interface Watcher {
  /** The statement's Parse frame is about to be sent on this session. */
  readonly onSession: (session: Session) => void
  /** ReadyForQuery of the marked statement: its command tag if it had one, or the server's error. */
  readonly onReady: (outcome: { readonly tag: string | undefined; readonly error: ServerFields | undefined }) => void
  /** The session ended before. */
  readonly onLost: (error: PgTransportError) => void
  /** Whether the transport is to keep the command tag by its token. */
  readonly keepTag?: boolean | undefined
  /** What to do if the statement turns out to be a COPY. Without it such a statement fails with 0A000. */
  readonly copy?: CopyWatcher | undefined
}

export interface CopyFormat {
  readonly binary: boolean
  readonly columns: number
}

export interface CopyWatcher {
  /** The server awaits rows. Called at most once, as is `onCopyOut`. */
  readonly onCopyIn: (input: CopyInput, format: CopyFormat) => void
  /** The server will send rows. */
  readonly onCopyOut: (output: CopyOutput, format: CopyFormat) => void
  /** The body of one CopyData frame; only until the next event is it safe to read without a copy. */
  readonly onData: (bytes: Uint8Array) => void
  /** A part of the output went by: called after each chunk of the socket that had some, the time to apply back-pressure. */
  readonly onChunkEnd: () => void
  /** The server refused the rest of the input, or the output broke off; `onReady` follows. */
  readonly onError: (fields: ServerFields) => void
}

export interface CopyInput {
  /** Sends bytes as CopyData. Does nothing after an end or an error. */
  readonly write: (bytes: Uint8Array) => void
  /** Whether the next bytes have to wait for `onDrain`. */
  readonly isFull: () => boolean
  /** Calls back once when there is room again. Gives what takes that back. */
  readonly onDrain: (f: () => void) => () => void
  /** CopyDone, and the fence. */
  readonly done: () => void
  /** CopyFail with this reason, and the fence. */
  readonly fail: (reason: string) => void
  readonly hold: Hold
}

export interface CopyOutput {
  /** Stops reading from the socket. */
  readonly pause: () => void
  readonly resume: () => void
  /** From now on rows are read and thrown away. */
  readonly discard: () => void
  readonly hold: Hold
}

/**
 * Keeps the session from being ready until the function that it gives is called, so that a CancelRequest which is on its way
 * cannot hit somebody else's statement. Undefined if the statement is over already.
 */
type Hold = () => (() => void) | undefined

export interface Mark {
  /** To put at the very start of the statement's text. */
  readonly comment: string
  readonly token: string
  /** For a statement that was never sent: forgets the token. */
  readonly withdraw: () => void
}

/**
 * One COPY statement under way: the driver runs it as a statement that takes its time, the relay hands its data to us.
 *
 * The statement runs on a fiber of its own, because the driver answers an interruption with a CancelRequest, which a server
 * that awaits rows does not hear: only CopyFail ends it.
 */
import { Deferred, Effect, Fiber, Predicate } from "effect"
import { CopyError, fromCause, Misuse, NoSession, type PgCopyError, SessionLost } from "../../PgCopyError.ts"
import * as Transport from "../../PgTransportError.ts"
import type { PgClient, SqlError } from "../driver.ts"
import * as Internals from "../transport/internals.ts"
import type { CopyFormat, CopyInput, CopyOutput, Session } from "../transport/session.ts"

/** How the server took the statement. */
type Started =
  | { readonly _tag: "In"; readonly input: CopyInput; readonly format: CopyFormat }
  | { readonly _tag: "Out"; readonly output: CopyOutput; readonly format: CopyFormat }
  /** It ended, or failed, without any data being awaited or sent. */
  | { readonly _tag: "Ended" }

/** Told of a COPY's output as it arrives, synchronously. */
export interface Sink {
  readonly onOutput: (output: CopyOutput) => void
  readonly onData: (bytes: Uint8Array) => void
  readonly onChunkEnd: () => void
}

export interface Conversation {
  readonly started: Effect.Effect<Started>
  /** The server has refused the rest, or the statement is over: nothing more needs to be sent. */
  readonly stopped: Effect.Effect<void>
  readonly isStopped: () => boolean
  /** Runs when it stops; at once if it has. Gives what takes that back. */
  readonly onStopped: (f: () => void) => () => void
  /** The statement's end: its rows, or what went wrong. */
  readonly result: Effect.Effect<number, PgCopyError>
  /** The input is complete: from now on a lost session may leave the outcome unknown. */
  readonly complete: () => void
  /** Ends the statement whatever it does, and awaits its end. The session is destroyed if that takes more than 5 s. */
  readonly abort: (reason: string) => Effect.Effect<void>
  /** Throws the rest of the output away and awaits the end, however long that takes. */
  readonly drain: Effect.Effect<void>
}

const noTransport = new Misuse({
  kind: "NoTransport",
  problem: "COPY needs a client whose connections go through a PgTransport: use PgSession.layer or PgTransport.layer"
})

/** How long a server may take to end a COPY that is given up (spec 3). */
const patience = "5 seconds"

/** How long CopyFail is given before a CancelRequest follows. */
const grace = "200 millis"

const rowsOf = (tag: string | undefined): number => Number(/^COPY (\d+)$/.exec(tag ?? "")?.[1] ?? 0)

/** `COPY t, line 3, column a: "x"`: what the server's context says, in whatever language it says the words. */
const place = (where: unknown) => {
  const match = Predicate.isString(where)
    ? /COPY [^\n]*?, \p{L}+ (\d+)(?:, \p{L}+ ([^\n:]+?))?(?::|$|\n)/u.exec(where)
    : null
  return {
    ...(match?.[1] === undefined ? undefined : { line: Number(match[1]) }),
    ...(match?.[2] === undefined ? undefined : { column: match[2] })
  }
}

/** Must be called where it cannot be interrupted, and be followed by `result` or `abort` on every path. */
export const begin = (
  sql: PgClient.PgClient,
  text: string,
  sink?: Sink
): Effect.Effect<Conversation, PgCopyError> =>
  Effect.gen(function*() {
    const internals = Internals.ofClient(sql)
    if (internals === undefined) return yield* fromCause(noTransport, undefined)
    const started = Deferred.makeUnsafe<Started>()
    const stopped = Deferred.makeUnsafe<void>()
    const listeners = new Set<() => void>()
    let session: Session | undefined
    let lost: Transport.PgTransportError | undefined
    let tag: string | undefined
    let handle: Started = { _tag: "Ended" }
    let givenUp: string | undefined
    let complete = false
    let inTransaction = false

    const stop = () => {
      if (!Deferred.doneUnsafe(stopped, Effect.void)) return
      for (const listener of listeners) listener()
    }
    const begun = (state: Started) => {
      handle = state
      Deferred.doneUnsafe(started, Effect.succeed(state))
      if (givenUp !== undefined) letGo(givenUp)
    }
    const letGo = (reason: string) => {
      if (handle._tag === "In") handle.input.fail(reason)
      if (handle._tag === "Out") {
        handle.output.discard()
        handle.output.resume()
      }
    }

    const mark = internals.mark({
      onSession: (found) => {
        session = found
        inTransaction = found.status !== "idle"
      },
      onReady: (outcome) => {
        tag = outcome.tag
        stop()
      },
      onLost: (error) => {
        lost = error
        stop()
      },
      copy: {
        onCopyIn: (input, format) => begun({ _tag: "In", input, format }),
        onCopyOut: (output, format) => {
          sink?.onOutput(output)
          begun({ _tag: "Out", output, format })
        },
        onData: (bytes) => sink?.onData(bytes),
        onChunkEnd: () => sink?.onChunkEnd(),
        onError: stop
      }
    })
    const fiber = yield* Effect.forkDetach(sql.unsafe(`${mark.comment}${text}`).unprepared, { startImmediately: true })
    fiber.addObserver(() => {
      mark.withdraw()
      Deferred.doneUnsafe(started, Effect.succeed<Started>({ _tag: "Ended" }))
      stop()
    })

    /** In a transaction nothing has, before its COMMIT. A statement that turned out to be no COPY may do anything. */
    const mayHaveEffect = () => !inTransaction && (handle._tag === "Ended" || (handle._tag === "In" && complete))

    const failure = (error: SqlError): PgCopyError => {
      const cause: unknown = error.reason.cause
      if (
        Predicate.hasProperty(cause, "severity") && Predicate.hasProperty(cause, "code") &&
        Predicate.isString(cause.code)
      ) {
        return fromCause(
          new CopyError({
            sqlstate: cause.code,
            problem: Predicate.hasProperty(cause, "message") ? String(cause.message) : "no message",
            ...place(Predicate.hasProperty(cause, "where") ? cause.where : undefined)
          }),
          error
        )
      }
      return session === undefined && lost === undefined && error.reason.operation === "connect"
        ? fromCause(new NoSession(), error)
        : fromCause(new SessionLost({ outcome: mayHaveEffect() ? "unknown" : "notApplied" }), error)
    }

    const result = Fiber.join(fiber).pipe(Effect.mapError(failure), Effect.map(() => rowsOf(tag)))

    const awaited = Effect.asVoid(Fiber.await(fiber))
    const destroy = Effect.suspend(() => {
      session?.destroy(
        Transport.fromCause(new Transport.SessionLost({ problem: `a COPY did not end within ${patience}` }), undefined)
      )
      return awaited
    })
    /**
     * Asks the server to cancel the statement, unless it is over. Until the request has arrived the session is not ready: the
     * next statement on it may be anybody's.
     */
    const cancel = Effect.suspend(() => {
      const release = handle._tag === "Ended" || session === undefined ? undefined : held(handle)
      return release === undefined || session === undefined
        ? Effect.void
        : Effect.ensuring(Effect.ignore(internals.cancel(session.pid)), Effect.sync(release))
    })
    const end = Effect.suspend(() => {
      switch (handle._tag) {
        case "Ended":
          // It waits for a connection or for a lock: the driver knows how to end that.
          return Fiber.interrupt(fiber)
        case "Out":
          return Effect.andThen(cancel, awaited)
        case "In":
          // CopyFail is heard by a server that reads. One that is busy, in a trigger or waiting for a lock, hears this.
          return Effect.timeoutOrElse(awaited, { duration: grace, orElse: () => Effect.andThen(cancel, awaited) })
      }
    })

    return {
      started: Deferred.await(started),
      stopped: Deferred.await(stopped),
      isStopped: () => Deferred.isDoneUnsafe(stopped),
      onStopped: (f) => {
        if (Deferred.isDoneUnsafe(stopped)) f()
        else listeners.add(f)
        return () => listeners.delete(f)
      },
      result,
      complete: () => {
        complete = true
      },
      abort: (reason) =>
        Effect.suspend(() => {
          givenUp = reason
          letGo(reason)
          return Effect.timeoutOrElse(end, { duration: patience, orElse: () => destroy })
        }),
      drain: Effect.suspend(() => {
        givenUp = ""
        letGo("")
        return awaited
      })
    }
  })

const held = (handle: Exclude<Started, { readonly _tag: "Ended" }>): (() => void) | undefined =>
  handle._tag === "In" ? handle.input.hold() : handle.output.hold()

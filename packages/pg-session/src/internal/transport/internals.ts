/**
 * What a transport offers to the other modules of this package only, found by the service it belongs to.
 */
import { type Effect, Predicate } from "effect"
import type { PgTransportError } from "../../PgTransportError.ts"
import type { Mark, Session, Watcher } from "./session.ts"

export interface Internals {
  /** Issues a mark for one statement, which must be sent unprepared. */
  readonly mark: (watcher: Watcher) => Mark
  /** Calls `f` with the types of a result's columns before the driver is told of them: the last moment to have codecs. */
  readonly onColumns: (f: (oids: ReadonlyArray<number>) => void) => void
  readonly session: (pid: number) => Session | undefined
  /** Asks the server to cancel what the session is doing. Nothing happens if there is no such session. */
  readonly cancel: (pid: number) => Effect.Effect<void, PgTransportError>
}

const byTransport = new WeakMap<object, Internals>()
const byStream = new WeakMap<object, Internals>()

export const set = (transport: { readonly stream: object }, internals: Internals): void => {
  byTransport.set(transport, internals)
  byStream.set(transport.stream, internals)
}

/** Undefined for an object that `PgTransport.make` did not give. */
export const of = (transport: object): Internals | undefined => byTransport.get(transport)

/**
 * Those of the transport that a client's connections go through; undefined for a plain client. Better than a transport from
 * the context, which may be another client's.
 */
export const ofClient = (client: object): Internals | undefined =>
  Predicate.hasProperty(client, "config") && Predicate.hasProperty(client.config, "stream") &&
    Predicate.isFunction(client.config.stream)
    ? byStream.get(client.config.stream)
    : undefined

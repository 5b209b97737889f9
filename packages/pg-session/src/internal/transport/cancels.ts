/**
 * Word of cancels that this process asks for by other ways than a transport's own, so that the transport whose session is
 * meant can tell them from the server's and other people's (spec 5, and the split of 57014 in spec 11).
 */
import type { Address } from "./options.ts"

export interface Cancel {
  readonly pid: number
  /** Undefined if it was asked for by SQL, on a connection that does not say where it goes. */
  readonly address: Address | undefined
}

type Listener = (cancel: Cancel) => void

const listeners = new Set<Listener>()

/** To be called right before the server is asked. */
export const announce = (cancel: Cancel): void => {
  for (const listener of listeners) listener(cancel)
}

/** Gives what ends the listening. */
export const listen = (listener: Listener): () => void => {
  listeners.add(listener)
  return () => listeners.delete(listener)
}

/** Whether a session at this address may be the one that is meant. */
export const concerns = (cancel: Cancel, address: Address): boolean =>
  cancel.address === undefined
  || ("path" in cancel.address
    ? "path" in address && cancel.address.path === address.path
    : "host" in address && cancel.address.host === address.host && cancel.address.port === address.port)

/**
 * What a session has sent and what it was given, by number, so that it can say what was lost and what came twice.
 *
 * The packages that are compared with take JSON: a message is its number and a text of as many bytes as the bodies have that
 * everybody else stores. Where a queue is a kind of job rather than an address, all of them are in one.
 */
import { texts } from "../src/Payload.ts"

export interface Message {
  readonly number: number
  readonly body: string
}

export interface Ledger {
  readonly next: () => Message
  readonly many: (count: number) => ReadonlyArray<Message>
  /** A message was given to a worker. */
  readonly take: (message: Message) => void
  /** How many messages have been sent and not yet been taken. */
  readonly left: () => number
  /** The package said that something went wrong. */
  readonly fail: (error: unknown) => void
  readonly clear: () => void
  /** What is wrong, given how many messages are stored that are still to be taken. */
  readonly problem: (stored: number) => string | undefined
}

export const make = (bodyBytes: number): Ledger => {
  const text = texts(bodyBytes)
  let sent = 0
  let taken = 0
  let seen = new Uint8Array(1 << 16)
  let wrong: string | undefined
  const next = (): Message => {
    const number = sent
    sent += 1
    return { number, body: text(number) }
  }
  return {
    next,
    many: (count) => Array.from({ length: count }, next),
    take: ({ body, number }) => {
      taken += 1
      if (number >= seen.length) {
        const larger = new Uint8Array(Math.max(2 * seen.length, number + 1))
        larger.set(seen)
        seen = larger
      }
      if (!(number < sent)) wrong ??= `message ${number} was never sent`
      else if (seen[number] === 1) wrong ??= `message ${number} came twice`
      else if (body !== text(number)) wrong ??= `the body of message ${number} is not the one that was sent`
      seen[number] = 1
    },
    left: () => sent - taken,
    fail: (error) => {
      wrong ??= error instanceof Error ? error.message : String(error)
    },
    clear: () => {
      sent = 0
      taken = 0
      seen = new Uint8Array(1 << 16)
      wrong = undefined
    },
    problem: (stored) =>
      wrong ?? (stored === sent - taken
        ? undefined
        : `${sent} messages were sent and ${taken} taken, but ${stored} are stored`)
  }
}

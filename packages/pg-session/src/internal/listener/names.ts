/** What the server would refuse, or silently take for something else, as a channel or a payload. */
import { Effect } from "effect"
import { BadChannel, BadPayload, ListenerError } from "./ListenerError.ts"

/** NAMEDATALEN of every packaged server, less the terminating byte. */
const channelBytes = 63
/** NOTIFY_PAYLOAD_MAX_LENGTH of every packaged server is 8,000, and a payload has to be shorter. */
const payloadBytes = 7_999

const problemOf = (text: string): string | undefined =>
  text.includes("\0")
    ? "contains a NUL character, which PostgreSQL cannot store"
    : text.isWellFormed()
    ? undefined
    : "contains half of a surrogate pair, which has no UTF-8 form"

const badChannel = (problem: string) => new ListenerError({ reason: new BadChannel({ problem }) })
const badPayload = (problem: string) => new ListenerError({ reason: new BadPayload({ problem }) })

export const checkChannel = (channel: string): Effect.Effect<void, ListenerError> => {
  const bytes = Buffer.byteLength(channel)
  if (bytes === 0) return Effect.fail(badChannel("the channel's name is empty"))
  if (bytes > channelBytes) {
    return Effect.fail(badChannel(`the channel's name has ${bytes} bytes; PostgreSQL takes at most ${channelBytes}`))
  }
  const problem = problemOf(channel)
  return problem === undefined ? Effect.void : Effect.fail(badChannel(`the channel's name ${problem}`))
}

export const checkPayload = (payload: string): Effect.Effect<void, ListenerError> => {
  const bytes = Buffer.byteLength(payload)
  if (bytes > payloadBytes) {
    return Effect.fail(badPayload(
      `the payload has ${bytes} bytes; PostgreSQL takes at most ${payloadBytes}: store it and send its key`
    ))
  }
  const problem = problemOf(payload)
  return problem === undefined ? Effect.void : Effect.fail(badPayload(`the payload ${problem}`))
}

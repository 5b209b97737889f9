/**
 * The message lines of the text log of a SimpleX server (spec 8.1), in the form that simplexmq 6.5.5 writes: `v3`, recipient
 * id, message id, whole seconds, then a flags field and the body, or the word `quota`.
 */
import { hardBodyLimit, MessageId } from "../../Message.ts"
import { RecipientId } from "../../QueueId.ts"
import * as Base64Url from "./base64url.ts"
import type { Codec, Decoded } from "./codec.ts"
import { bodyTooLarge, malformed, noBytes } from "./codec.ts"
import type { Room } from "./room.ts"

const seconds = /^\d{1,16}$/
/** Text behind the letter is for flags that are still to be invented. */
const flags = /^flags=([TF])/

const quota = "quota"

const decoder = new TextDecoder("utf-8", { ignoreBOM: true })

/** Trap: what `split` or `slice` make of a text keeps all of it in memory, and an id lives as long as its entry. */
const ownText = (line: Uint8Array, start: number, length: number): string =>
  decoder.decode(line.subarray(start, start + length))

const space = 0x20
const equals = 0x3d

/** Where a padded text that ends here ends without its padding; any other text where it does. */
const unpadded = (line: Uint8Array, start: number, end: number): number => {
  if ((end - start) % 4 !== 0 || line[end - 1] !== equals) return end
  return line[end - 2] === equals ? end - 2 : end - 1
}

const decode = (line: Uint8Array, room: Room): Decoded => {
  const last = line.lastIndexOf(space)
  // One field more than there may be in front of the last one, so that it shows.
  const [version, recipient = "", message = "", time = "", ...rest] = decoder.decode(
    line.subarray(0, Math.max(last, 0))
  )
    .split(" ", 6)
  const recipientId = Base64Url.unpad(ownText(line, 3, recipient.length))
  const id = Base64Url.unpad(ownText(line, 4 + recipient.length, message.length))
  const timestamp = seconds.test(time) ? Number(time) * 1_000 : Number.NaN
  if (
    version !== "v3" || !RecipientId.is(recipientId) || !MessageId.is(id) || !Number.isSafeInteger(timestamp) ||
    rest.length > 1
  ) return malformed
  const start = last + 1
  if (rest.length === 0 && line.length - start === quota.length && ownText(line, start, quota.length) === quota) {
    return {
      _tag: "Entry",
      recipientId,
      entry: { kind: "quota", id, timestamp, notify: false, body: noBytes, sequence: 0n }
    }
  }
  const flag = rest.length === 0 ? "F" : flags.exec(rest[0] ?? "")?.[1]
  if (flag === undefined) return malformed
  const end = unpadded(line, start, line.length)
  if (Base64Url.byteLength(end - start) > hardBodyLimit) return bodyTooLarge
  const body = Base64Url.decode(line, start, end, room)
  return body === undefined ? malformed : {
    _tag: "Entry",
    recipientId,
    entry: { kind: "message", id, timestamp, notify: flag === "T", body, sequence: 0n }
  }
}

const padded = (id: string): string => id + Base64Url.padding(id.length)

export const codec: Codec = {
  frame: undefined,
  encode: (output, record) => {
    // Nothing stands for a queue in this format.
    if (record._tag === "Queue") return
    const { body, id, kind, notify, timestamp } = record.entry
    const start = `v3 ${padded(record.recipientId)} ${padded(id)} ${Math.floor(timestamp / 1_000)}`
    if (kind === "quota") {
      output.text(`${start} quota\n`)
      return
    }
    output.text(`${start} flags=${notify ? "T" : "F"} `)
    output.base64url(body)
    output.text(`${Base64Url.padding(Base64Url.textLength(body.length))}\n`)
  },
  decode
}

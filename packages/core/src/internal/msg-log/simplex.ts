/**
 * The message lines of the text log of a SimpleX server (spec 8.1), in the form that simplexmq 6.5.5 writes: `v3`, recipient
 * id, message id, whole seconds, then a flags field and the body, or the word `quota`.
 */
import { hardBodyLimit, MessageId } from "../../Message.ts"
import { RecipientId } from "../../QueueId.ts"
import * as Base64Url from "./base64url.ts"
import type { Codec, Decoded } from "./codec.ts"
import { bodyTooLarge, malformed, noBytes } from "./codec.ts"

const seconds = /^\d{1,16}$/
/** Text behind the letter is for flags that are still to be invented. */
const flags = /^flags=([TF])/

const decoder = new TextDecoder("utf-8", { ignoreBOM: true })

/** Trap: what `split` or `slice` make of a text keeps all of it in memory, and an id lives as long as its entry. */
const ownText = (line: Uint8Array, start: number, length: number): string =>
  decoder.decode(line.subarray(start, start + length))

const decode = (line: Uint8Array): Decoded => {
  // One field more than a line may have, so that it shows.
  const [version, recipient = "", message = "", time = "", ...rest] = decoder.decode(line).split(" ", 7)
  const recipientId = Base64Url.unpad(ownText(line, 3, recipient.length))
  const id = Base64Url.unpad(ownText(line, 4 + recipient.length, message.length))
  const timestamp = seconds.test(time) ? Number(time) * 1_000 : Number.NaN
  if (
    version !== "v3" || !RecipientId.is(recipientId) || !MessageId.is(id) || !Number.isSafeInteger(timestamp) ||
    rest.length === 0 || rest.length > 2
  ) return malformed
  if (rest.length === 1 && rest[0] === "quota") {
    return {
      _tag: "Entry",
      recipientId,
      entry: { kind: "quota", id, timestamp, notify: false, body: noBytes, sequence: 0n }
    }
  }
  const flag = rest.length === 1 ? "F" : flags.exec(rest[0] ?? "")?.[1]
  const text = Base64Url.unpad(rest.at(-1) ?? "")
  if (flag === undefined) return malformed
  if (Base64Url.byteLength(text.length) > hardBodyLimit) return bodyTooLarge
  const body = Base64Url.decode(text)
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

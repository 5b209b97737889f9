/**
 * Both formats of section 8.1, read and written without any haste: the model's half of exports and imports. It shares no
 * code with what it judges.
 */
import type { MessageLog, MsgStoreDriver } from "restante"
import { MessageId, RecipientId, SenderId } from "restante"

/** What a line of a log says, or why it is rejected. */
export type ReadLine =
  | MsgStoreDriver.LogRecord
  | { readonly _tag: "Header" }
  | { readonly _tag: "End"; readonly total: number }
  | { readonly _tag: "Rejected"; readonly reason: "Malformed" | "BodyTooLarge" | "LineTooLong" }

const malformed: ReadLine = { _tag: "Rejected", reason: "Malformed" }

const toText = (bytes: Uint8Array): string => {
  let binary = ""
  for (const byte of bytes) binary += String.fromCharCode(byte)
  return btoa(binary).replaceAll("+", "-").replaceAll("/", "_")
}

const unpadded = (text: string): string => text.replaceAll("=", "")

/** The bytes of a text, if the text is what those bytes are written as. */
const toBytes = (text: string): Uint8Array | undefined => {
  if (!/^[A-Za-z0-9_-]*$/.test(text) || text.length % 4 === 1) return undefined
  const binary = atob(text.replaceAll("-", "+").replaceAll("_", "/"))
  const bytes = Uint8Array.from(binary, (letter) => letter.charCodeAt(0))
  return unpadded(toText(bytes)) === text ? bytes : undefined
}

const isId = (value: unknown): value is string => {
  if (typeof value !== "string") return false
  const bytes = toBytes(value)
  return bytes !== undefined && bytes.length >= 1 && bytes.length <= 64
}

const isWhole = (value: unknown, maximum: number): value is number =>
  typeof value === "number" && Number.isInteger(value) && value >= 0 && value <= maximum && !Object.is(value, -0)

const isSequence = (value: unknown, maximum: bigint): value is string =>
  typeof value === "string" && /^[0-9]{1,19}$/.test(value) && !value.startsWith("0") && BigInt(value) <= maximum

const latest = 2 ** 53 - 1
const highest = 2n ** 62n

const message = (
  recipientId: string,
  id: string,
  timestamp: number,
  notify: boolean,
  text: string,
  sequence: bigint
): ReadLine => {
  if (Math.floor(text.length * 3 / 4) > 8_388_608) return { _tag: "Rejected", reason: "BodyTooLarge" }
  const body = toBytes(text)
  if (body === undefined) return malformed
  return {
    _tag: "Entry",
    recipientId: asRecipientId(recipientId),
    entry: { kind: "message", id: asMessageId(id), timestamp, notify, body, sequence }
  }
}

const marker = (recipientId: string, id: string, timestamp: number, sequence: bigint): ReadLine => ({
  _tag: "Entry",
  recipientId: asRecipientId(recipientId),
  entry: { kind: "quota", id: asMessageId(id), timestamp, notify: false, body: new Uint8Array(0), sequence }
})

const orThrow = <A>(parsed: { readonly _tag: "Success"; readonly success: A } | { readonly _tag: "Failure" }): A => {
  if (parsed._tag === "Success") return parsed.success
  throw new Error("an id that was checked is none")
}
const asRecipientId = (text: string): RecipientId => orThrow(RecipientId.parse(text))
const asSenderId = (text: string): SenderId => orThrow(SenderId.parse(text))
const asMessageId = (text: string): MessageId => orThrow(MessageId.parse(text))

const readRestante = (line: string): ReadLine => {
  let value: unknown
  try {
    value = JSON.parse(line)
  } catch {
    return malformed
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) return malformed
  const fields = new Map<string, unknown>(Object.entries(value))
  const has = (...names: ReadonlyArray<string>) =>
    fields.size === names.length + 1 && names.every((name) => fields.has(name))
  const recipientId = fields.get("recipientId")
  const sequence = fields.get("sequence")
  const id = fields.get("id")
  const timestamp = fields.get("timestamp")
  switch (fields.get("t")) {
    case "header":
      return has("format", "version") && fields.get("format") === "restante" && fields.get("version") === 1
        ? { _tag: "Header" }
        : malformed
    case "queue": {
      const senderId = fields.get("senderId")
      const quota = fields.get("quota")
      const status = fields.get("status")
      const createdAt = fields.get("createdAt")
      const updatedAt = fields.get("updatedAt")
      const nextSequence = fields.get("nextSequence")
      if (!has("recipientId", "senderId", "quota", "status", "createdAt", "updatedAt", "nextSequence")) return malformed
      if (!isId(recipientId) || !isId(senderId) || recipientId === senderId) return malformed
      if (quota !== null && !isWhole(quota, 2 ** 31 - 1)) return malformed
      if (status !== "active" && status !== "suspended") return malformed
      if (!isWhole(createdAt, latest) || !isWhole(updatedAt, latest)) return malformed
      if (!isSequence(nextSequence, highest + 1n)) return malformed
      return {
        _tag: "Queue",
        queue: {
          recipientId: asRecipientId(recipientId),
          senderId: asSenderId(senderId),
          quota: quota ?? undefined,
          status,
          createdAt,
          updatedAt,
          nextSequence: BigInt(nextSequence)
        }
      }
    }
    case "message": {
      const notify = fields.get("notify")
      const body = fields.get("body")
      if (!has("recipientId", "sequence", "id", "timestamp", "notify", "body")) return malformed
      if (!isId(recipientId) || !isId(id) || !isSequence(sequence, highest) || !isWhole(timestamp, latest)) {
        return malformed
      }
      if (typeof notify !== "boolean" || typeof body !== "string") return malformed
      return message(recipientId, id, timestamp, notify, body, BigInt(sequence))
    }
    case "quota":
      if (!has("recipientId", "sequence", "id", "timestamp")) return malformed
      if (!isId(recipientId) || !isId(id) || !isSequence(sequence, highest) || !isWhole(timestamp, latest)) {
        return malformed
      }
      return marker(recipientId, id, timestamp, BigInt(sequence))
    case "end": {
      const queues = fields.get("queues")
      const entries = fields.get("entries")
      return has("queues", "entries") && isWhole(queues, latest) && isWhole(entries, latest)
        ? { _tag: "End", total: queues + entries }
        : malformed
    }
    default:
      return malformed
  }
}

const simplexLine =
  /^v3 (?<recipient>[^ ]+) (?<message>[^ ]+) (?<seconds>[0-9]{1,16}) (?:(?<quota>quota)|(?:flags=(?<flag>[TF])[^ ]* )?(?<body>[^ ]*))$/

/** Text with all of its padding, or with none. */
const withoutPadding = (text: string): string | undefined => {
  const letters = unpadded(text)
  return text === letters || text === letters + "=".repeat((4 - letters.length % 4) % 4) ? letters : undefined
}

const readSimplex = (line: string): ReadLine => {
  const fields = simplexLine.exec(line)?.groups
  if (fields === undefined) return malformed
  const recipientId = withoutPadding(fields["recipient"] ?? "")
  const id = withoutPadding(fields["message"] ?? "")
  const timestamp = Number(fields["seconds"]) * 1_000
  if (!isId(recipientId) || !isId(id) || !isWhole(timestamp, latest)) return malformed
  if (fields["quota"] !== undefined) return marker(recipientId, id, timestamp, 0n)
  const body = withoutPadding(fields["body"] ?? "")
  return body === undefined ? malformed : message(recipientId, id, timestamp, fields["flag"] === "T", body, 0n)
}

/** The meaning of a line that is not empty. */
export const readLine = (line: string, format: MessageLog.Format): ReadLine => {
  if (line.length > 12 * 1024 * 1024) return { _tag: "Rejected", reason: "LineTooLong" }
  return format === "restante" ? readRestante(line) : readSimplex(line)
}

/** The line of a record, without its end; none if the format has no such line. */
export const printLine = (record: MsgStoreDriver.LogRecord, format: MessageLog.Format): string | undefined => {
  if (record._tag === "Queue") {
    if (format === "simplex-v3") return undefined
    const { createdAt, nextSequence, quota, recipientId, senderId, status, updatedAt } = record.queue
    return JSON.stringify({
      t: "queue",
      recipientId,
      senderId,
      quota: quota ?? null,
      status,
      createdAt,
      updatedAt,
      nextSequence: String(nextSequence)
    })
  }
  const { recipientId } = record
  const { body, id, kind, notify, timestamp } = record.entry
  const sequence = String(record.entry.sequence)
  if (format === "simplex-v3") {
    const start = [
      "v3",
      toText(RecipientId.toBytes(recipientId)),
      toText(MessageId.toBytes(id)),
      String((timestamp - timestamp % 1_000) / 1_000)
    ]
    return [...start, ...(kind === "quota" ? ["quota"] : [`flags=${notify ? "T" : "F"}`, toText(body)])].join(" ")
  }
  if (kind === "quota") return JSON.stringify({ t: "quota", recipientId, sequence, id, timestamp })
  return JSON.stringify({ t: "message", recipientId, sequence, id, timestamp, notify, body: unpadded(toText(body)) })
}

/** The first and last line of a format that has them. */
export const header = `{"t":"header","format":"restante","version":1}`
export const end = (queues: number, entries: number): string => JSON.stringify({ t: "end", queues, entries })

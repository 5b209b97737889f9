/**
 * The queues and messages of `MsgStore` that are measured, the same in every run, and the log by which they get into a store:
 * an import is the fastest way there is.
 */
import { Result } from "effect"
import { createHash } from "node:crypto"
import { MessageId, RecipientId, SenderId } from "restante"
import { bodies } from "./Payload.ts"

export interface Address {
  readonly recipientId: RecipientId
  readonly senderId: SenderId
}

const idBytes = (name: string): Uint8Array => createHash("sha256").update(name).digest().subarray(0, 24)

/** Ids look random, as those of a real store are. */
export const addresses = (count: number): ReadonlyArray<Address> =>
  Array.from({ length: count }, (_, i) => ({
    recipientId: Result.getOrThrow(RecipientId.fromBytes(idBytes(`recipient ${i}`))),
    senderId: Result.getOrThrow(SenderId.fromBytes(idBytes(`sender ${i}`)))
  }))

const odd = 0x9e3779b1
/** odd * inverse = 1 modulo 2^32. */
const inverse = 0x0e8b2f51

const scratch = Buffer.alloc(24, 7)

/** The id of the message with this number, below 2^32. Neighbours are far from each other, as random ids are. */
export const idOf = (number: number): MessageId => {
  scratch.writeUInt32BE(Math.imul(number, odd) >>> 0)
  const id = scratch.toString("base64url")
  if (!MessageId.is(id)) throw new Error("an id of 24 bytes is an id")
  return id
}

/** The number of the message that has this id. */
export const numberOf = (id: MessageId): number => Math.imul(Buffer.from(id, "base64url").readUInt32BE(), inverse) >>> 0

const time = 1_700_000_000_000

const headerLine = `{"t":"header","format":"restante","version":1}\n`

const queueLine = ({ recipientId, senderId }: Address): string =>
  `{"t":"queue","recipientId":"${recipientId}","senderId":"${senderId}","quota":null,"status":"active",` +
  `"createdAt":${time},"updatedAt":${time},"nextSequence":"1"}\n`

const endLine = (queues: number, entries: number): string => `{"t":"end","queues":${queues},"entries":${entries}}\n`

export interface Load {
  readonly addresses: ReadonlyArray<Address>
  /** Spread evenly; the first queues get what is left over. */
  readonly messages: number
  readonly bodyBytes: number
  /** The number of the first message. */
  readonly first: number
}

/** How many of the messages a queue gets. */
const shareOf = (queue: number, { addresses, messages }: Load): number =>
  Math.floor(messages / addresses.length) + (queue < messages % addresses.length ? 1 : 0)

const pieceSize = 64 * 1_024

/** A log of format `restante` with the queues and their messages, in pieces. */
export function* log(load: Load): Generator<Uint8Array> {
  const body = bodies(load.bodyBytes)
  const texts = new Map<Uint8Array, string>()
  const textOf = (number: number): string => {
    const bytes = body(number)
    const text = texts.get(bytes) ?? Buffer.from(bytes).toString("base64url")
    texts.set(bytes, text)
    return text
  }
  let number = load.first
  let text = headerLine
  for (const [queue, address] of load.addresses.entries()) {
    text += queueLine(address)
    const share = shareOf(queue, load)
    for (let sequence = 1; sequence <= share; sequence++) {
      text += `{"t":"message","recipientId":"${address.recipientId}","sequence":"${sequence}","id":"${idOf(number)}",` +
        `"timestamp":${time},"notify":false,"body":"${textOf(number)}"}\n`
      number++
      if (text.length >= pieceSize) {
        yield Buffer.from(text, "latin1")
        text = ""
      }
    }
  }
  yield Buffer.from(text + endLine(load.addresses.length, load.messages), "latin1")
}

import type { Brand } from "effect"
import { Effect, Result, Schema } from "effect"
import * as SecureRandom from "effect/crypto/SecureRandom"
import * as Base64Url from "effect/encoding/Base64Url"
import { InvalidArgument } from "../InvalidArgument.ts"

/** An id of 1 to 64 bytes, held as its text form: unpadded base64url, one text for each byte string. */
export type ByteId<Name extends string> = string & Brand.Brand<Name>

/** What every kind of id can do. */
export interface ByteIdModule<Name extends string> {
  /** The text form as it crosses a boundary: 2 to 86 characters of unpadded base64url. */
  readonly schema: Schema.Codec<ByteId<Name>, string>
  /** An id of these bytes. Fails with `InvalidArgument` unless there are 1 to 64 of them. */
  readonly fromBytes: (bytes: Uint8Array) => Result.Result<ByteId<Name>, InvalidArgument>
  /** An id from its text form, as printed by another process. Fails with `InvalidArgument` if it is not one. */
  readonly parse: (text: string) => Result.Result<ByteId<Name>, InvalidArgument>
  /** An id whose bytes are the UTF-8 of a name that is written in the program. Throws unless it has 1 to 64 bytes. */
  readonly named: (name: string) => ByteId<Name>
  /** A new id of 24 random bytes from a cryptographic source. */
  readonly random: Effect.Effect<ByteId<Name>>
  /** `random` as a plain function. */
  readonly randomUnsafe: () => ByteId<Name>
  /** Is this text the form of an id? */
  readonly is: (text: unknown) => text is ByteId<Name>
  /** The bytes of an id, in a fresh array. */
  readonly toBytes: (id: ByteId<Name>) => Uint8Array
}

const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
const shape = /^[\w-]{2,86}$/
const encoder = new TextEncoder()

/**
 * Canonical means that the bits left over in the last character are zero. Without this rule two texts would decode to
 * the same bytes, and ids that are equal as bytes would differ as map keys.
 */
const isCanonical = (text: string): boolean => {
  const rest = text.length % 4
  if (rest === 0) return true
  const last = alphabet.indexOf(text.charAt(text.length - 1))
  return rest === 2 ? last % 16 === 0 : rest === 3 && last % 4 === 0
}

const is = <Name extends string>(text: unknown): text is ByteId<Name> =>
  typeof text === "string" && shape.test(text) && isCanonical(text)

/** How many ids are drawn at once: one by one, and encoded by `Base64Url`, an id took ten times as long. */
const drawnTogether = 128
let random: DataView = new DataView(new ArrayBuffer(0))
let used = 0
const codes: Array<number> = []

/** The text of 24 random bytes, none of which is ever used again. */
const drawText = (): string => {
  if (used === random.byteLength) {
    const { buffer, byteLength, byteOffset } = SecureRandom.randomBytesUnsafe(24 * drawnTogether)
    random = new DataView(buffer, byteOffset, byteLength)
    used = 0
  }
  for (let i = 0; i < 32; i += 4, used += 3) {
    const bits = random.getUint16(used) << 8 | random.getUint8(used + 2)
    for (let k = 0; k < 4; k++) codes[i + k] = alphabet.charCodeAt(bits >> 18 - 6 * k & 63)
  }
  return String.fromCharCode(...codes)
}

export const make = <const Name extends string>(name: Name, field: string): ByteIdModule<Name> => {
  const invalid = new InvalidArgument({ field, problem: "must be 1 to 64 bytes, written as unpadded base64url" })
  const parse = (text: string) => is<Name>(text) ? Result.succeed(text) : Result.fail(invalid)
  const fromBytes = (bytes: Uint8Array) => parse(Base64Url.encode(bytes))
  const randomUnsafe = () => Result.getOrThrow(parse(drawText()))
  return {
    is: is<Name>,
    parse,
    fromBytes,
    named: (text) => Result.getOrThrow(fromBytes(encoder.encode(text))),
    random: Effect.sync(randomUnsafe),
    randomUnsafe,
    toBytes: (id) => Result.getOrThrow(Base64Url.decode(id)),
    schema: Schema.String.pipe(Schema.refine(is<Name>, { identifier: name }))
  }
}

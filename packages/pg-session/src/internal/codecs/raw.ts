/**
 * The binary form itself, for types that nobody has a codec for. The driver would take the bytes for text: garbled at best,
 * the end of the session if they are no UTF-8.
 */
import { Data } from "effect"
import type { PgTypes } from "../driver.ts"
import { codec, refuse } from "./bytes.ts"

/** A value in the binary form of PostgreSQL (`typsend`), with the OID of its type. */
export class PgRaw extends Data.TaggedClass("PgRaw")<{ readonly oid: number; readonly bytes: Uint8Array }> {}

/** Bytes as they are. As a parameter, only a `PgRaw` of the same type; other forms go untyped, as text. */
export const rawCodec = (oid: number): PgTypes.Codec<unknown> =>
  codec<unknown>(
    `type ${oid}`,
    (reader) => new PgRaw({ oid, bytes: reader.bytes().slice() }),
    (writer, value) => {
      if (!(value instanceof PgRaw)) return refuse(`type ${oid}: a PgRaw expected; literal text can be given untyped`)
      if (value.oid !== oid) return refuse(`type ${oid}: this PgRaw is of type ${value.oid}`)
      writer.bytes(value.bytes)
    }
  )

/**
 * Ids between their text form and `bytea`.
 */
import { PgTypes } from "@effect/sql-pg"
import { Result } from "effect"

/** The bytes of an id. Node's decoder is many times faster than one in JavaScript, and ids travel with every call. */
export const ofId = (id: string): Uint8Array => Buffer.from(id, "base64url")

/** The text form of an id. Whether it is one is for the id's own `is` to say. */
export const toText = (bytes: Uint8Array): string =>
  Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("base64url")

/** A parameter of a type with values that may be null. */
export const array = (values: ReadonlyArray<unknown>, elementOid: number): PgTypes.Parameter =>
  Result.getOrThrow(PgTypes.array(values, elementOid))

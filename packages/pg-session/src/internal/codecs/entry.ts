/**
 * What a codec says about the type it is for, so that the registry can install it together with its array type.
 */
import type { PgTypes } from "../driver.ts"

/** A type with a fixed OID and its codec. */
export interface Entry<A> {
  readonly name: string
  readonly oid: number
  readonly arrayOid: number
  readonly codec: PgTypes.Codec<A>
  /**
   * Whether a value of the type is itself a JavaScript array (jsonb, tsvector, multiranges). `[[1], [2]]` is then one
   * dimension of two values, and more dimensions are written as a `PgArray`.
   */
  readonly arrayForm?: boolean
}

/** A type of an extension or a user, whose OIDs only the catalogue knows. */
export interface NamedEntry<A> {
  readonly extension: string
  readonly name: string
  readonly codec: PgTypes.Codec<A>
}

/**
 * The driver's own codec of a type, for values inside others. It comes from a registry that nobody else can change:
 * codecs that a program registers globally would otherwise change what is inside a range as well. And the driver's errors
 * quote the value that they refuse; these do not.
 */
import { Result } from "effect"
import { PgTypes } from "../../driver.ts"

const registry = PgTypes.makeRegistry()

const names = new Map<number, string>(Object.entries(PgTypes.OID).map(([name, oid]) => [oid, name]))

export const builtIn = (oid: number): PgTypes.Codec<unknown> => {
  const message = `${names.get(oid) ?? oid}: the value is not one that the type can hold`
  return {
    encode: (value) => Result.mapError(PgTypes.encode(value, oid, registry), () => new PgTypes.CodecError({ message })),
    decode: (bytes) => PgTypes.decode(bytes, oid, 1, registry)
  }
}

/**
 * Rows as values: anonymous records, and composite types by the attribute names of the catalogue.
 */
import type { PgTypes } from "../driver.ts"
import type { Elements } from "./array.ts"
import { codec, type Reader, refuse } from "./bytes.ts"
import { rawCodec } from "./raw.ts"

/** An anonymous row, in order: PostgreSQL sends the types of its fields and no names. */
export type PgRecord = ReadonlyArray<{ readonly oid: number; readonly value: unknown }>

/** An attribute of a composite type that was not dropped. */
export interface Attribute {
  readonly name: string
  readonly oid: number
}

/** Records in records may be deep enough to exhaust the stack; below this they are left as they came. */
const deepest = 100
let depth = 0

const read = (elements: Elements, reader: Reader): PgRecord => {
  const count = reader.count(8)
  depth++
  try {
    return Array.from({ length: count }, () => {
      const oid = reader.uint32()
      return { oid, value: reader.sized(depth > deepest ? rawCodec(oid) : elements.codecOf(oid)) }
    })
  } finally {
    depth--
  }
}

/** `record`. PostgreSQL takes none as a parameter. */
export const recordCodec = (elements: Elements): PgTypes.Codec<unknown> =>
  codec<unknown>(
    "record",
    (reader) => read(elements, reader),
    () => refuse("record: no type of a parameter; name a composite type")
  )

const isObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null && !Array.isArray(value)

/**
 * A composite type, as an object by attribute name. As a parameter it has to have every attribute and no other. A value
 * whose fields differ from the attributes in number or in types (the type was altered, and the codecs not refreshed) is read
 * as a `PgRecord`.
 *
 * Trap: the server sends no names. Until `refresh`, attributes that were renamed, or dropped and replaced by others of the same
 * types, have the names of before.
 */
export const compositeCodec = (
  elements: Elements,
  name: string,
  attributes: () => ReadonlyArray<Attribute>
): PgTypes.Codec<unknown> =>
  codec<unknown>(
    name,
    (reader) => {
      const fields = read(elements, reader)
      const named = attributes()
      return fields.length === named.length && fields.every((field, index) => field.oid === named[index]?.oid)
        ? Object.fromEntries(fields.map((field, index) => [named[index]?.name, field.value]))
        : fields
    },
    (writer, value) => {
      if (!isObject(value)) return refuse(`${name}: an object of its attributes expected`)
      const named = attributes()
      for (const attribute of named) {
        if (!Object.hasOwn(value, attribute.name) || value[attribute.name] === undefined) {
          refuse(`${name}: the attribute ${attribute.name} is missing; give null for none`)
        }
      }
      if (Object.keys(value).length > named.length) refuse(`${name}: a key that is no attribute`)
      writer.int32(named.length)
      for (const { name: key, oid } of named) writer.uint32(oid).sized(elements.codecOf(oid), value[key])
    }
  )

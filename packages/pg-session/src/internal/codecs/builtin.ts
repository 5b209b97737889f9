/**
 * Types of every server that are neither the driver's nor worth a file: system types, and what is text on the wire. The
 * OIDs are those of pg_type, the same in every server.
 */
import { PgTypes } from "../driver.ts"
import { anyArrayCodec, type Elements } from "./array.ts"
import { codec, type Reader, refuse, type Writer } from "./bytes.ts"
import * as input from "./leaf/input.ts"
import { numeric } from "./numeric.ts"
import { rawCodec } from "./raw.ts"
import { recordCodec } from "./record.ts"
import type { Definition } from "./registry.ts"

/** Text on the wire. */
export const textCodec = (name: string): PgTypes.Codec<unknown> =>
  codec<unknown>(
    name,
    (reader) => reader.utf8(),
    (writer, value) => void writer.utf8(input.text(value, name))
  )

/** One byte, in the text form of PostgreSQL 16 and later: nothing for zero, `\377` for what is beyond ASCII. */
const char = codec<unknown>(
  "\"char\"",
  (reader) => {
    const byte = reader.uint8()
    return byte === 0 ? "" : byte < 0x80 ? String.fromCharCode(byte) : `\\${byte.toString(8)}`
  },
  (writer, value) => {
    const text = input.text(value, "\"char\"")
    if (/^\\[0-3][0-7]{2}$/.test(text)) writer.uint8(Number.parseInt(text.slice(1), 8))
    else if (text === "") writer.uint8(0)
    else if (text.length === 1 && text.charCodeAt(0) < 0x80) writer.uint8(text.charCodeAt(0))
    else refuse("\"char\": one ASCII character, or a backslash and three octal digits, expected")
  }
)

interface VectorElement {
  readonly oid: number
  readonly size: number
  readonly least: number
  readonly most: number
  readonly read: (reader: Reader) => number
  readonly write: (writer: Writer, value: number) => unknown
}

/** An array whose only dimension begins at 0 and may be empty, given as an array of numbers. */
const vector = (name: string, element: VectorElement): PgTypes.Codec<unknown> =>
  codec<unknown>(
    name,
    (reader) => {
      const dimensions = reader.int32()
      reader.bytes(8)
      if (dimensions === 0) return []
      const length = reader.int32()
      reader.bytes(4)
      return Array.from({ length: reader.count(4, length) }, () => {
        reader.bytes(4)
        return element.read(reader)
      })
    },
    (writer, value) => {
      const values = input.list(value, name)
      // The server refuses its own binary form of an empty vector.
      if (values.length === 0) refuse(`${name}: an empty one goes as text, untyped`)
      writer.int32(1).int32(0).uint32(element.oid).int32(values.length).int32(0)
      for (const part of values) {
        const number = input.integer(part, name, element.least, element.most)
        writer.int32(element.size)
        element.write(writer, number)
      }
    }
  )

const int2vector = vector("int2vector", {
  oid: PgTypes.OID.int2,
  size: 2,
  least: -32768,
  most: 32767,
  read: (reader) => reader.int16(),
  write: (writer, value) => writer.int16(value)
})

const oidvector = vector("oidvector", {
  oid: PgTypes.OID.oid,
  size: 4,
  least: 0,
  most: input.uint32Max,
  read: (reader) => reader.uint32(),
  write: (writer, value) => writer.uint32(value)
})

export interface Named extends Definition {
  readonly name: string
}

export const builtins = (elements: Elements): ReadonlyArray<Named> => [
  { name: "numeric", oid: PgTypes.OID.numeric, arrayOid: PgTypes.OID.numericArray, codec: numeric },
  { name: "\"char\"", oid: 18, arrayOid: 1002, codec: char },
  { name: "int2vector", oid: 22, arrayOid: 1006, codec: int2vector, arrayForm: true },
  { name: "oidvector", oid: 30, arrayOid: 1013, codec: oidvector, arrayForm: true },
  { name: "xml", oid: 142, arrayOid: 143, codec: textCodec("xml") },
  { name: "refcursor", oid: 1790, arrayOid: 2201, codec: textCodec("refcursor") },
  { name: "cstring", oid: 2275, arrayOid: 1263, codec: textCodec("cstring") },
  { name: "unknown", oid: 705, codec: textCodec("unknown") },
  { name: "void", oid: 2278, codec: textCodec("void") },
  { name: "pg_node_tree", oid: 194, codec: textCodec("pg_node_tree") },
  { name: "record", oid: 2249, arrayOid: 2287, codec: recordCodec(elements), arrayForm: true },
  { name: "anyarray", oid: 2277, codec: anyArrayCodec(elements), arrayForm: true },
  { name: "anycompatiblearray", oid: 5078, codec: anyArrayCodec(elements), arrayForm: true },
  // Binary forms that PostgreSQL documents nowhere.
  { name: "pg_snapshot", oid: 5038, arrayOid: 5039, codec: rawCodec(5038) },
  { name: "txid_snapshot", oid: 2970, arrayOid: 2949, codec: rawCodec(2970) },
  { name: "pg_ndistinct", oid: 3361, codec: rawCodec(3361) },
  { name: "pg_dependencies", oid: 3402, codec: rawCodec(3402) },
  { name: "pg_mcv_list", oid: 5017, codec: rawCodec(5017) },
  { name: "pg_brin_bloom_summary", oid: 4600, codec: rawCodec(4600) },
  { name: "pg_brin_minmax_multi_summary", oid: 4601, codec: rawCodec(4601) }
]

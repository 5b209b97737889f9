/**
 * Which codec is for which type. The OIDs are those of pg_type, the same in every server.
 */
import { PgTypes } from "../../driver.ts"
import type { Entry, NamedEntry } from "../entry.ts"
import { numeric } from "../numeric.ts"
import { bit, varbit } from "./bitString.ts"
import { builtIn } from "./builtIn.ts"
import { box, circle, line, lseg, path, point, polygon } from "./geometry.ts"
import { hstore } from "./hstore.ts"
import { macaddr, macaddr8 } from "./macaddr.ts"
import { money } from "./money.ts"
import { multirange, range } from "./range.ts"
import { tid } from "./tid.ts"
import * as timestamp from "./timestamp.ts"
import { tsquery } from "./tsquery.ts"
import { tsvector } from "./tsvector.ts"
import { unsigned32, unsigned64 } from "./unsigned.ts"
import { vector } from "./vector.ts"
import { versionedText } from "./versionedText.ts"

const entry = (
  name: string,
  oid: number,
  arrayOid: number,
  codecOf: PgTypes.Codec<unknown> | ((name: string) => PgTypes.Codec<unknown>)
): Entry<unknown> => ({ name, oid, arrayOid, codec: typeof codecOf === "function" ? codecOf(name) : codecOf })

/** A range and its multirange: each with its OID and the OID of its array. */
const ranges = (
  subtype: PgTypes.Codec<unknown>,
  [rangeName, rangeOid, rangeArrayOid]: readonly [string, number, number],
  [multirangeName, oid, arrayOid]: readonly [string, number, number]
): ReadonlyArray<Entry<unknown>> => [
  { name: rangeName, oid: rangeOid, arrayOid: rangeArrayOid, codec: range(rangeName, subtype) },
  { name: multirangeName, oid, arrayOid, codec: multirange(multirangeName, subtype), arrayForm: true }
]

export const entries: ReadonlyArray<Entry<unknown>> = [
  entry("macaddr", 829, 1040, macaddr),
  entry("macaddr8", 774, 775, macaddr8),
  entry("bit", 1560, 1561, bit),
  entry("varbit", 1562, 1563, varbit),
  entry("money", 790, 791, money),
  { ...entry("tsvector", 3614, 3643, tsvector), arrayForm: true },
  entry("tsquery", 3615, 3645, tsquery),
  ...ranges(builtIn(PgTypes.OID.int4), ["int4range", 3904, 3905], ["int4multirange", 4451, 6150]),
  ...ranges(builtIn(PgTypes.OID.int8), ["int8range", 3926, 3927], ["int8multirange", 4536, 6157]),
  ...ranges(numeric, ["numrange", 3906, 3907], ["nummultirange", 4532, 6151]),
  ...ranges(builtIn(PgTypes.OID.date), ["daterange", 3912, 3913], ["datemultirange", 4535, 6155]),
  entry("point", 600, 1017, point),
  entry("lseg", 601, 1018, lseg),
  entry("path", 602, 1019, path),
  entry("box", 603, 1020, box),
  entry("polygon", 604, 1027, polygon),
  entry("line", 628, 629, line),
  entry("circle", 718, 719, circle),
  entry("pg_lsn", 3220, 3221, unsigned64),
  entry("xid8", 5069, 271, unsigned64),
  entry("xid", 28, 1011, unsigned32),
  entry("cid", 29, 1012, unsigned32),
  entry("tid", 27, 1010, tid),
  // Of this family the driver has regclass.
  entry("regproc", 24, 1008, unsigned32),
  entry("regprocedure", 2202, 2207, unsigned32),
  entry("regoper", 2203, 2208, unsigned32),
  entry("regoperator", 2204, 2209, unsigned32),
  entry("regtype", 2206, 2211, unsigned32),
  entry("regrole", 4096, 4097, unsigned32),
  entry("regnamespace", 4089, 4090, unsigned32),
  entry("regconfig", 3734, 3735, unsigned32),
  entry("regdictionary", 3769, 3770, unsigned32),
  entry("regcollation", 4191, 4192, unsigned32),
  entry("jsonpath", 4072, 4073, versionedText)
]

/**
 * The types over timestamps. With `"date"` timestamps themselves are the driver's, so there are only the ranges; with
 * `"micros"` its codecs are replaced as well.
 */
export const timestamps = (form: "date" | "micros"): ReadonlyArray<Entry<unknown>> => {
  const bound = form === "micros" ? timestamp.micros : timestamp.dateBound
  const over = [
    ...ranges(bound, ["tsrange", 3908, 3909], ["tsmultirange", 4533, 6152]),
    ...ranges(bound, ["tstzrange", 3910, 3911], ["tstzmultirange", 4534, 6153])
  ]
  return form === "date" ? over : [
    entry("timestamp", PgTypes.OID.timestamp, PgTypes.OID.timestampArray, timestamp.micros),
    entry("timestamptz", PgTypes.OID.timestamptz, PgTypes.OID.timestamptzArray, timestamp.micros),
    ...over
  ]
}

/** Types of extensions, whose OIDs are found by name. */
export const named: ReadonlyArray<NamedEntry<unknown>> = [
  { extension: "hstore", name: "hstore", codec: hstore },
  { extension: "ltree", name: "ltree", codec: versionedText("ltree") },
  { extension: "ltree", name: "lquery", codec: versionedText("lquery") },
  { extension: "ltree", name: "ltxtquery", codec: versionedText("ltxtquery") },
  { extension: "vector", name: "vector", codec: vector }
]

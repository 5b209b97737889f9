/**
 * Types of users and extensions, as the catalogue of the server describes them.
 */
import { Effect, Schema } from "effect"
import type { PgConnection, PgTypes, SqlError } from "../driver.ts"
import { textCodec } from "./builtin.ts"
import { CodecConfigError } from "./configError.ts"
import { named } from "./leaf/catalogue.ts"
import { multirange, range } from "./leaf/range.ts"
import { rawCodec } from "./raw.ts"
import { type Attribute, compositeCodec } from "./record.ts"
import type { Definition, Types } from "./registry.ts"

type Connection = PgConnection.PgConnection

const TypeRow = Schema.Struct({
  oid: Schema.Number,
  name: Schema.String,
  /** `typtype`: base, composite, domain, enum, pseudo, range or multirange. */
  kind: Schema.Literals(["b", "c", "d", "e", "p", "r", "m"]),
  /** 0 where there is none, as in the other columns. */
  arrayOid: Schema.Number,
  elementOid: Schema.Number,
  baseOid: Schema.Number,
  subtypeOid: Schema.Number,
  /** The function that makes the binary form. */
  send: Schema.NullOr(Schema.String),
  /** The extension that the type belongs to. */
  extension: Schema.NullOr(Schema.String)
})
type TypeRow = typeof TypeRow.Type

const typesSql = `
  select t.oid, t.typname::text as name, t.typtype::text as kind, t.typarray as "arrayOid", t.typelem as "elementOid",
         t.typbasetype as "baseOid", coalesce(r.rngsubtype, 0::oid) as "subtypeOid", p.proname::text as send,
         e.extname::text as extension
    from pg_catalog.pg_type t
    left join pg_catalog.pg_proc p on p.oid = t.typsend
    left join pg_catalog.pg_range r on t.oid in (r.rngtypid, r.rngmultitypid)
    left join pg_catalog.pg_depend d
      on d.classid = 'pg_catalog.pg_type'::regclass and d.objid = t.oid and d.deptype = 'e'
    left join pg_catalog.pg_extension e on e.oid = d.refobjid`

const AttributeRow = Schema.Struct({ typeOid: Schema.Number, name: Schema.String, oid: Schema.Number })

const attributesSql = `
  select t.oid as "typeOid", a.attname::text as name, a.atttypid as oid
    from pg_catalog.pg_type t
    join pg_catalog.pg_attribute a on a.attrelid = t.typrelid
   where t.oid = any ($1::oid[]) and a.attnum > 0 and not a.attisdropped
   order by t.oid, a.attnum`

const NameRow = Schema.Struct({ oid: Schema.NullOr(Schema.Number) })

/** An extension of another name may have a type of the same name, which is another type. */
const ofExtension = ({ extension, name }: TypeRow): PgTypes.Codec<unknown> | undefined =>
  named.find((entry) => entry.name === name && entry.extension === extension)?.codec

/** Base types whose binary form is their text, whatever they are called: citext is one. */
const sendsText = new Set(["textsend", "varcharsend", "bpcharsend", "namesend", "citextsend"])

const isArray = (row: TypeRow): boolean => row.send === "array_send" && row.elementOid !== 0

const insufficientPrivilege = "42501"

const isUnreadableName = (error: SqlError): boolean => {
  const { cause } = error.reason
  return typeof cause === "object" && cause !== null && "code" in cause && typeof cause.code === "string" &&
    /^(?:42|22|0A|3F)/.test(cause.code) && cause.code !== insufficientPrivilege
}

/** Finds a type as a cast in SQL would, by the search path of the session unless a schema is named. */
const resolveName = (connection: Connection, name: string): Effect.Effect<number, CodecConfigError | SqlError> =>
  Effect.gen(function*() {
    const unknown = new CodecConfigError({ type: name, problem: "there is no such type in this database" })
    const { rows } = yield* connection.query("select to_regtype($1)::oid as oid", [name]).pipe(
      // A text that is no name of a type makes some servers fail where others answer null.
      Effect.catchIf(isUnreadableName, () => Effect.fail(unknown))
    )
    const [row] = Schema.decodeUnknownSync(Schema.Array(NameRow))(rows)
    return row?.oid ?? (yield* unknown)
  })

/** What to take from the catalogue. */
export interface Wanted {
  readonly names: ReadonlySet<string>
  /** Whether everything else becomes `PgRaw`. */
  readonly raw: boolean
}

/** What the catalogue says, read at once and not yet applied. */
class Snapshot {
  readonly attributes = new Map<number, Array<Attribute>>()
  private readonly rows: ReadonlyMap<number, TypeRow>
  private readonly types: Types

  constructor(types: Types, rows: ReadonlyArray<TypeRow>) {
    this.types = types
    this.rows = new Map(rows.map((row) => [row.oid, row]))
  }

  row(oid: number): TypeRow | undefined {
    return this.rows.get(oid)
  }

  get all(): Iterable<TypeRow> {
    return this.rows.values()
  }

  /** These types, and the types that they are made of. */
  closure(roots: Iterable<number>): ReadonlySet<number> {
    const reached = new Set<number>()
    const pending = [...roots]
    for (let oid = pending.pop(); oid !== undefined; oid = pending.pop()) {
      const row = this.rows.get(oid)
      if (row === undefined || reached.has(oid)) continue
      reached.add(oid)
      pending.push(row.elementOid, row.baseOid, row.subtypeOid)
      for (const attribute of this.attributes.get(oid) ?? []) pending.push(attribute.oid)
    }
    return reached
  }

  private arrayForm(oid: number): boolean {
    const row = this.rows.get(oid)
    if (row === undefined || this.types.isSettled(oid)) return this.types.arrayForm(oid)
    return row.kind === "d" ? this.arrayForm(row.baseOid) : row.kind === "m" || isArray(row)
  }

  private codecOf(row: TypeRow): PgTypes.Codec<unknown> | undefined {
    const { types } = this
    const { oid } = row
    switch (row.kind) {
      case "e":
        return textCodec(row.name)
      case "d":
        return types.codecOf(row.baseOid)
      case "r":
        return range(row.name, types.codecOf(row.subtypeOid))
      case "m":
        return multirange(row.name, types.codecOf(row.subtypeOid))
      case "c":
        return this.attributes.has(oid)
          ? compositeCodec(types, row.name, () => types.attributes.get(oid) ?? [])
          : undefined
      case "b":
      case "p":
        return ofExtension(row) ?? (sendsText.has(row.send ?? "") ? textCodec(row.name) : undefined)
    }
  }

  /** How the type is read and written; undefined if nobody knows. */
  definition(row: TypeRow): Definition | undefined {
    const codec = this.codecOf(row)
    return codec && { oid: row.oid, arrayOid: this.freeArray(row), codec, arrayForm: this.arrayForm(row.oid) }
  }

  raw(row: TypeRow): Definition {
    return { oid: row.oid, arrayOid: this.freeArray(row), codec: rawCodec(row.oid) }
  }

  /** The array type, unless somebody has a codec of his own for it. */
  private freeArray({ arrayOid }: TypeRow): number | undefined {
    return arrayOid === 0 || this.types.isSettled(arrayOid) ? undefined : arrayOid
  }
}

const readAttributes = Effect.fnUntraced(function*(
  connection: Connection,
  snapshot: Snapshot,
  roots: ReadonlyArray<number>
) {
  // Attributes lead to composite types not seen before, so this goes as deep as they are nested.
  while (true) {
    const missing = [...snapshot.closure(roots)].filter((oid) =>
      snapshot.row(oid)?.kind === "c" && !snapshot.attributes.has(oid)
    )
    if (missing.length === 0) return
    const { rows } = yield* connection.query(attributesSql, [`{${missing.join(",")}}`])
    for (const oid of missing) snapshot.attributes.set(oid, [])
    for (const { name, oid, typeOid } of Schema.decodeUnknownSync(Schema.Array(AttributeRow))(rows)) {
      snapshot.attributes.get(typeOid)?.push({ name, oid })
    }
  }
})

/**
 * Brings what the catalogue says into the registry. Everything is read before anything is changed. Codecs that came with
 * the package, or from the user, stay.
 */
export const read = Effect.fnUntraced(function*(
  connection: Connection,
  types: Types,
  { names, raw }: Wanted
): Effect.fn.Return<void, CodecConfigError | SqlError> {
  const oids = new Map<string, number>()
  for (const name of names) oids.set(name, yield* resolveName(connection, name))
  const { rows } = yield* connection.query(typesSql)
  const snapshot = new Snapshot(types, Schema.decodeUnknownSync(Schema.Array(TypeRow))(rows))
  const extensions = [...snapshot.all].filter((row) => ofExtension(row) !== undefined)
  const roots = [...oids.values(), ...extensions.map((row) => row.oid)]
  yield* readAttributes(connection, snapshot, roots)

  const open = (row: TypeRow) => !isArray(row) && !types.isSettled(row.oid)
  const reached = snapshot.closure(roots)
  const definitions = new Map<number, Definition>()
  const arrays: Array<TypeRow> = []
  for (const row of snapshot.all) {
    if (!raw && !reached.has(row.oid)) continue
    if (isArray(row)) arrays.push(row)
    if (!open(row)) continue
    const definition = snapshot.definition(row) ?? (raw ? snapshot.raw(row) : undefined)
    if (definition !== undefined) definitions.set(row.oid, definition)
  }
  for (const [name, oid] of oids) {
    const row = snapshot.row(oid)
    if (row === undefined || (open(row) && !definitions.has(oid))) {
      return yield* new CodecConfigError({
        type: name,
        problem: "nobody knows its binary form; register a codec for it, or take unknown types as PgRaw"
      })
    }
  }

  for (const [oid, attributes] of snapshot.attributes) types.attributes.set(oid, attributes)
  for (const definition of definitions.values()) types.install("catalogue", definition)
  for (const row of arrays) if (!types.has(row.oid)) types.installArray("catalogue", row.oid, row.elementOid)
  for (const row of extensions) nameBoth(types, row.name, row)
  for (const [name, oid] of oids) nameBoth(types, name, snapshot.row(oid))
})

const nameBoth = (types: Types, name: string, row: TypeRow | undefined): void => {
  if (row === undefined) return
  types.name(name, row.oid)
  if (row.arrayOid !== 0) types.name(`${name}[]`, row.arrayOid)
}

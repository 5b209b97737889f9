/**
 * A row of an ad-hoc query, read column by column. Each getter is for one family of types and says what is wrong when the
 * column is of another; nothing is converted silently. Where the shape is known beforehand, decode with Schema instead.
 *
 * The server reports a domain as its base type, so a getter for a family takes domains over it too.
 */
import { Effect, Option, Predicate, Result, Schema } from "effect"
import { type PgConnection, PgTypes } from "./internal/driver.ts"

/** What a getter accepts, by the name that its errors use. */
export type Family =
  | "text"
  | "bool"
  | "int"
  | "bigint"
  | "float"
  | "numeric"
  | "bytes"
  | "timestamp"
  | "date"
  | "uuid"
  | "json"
  | "text array"

const Place = {
  /** From 0; -1 if there is no such column, or more than one. */
  index: Schema.Number,
  /** As asked for; of a column asked for by index the server's name, empty if there is none. */
  name: Schema.String,
  /** Empty if the question was not for a value. */
  expected: Schema.String,
  /** The OID of the column's type; 0 if it is not known which column is meant. */
  found: Schema.Int
}

const column = (place: { readonly index: number; readonly name: string }): string =>
  place.name === "" ? `column ${place.index}` : `column "${place.name}"`

/** No column has this name, or this index. Names are compared exactly. */
export class ColumnNotFound extends Schema.TaggedError<ColumnNotFound>()("ColumnNotFound", Place) {
  override get message(): string {
    return `the result has no ${column(this)}; names are exact, and unquoted ones are in lower case`
  }
}

/** Several columns have this name. The driver keeps the value of the last only. */
export class AmbiguousColumn extends Schema.TaggedError<AmbiguousColumn>()("AmbiguousColumn", Place) {
  override get message(): string {
    return `the result has more than one ${column(this)}; give each an alias of its own`
  }
}

/** The value is NULL. `index` is of the column, also where an element of an array is NULL. */
export class NullValue extends Schema.TaggedError<NullValue>()("NullValue", Place) {
  override get message(): string {
    return this.expected === "text array"
      ? `${column(this)} is NULL or has a NULL element; use getTextArrayOpt or getTextArrayNullable`
      : `${column(this)} is NULL; use the getter that ends in Opt, or isNull`
  }
}

/** The column is of another type, or its codec gives another form of it. */
export class TypeMismatch extends Schema.TaggedError<TypeMismatch>()("TypeMismatch", Place) {
  override get message(): string {
    return `${column(this)} has a type (OID ${this.found}) that is not read as ${this.expected}; ` +
      "use the getter of its type, or cast in SQL"
  }
}

/** The value does not fit: an integer beyond what a number holds exactly, or a timestamp that a Date cannot be. */
export class OutOfRange extends Schema.TaggedError<OutOfRange>()("OutOfRange", Place) {
  override get message(): string {
    return `the value of ${column(this)} is out of the range of ${this.expected}; ` +
      (this.expected === "int" ? "use getBigInt" : "cast in SQL")
  }
}

export const RowErrorReason = Schema.Union([ColumnNotFound, AmbiguousColumn, NullValue, TypeMismatch, OutOfRange])
export type RowErrorReason = typeof RowErrorReason.Type

/** A column could not be read. No text contains a value. */
export class RowError extends Schema.TaggedError<RowError>()("RowError", { reason: RowErrorReason }) {
  override get message(): string {
    return `PgRow: ${this.reason.message}`
  }
}

/** A column by its name, or by its index from 0. */
export type Column = string | number

type Get<A> = Effect.Effect<A, RowError>

interface Columns {
  readonly fields: ReadonlyArray<PgConnection.Field>
  /** -1 for a name that occurs more than once. */
  readonly indices: ReadonlyMap<string, number>
}

interface Found<A> {
  readonly place: ConstructorParameters<typeof NullValue>[0]
  readonly value: A | null
}

type Misfit = "TypeMismatch" | "OutOfRange"

/** What a getter accepts, and the value in its form. */
interface Reader<A> {
  readonly family: Family
  readonly read: (value: unknown) => Result.Result<A, Misfit>
}

const { OID } = PgTypes

/** The `unknown` type: a literal that nothing gave a type. */
const unknownOid = 705

const oids: Readonly<Record<Family, ReadonlySet<number>>> = {
  text: new Set([OID.text, OID.varchar, OID.bpchar, OID.name, unknownOid]),
  bool: new Set([OID.bool]),
  int: new Set([OID.int2, OID.int4, OID.int8]),
  bigint: new Set([OID.int2, OID.int4, OID.int8]),
  float: new Set([OID.float4, OID.float8]),
  numeric: new Set([OID.numeric]),
  bytes: new Set([OID.bytea]),
  timestamp: new Set([OID.timestamp, OID.timestamptz]),
  date: new Set([OID.date]),
  uuid: new Set([OID.uuid]),
  json: new Set([OID.json, OID.jsonb]),
  "text array": new Set([OID.textArray, OID.varcharArray, OID.bpcharArray, OID.nameArray])
}

const misfit = Result.fail<Misfit>("TypeMismatch")
const outOfRange = Result.fail<Misfit>("OutOfRange")

/** The registry may give a type another form than the usual one, as with timestamps in microseconds. */
const reader = <A>(family: Family, is: (value: unknown) => value is A): Reader<A> => ({
  family,
  read: (value) => is(value) ? Result.succeed(value) : misfit
})

const isBytes = (value: unknown): value is Uint8Array => value instanceof Uint8Array
const isWhole = (value: unknown): value is number | bigint => Number.isInteger(value) || Predicate.isBigInt(value)
const isTexts = (value: unknown): value is ReadonlyArray<string | null> =>
  Array.isArray(value) && value.every((element) => element === null || Predicate.isString(element))

const readers = {
  text: reader("text", Predicate.isString),
  bool: reader("bool", Predicate.isBoolean),
  int: {
    family: "int",
    read: (value) => {
      if (!isWhole(value)) return misfit
      const number = Number(value)
      return Number.isSafeInteger(number) ? Result.succeed(number) : outOfRange
    }
  } satisfies Reader<number>,
  bigint: {
    family: "bigint",
    read: (value) => isWhole(value) ? Result.succeed(BigInt(value)) : misfit
  } satisfies Reader<bigint>,
  float: reader("float", Predicate.isNumber),
  numeric: reader("numeric", Predicate.isString),
  bytes: reader("bytes", isBytes),
  timestamp: {
    family: "timestamp",
    read: (value) => {
      if (!(value instanceof Date)) return misfit
      return Number.isNaN(value.getTime()) ? outOfRange : Result.succeed(value)
    }
  } satisfies Reader<Date>,
  date: reader("date", Predicate.isString),
  uuid: reader("uuid", Predicate.isString),
  json: reader("json", Predicate.isNotUndefined),
  textArray: reader("text array", isTexts)
} as const

/**
 * One row. A column is asked for by its exact name, or by its index from 0.
 *
 * `getX` fails on NULL; `getXOpt` gives none in its place. Whether a getter fits the column's type is decided before the value
 * is looked at, so it does not depend on the data.
 *
 * - errors: `RowError`: `ColumnNotFound`, `AmbiguousColumn`, `TypeMismatch`, `OutOfRange`, and `NullValue` (not for `Opt`)
 * - source: spec 8
 */
export class PgRow {
  readonly #columns: Columns
  readonly #values: PgConnection.Row

  /** Rows come from `PgQuery`, or from `fromResult`. */
  constructor(columns: Columns, values: PgConnection.Row) {
    this.#columns = columns
    this.#values = values
  }

  get columnCount(): number {
    return this.#columns.fields.length
  }

  /** From 0. */
  columnIndex(name: string): Get<number> {
    return Effect.map(Effect.fromResult(this.#find(name, "")), ({ index }) => index)
  }

  isNull(column: Column): Get<boolean> {
    return Effect.map(Effect.fromResult(this.#find(column, "")), ({ value }) => value === null)
  }

  getText(column: Column): Get<string> {
    return this.#get(column, readers.text)
  }
  getTextOpt(column: Column): Get<Option.Option<string>> {
    return this.#getOpt(column, readers.text)
  }

  getBool(column: Column): Get<boolean> {
    return this.#get(column, readers.bool)
  }
  getBoolOpt(column: Column): Get<Option.Option<boolean>> {
    return this.#getOpt(column, readers.bool)
  }

  /** int2, int4 and int8; `OutOfRange` where a number would not be exact. */
  getInt(column: Column): Get<number> {
    return this.#get(column, readers.int)
  }
  getIntOpt(column: Column): Get<Option.Option<number>> {
    return this.#getOpt(column, readers.int)
  }

  /** int2, int4 and int8. */
  getBigInt(column: Column): Get<bigint> {
    return this.#get(column, readers.bigint)
  }
  getBigIntOpt(column: Column): Get<Option.Option<bigint>> {
    return this.#getOpt(column, readers.bigint)
  }

  /** float4 and float8. */
  getFloat(column: Column): Get<number> {
    return this.#get(column, readers.float)
  }
  getFloatOpt(column: Column): Get<Option.Option<number>> {
    return this.#getOpt(column, readers.float)
  }

  /** Every digit, as the server writes them. */
  getNumeric(column: Column): Get<string> {
    return this.#get(column, readers.numeric)
  }
  getNumericOpt(column: Column): Get<Option.Option<string>> {
    return this.#getOpt(column, readers.numeric)
  }

  getBytes(column: Column): Get<Uint8Array> {
    return this.#get(column, readers.bytes)
  }
  getBytesOpt(column: Column): Get<Option.Option<Uint8Array>> {
    return this.#getOpt(column, readers.bytes)
  }

  /** timestamp and timestamptz where they are read as Date: cut to milliseconds; infinity is `OutOfRange`. */
  getTimestamp(column: Column): Get<Date> {
    return this.#get(column, readers.timestamp)
  }
  getTimestampOpt(column: Column): Get<Option.Option<Date>> {
    return this.#getOpt(column, readers.timestamp)
  }

  /** In the server's ISO form, such as `2026-11-21`. */
  getDate(column: Column): Get<string> {
    return this.#get(column, readers.date)
  }
  getDateOpt(column: Column): Get<Option.Option<string>> {
    return this.#getOpt(column, readers.date)
  }

  getUuid(column: Column): Get<string> {
    return this.#get(column, readers.uuid)
  }
  getUuidOpt(column: Column): Get<Option.Option<string>> {
    return this.#getOpt(column, readers.uuid)
  }

  /** json and jsonb, parsed. The driver does not tell a JSON `null` from NULL, so it counts as NULL. */
  getJson(column: Column): Get<unknown> {
    return this.#get(column, readers.json)
  }
  getJsonOpt(column: Column): Get<Option.Option<unknown>> {
    return this.#getOpt(column, readers.json)
  }

  /** A one-dimensional array of text; a NULL element is `NullValue`. */
  getTextArray(column: Column): Get<ReadonlyArray<string>> {
    return Effect.fromResult(Result.flatMap(this.#read(column, readers.textArray), ({ place, value }) => {
      const texts = value?.filter((element) => element !== null)
      return texts === undefined || texts.length !== value?.length
        ? Result.fail(new RowError({ reason: new NullValue(place) }))
        : Result.succeed(texts)
    }))
  }
  getTextArrayOpt(column: Column): Get<Option.Option<ReadonlyArray<string>>> {
    return Effect.flatMap(this.isNull(column), (isNull) =>
      isNull
        ? Effect.as(this.#getOpt(column, readers.textArray), Option.none())
        : Effect.asSome(this.getTextArray(column)))
  }

  /** NULL elements are kept as null; an array that is NULL itself is `NullValue`. */
  getTextArrayNullable(column: Column): Get<ReadonlyArray<string | null>> {
    return this.#get(column, readers.textArray)
  }

  #get<A>(column: Column, reader: Reader<A>): Get<A> {
    return Effect.fromResult(Result.flatMap(
      this.#read(column, reader),
      ({ place, value }) =>
        value === null ? Result.fail(new RowError({ reason: new NullValue(place) })) : Result.succeed(value)
    ))
  }

  #getOpt<A>(column: Column, reader: Reader<A>): Get<Option.Option<A>> {
    return Effect.fromResult(
      Result.map(this.#read(column, reader), ({ value }) => value === null ? Option.none() : Option.some(value))
    )
  }

  /** The value in the family's form, or null. */
  #read<A>(column: Column, { family, read }: Reader<A>): Result.Result<Found<A>, RowError> {
    return Result.flatMap(
      this.#find(column, family),
      ({ index, name, oid, value }): Result.Result<Found<A>, RowError> => {
        const place = { index, name, expected: family, found: oid }
        if (!oids[family].has(oid)) return Result.fail(new RowError({ reason: new TypeMismatch(place) }))
        if (value === null) return Result.succeed({ place, value: null })
        return Result.mapBoth(read(value), {
          onSuccess: (value): Found<A> => ({ place, value }),
          onFailure: (misfit) =>
            new RowError({ reason: misfit === "TypeMismatch" ? new TypeMismatch(place) : new OutOfRange(place) })
        })
      }
    )
  }

  #find(column: Column, expected: Family | "") {
    const { fields, indices } = this.#columns
    const name = Predicate.isString(column) ? column : fields[column]?.name
    const index = name === undefined ? undefined : indices.get(name)
    if (name === undefined || index === undefined || index === ambiguous) {
      const place = { index: Predicate.isString(column) ? -1 : column, name: name ?? "", expected, found: 0 }
      return Result.fail(
        new RowError({ reason: index === ambiguous ? new AmbiguousColumn(place) : new ColumnNotFound(place) })
      )
    }
    return Result.succeed({ index, name, oid: fields[index]?.dataTypeId ?? 0, value: this.#values[name] ?? null })
  }
}

const ambiguous = -1

const columnsOf = (fields: ReadonlyArray<PgConnection.Field>): Columns => {
  const indices = new Map<string, number>()
  for (const [index, { name }] of fields.entries()) indices.set(name, indices.has(name) ? ambiguous : index)
  return { fields, indices }
}

/**
 * The rows of a driver's result: what a statement's `raw` gives.
 *
 * Trap: the rows of a statement that runs with the client's `transformResultNames` do not fit; those of `raw` are not renamed.
 */
export const fromResult = (result: Pick<PgConnection.Result, "fields" | "rows">): ReadonlyArray<PgRow> => {
  const columns = columnsOf(result.fields)
  return result.rows.map((row) => new PgRow(columns, row))
}

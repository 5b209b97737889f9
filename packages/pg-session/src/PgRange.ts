/**
 * The values of PostgreSQL's range and multirange types.
 *
 * The server keeps ranges in a form of its own, so what is read may differ from what was sent: ranges over int4, int8 and
 * date become `[lower, upper)`, ranges that hold nothing become `Empty`, and the ranges of a multirange are sorted and
 * joined where they touch. `timestamp` bounds read as `Date` are cut to milliseconds; `timestamps: "micros"` keeps them.
 */

/** No limit on this side. Not the same as a limit of the value `infinity`, which dates and timestamps can have. */
export interface Unbounded {
  readonly _tag: "Unbounded"
}

/** A limit that belongs to the range. */
export interface Inclusive<A> {
  readonly _tag: "Inclusive"
  readonly value: A
}

/** A limit that does not belong to the range. */
export interface Exclusive<A> {
  readonly _tag: "Exclusive"
  readonly value: A
}

export type Bound<A> = Unbounded | Inclusive<A> | Exclusive<A>

/** The range that holds nothing. */
export interface Empty {
  readonly _tag: "Empty"
}

/** A range between two bounds. A lower bound above the upper one is refused by the server (22000). */
export interface Bounded<A> {
  /** Never there: it lets the compiler tell a range from `Empty`. */
  readonly _tag?: undefined
  readonly lower: Bound<A>
  readonly upper: Bound<A>
}

/** `A` is the form of the bounds: number for int4range, bigint for int8range, string for numrange and daterange. */
export type Range<A> = Empty | Bounded<A>

/** Ranges in ascending order that do not touch. `Empty` has no place in it. */
export type Multirange<A> = ReadonlyArray<Bounded<A>>

export const empty: Empty = { _tag: "Empty" }

export const unbounded: Unbounded = { _tag: "Unbounded" }

export const inclusive = <A>(value: A): Inclusive<A> => ({ _tag: "Inclusive", value })

export const exclusive = <A>(value: A): Exclusive<A> => ({ _tag: "Exclusive", value })

export const make = <A>(lower: Bound<A>, upper: Bound<A>): Bounded<A> => ({ lower, upper })

export const isEmpty = <A>(range: Range<A>): range is Empty => range._tag === "Empty"

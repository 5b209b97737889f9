/**
 * The values of `timestamp` and `timestamptz`. A timestamp without zone is read as if its zone were UTC.
 */

/**
 * Microseconds since 1970-01-01 00:00:00 UTC, with `timestamps: "micros"`. From 4714-11-24 BC to the year 294276, as the
 * server has it. A `Date` is accepted as a parameter as well, because the driver makes a `timestamptz` of every `Date`.
 */
export type Micros = bigint | "infinity" | "-infinity"

/**
 * The bounds of `tsrange`, `tstzrange` and their multiranges with `timestamps: "date"`: cut to milliseconds like sql-pg's
 * scalars. Infinity is spelled out, because the invalid `Date` of the scalars could not be sent back. Only timestamps
 * that no `Date` can hold (after the year 275760) are read as an invalid one; `"micros"` reads them all.
 */
export type DateBound = Date | "infinity" | "-infinity"

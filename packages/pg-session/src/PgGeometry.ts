/**
 * The values of PostgreSQL's geometric types. Coordinates are float8: NaN and infinities are values like others.
 */

export interface Point {
  readonly x: number
  readonly y: number
}

/** An `lseg`. */
export interface LineSegment {
  readonly start: Point
  readonly end: Point
}

/** A `path`; the ends of an open one are not joined. At least one point. */
export interface Path {
  readonly open: boolean
  readonly points: ReadonlyArray<Point>
}

/** Two opposite corners. The server makes `high` the upper right and `low` the lower left one, whichever were given. */
export interface Box {
  readonly high: Point
  readonly low: Point
}

/** At least one point. */
export interface Polygon {
  readonly points: ReadonlyArray<Point>
}

/** The line `a x + b y + c = 0`. The server takes amounts up to 0.000001 for zero, and `a` and `b` cannot both be zero. */
export interface Line {
  readonly a: number
  readonly b: number
  readonly c: number
}

/** The server yields a radius below zero from some functions, but receives none: as a parameter it is refused. */
export interface Circle {
  readonly center: Point
  readonly radius: number
}

/**
 * The geometric types: float8 after float8, with a count before the points of paths and polygons.
 */
import type * as PgGeometry from "../../../PgGeometry.ts"
import type { PgTypes } from "../../driver.ts"
import { codec, type Reader, refuse, type Writer } from "../bytes.ts"
import * as input from "./input.ts"

const readPoint = (reader: Reader): PgGeometry.Point => ({ x: reader.float8(), y: reader.float8() })

const writeFloat = (writer: Writer, value: unknown, key: string, name: string): number => {
  const float = input.float(input.field(value, key, name), `${name} ${key}`)
  writer.float8(float)
  return float
}

const writePoint = (writer: Writer, value: unknown, name: string): void => {
  writeFloat(writer, value, "x", name)
  writeFloat(writer, value, "y", name)
}

const pointBytes = 16

const readPoints = (reader: Reader): ReadonlyArray<PgGeometry.Point> =>
  Array.from({ length: reader.count(pointBytes) }, () => readPoint(reader))

const writePoints = (writer: Writer, value: unknown, name: string): void => {
  const points = input.list(input.field(value, "points", name), `${name} points`)
  if (points.length === 0) refuse(`${name}: at least one point expected`)
  writer.int32(points.length)
  for (const point of points) writePoint(writer, point, name)
}

export const point: PgTypes.Codec<unknown> = codec<unknown>(
  "point",
  readPoint,
  (writer, value) => writePoint(writer, value, "point")
)

export const lseg: PgTypes.Codec<unknown> = codec<unknown>(
  "lseg",
  (reader): PgGeometry.LineSegment => ({ start: readPoint(reader), end: readPoint(reader) }),
  (writer, value) => {
    writePoint(writer, input.field(value, "start", "lseg"), "lseg")
    writePoint(writer, input.field(value, "end", "lseg"), "lseg")
  }
)

export const path: PgTypes.Codec<unknown> = codec<unknown>(
  "path",
  (reader): PgGeometry.Path => ({ open: reader.uint8() === 0, points: readPoints(reader) }),
  (writer, value) => {
    writer.uint8(input.boolean(input.field(value, "open", "path"), "path open") ? 0 : 1)
    writePoints(writer, value, "path")
  }
)

export const box: PgTypes.Codec<unknown> = codec<unknown>(
  "box",
  (reader): PgGeometry.Box => ({ high: readPoint(reader), low: readPoint(reader) }),
  (writer, value) => {
    writePoint(writer, input.field(value, "high", "box"), "box")
    writePoint(writer, input.field(value, "low", "box"), "box")
  }
)

export const polygon: PgTypes.Codec<unknown> = codec<unknown>(
  "polygon",
  (reader): PgGeometry.Polygon => ({ points: readPoints(reader) }),
  (writer, value) => writePoints(writer, value, "polygon")
)

// What the server takes for zero (EPSILON of geo_decls.h).
const isZero = (coefficient: number): boolean => Math.abs(coefficient) <= 1e-6

export const line: PgTypes.Codec<unknown> = codec<unknown>(
  "line",
  (reader): PgGeometry.Line => ({ a: reader.float8(), b: reader.float8(), c: reader.float8() }),
  (writer, value) => {
    const a = writeFloat(writer, value, "a", "line")
    const b = writeFloat(writer, value, "b", "line")
    if (isZero(a) && isZero(b)) refuse("line: a and b cannot both be zero")
    writeFloat(writer, value, "c", "line")
  }
)

export const circle: PgTypes.Codec<unknown> = codec<unknown>(
  "circle",
  (reader): PgGeometry.Circle => ({ center: readPoint(reader), radius: reader.float8() }),
  (writer, value) => {
    writePoint(writer, input.field(value, "center", "circle"), "circle")
    if (writeFloat(writer, value, "radius", "circle") < 0) refuse("circle: a radius of zero or more expected")
  }
)

/**
 * `vector` of the extension pgvector: 1 to 16,000 float4. Whether the dimension is the column's is the server's to say.
 */
import type { PgTypes } from "../../driver.ts"
import { codec, refuse } from "../bytes.ts"

const maxDimensions = 16_000

export const vector: PgTypes.Codec<unknown> = codec<unknown>(
  "vector",
  (reader) => {
    const dimensions = reader.uint16()
    // Reserved by pgvector, and zero so far.
    reader.int16()
    return Float32Array.from({ length: reader.count(4, dimensions) }, () => reader.float4())
  },
  (writer, value) => {
    if (!(value instanceof Float32Array)) return refuse("vector: a Float32Array expected")
    if (value.length < 1 || value.length > maxDimensions) refuse(`vector: 1 to ${maxDimensions} dimensions expected`)
    writer.int16(value.length).int16(0)
    for (const element of value) {
      if (!Number.isFinite(element)) refuse("vector: NaN and infinity are not stored")
      writer.float4(element)
    }
  }
)

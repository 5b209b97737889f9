/**
 * `tsvector`: the number of words; for each its text, the number of positions and these, weight in the two highest bits.
 */
import type * as PgTextSearch from "../../../PgTextSearch.ts"
import type { PgTypes } from "../../driver.ts"
import { codec, type Reader, refuse, type Writer } from "../bytes.ts"
import * as input from "./input.ts"
import { maxTextBytes, weightNumber, weights, writeWord } from "./textSearch.ts"

const maxPosition = 2 ** 14 - 1
const maxPositions = 256

const readLexeme = (reader: Reader): PgTextSearch.Lexeme => ({
  word: reader.cstring(),
  positions: Array.from({ length: reader.count(2, reader.uint16()) }, () => {
    const packed = reader.uint16()
    return { position: packed & maxPosition, weight: weights[packed >> 14] ?? "D" }
  })
})

const writePositions = (writer: Writer, positions: ReadonlyArray<unknown>): void => {
  if (positions.length > maxPositions) refuse(`tsvector: at most ${maxPositions} positions of a word expected`)
  writer.uint16(positions.length)
  let previous = 0
  for (const place of positions) {
    const position = input.integer(input.field(place, "position", "tsvector"), "tsvector position", 1, maxPosition)
    // The server's own error for this is an internal one.
    if (position <= previous) refuse("tsvector: ascending positions expected")
    previous = position
    writer.uint16(weightNumber(input.field(place, "weight", "tsvector"), "tsvector") << 14 | position)
  }
}

export const tsvector: PgTypes.Codec<unknown> = codec<unknown>(
  "tsvector",
  (reader): PgTextSearch.TsVector => Array.from({ length: reader.count(3) }, () => readLexeme(reader)),
  (writer, value) => {
    const lexemes = input.list(value, "tsvector")
    writer.int32(lexemes.length)
    const words = new Set<unknown>()
    let textBytes = 0
    for (const lexeme of lexemes) {
      const word = input.field(lexeme, "word", "tsvector")
      // Trap: the server sorts what it receives but does not look for doubles, and would store a damaged value.
      if (words.has(word)) refuse("tsvector: each word once expected")
      words.add(word)
      if (textBytes > maxTextBytes) refuse(`tsvector: at most ${maxTextBytes} bytes of words and positions expected`)
      const positions = input.list(input.field(lexeme, "positions", "tsvector"), "tsvector positions")
      textBytes += writeWord(writer, word, "tsvector word")
      if (positions.length > 0) textBytes += textBytes % 2 + 2 + 2 * positions.length
      writePositions(writer, positions)
    }
  }
)

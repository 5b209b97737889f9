/**
 * What the words of `tsvector` and `tsquery` have in common.
 */
import type * as PgTextSearch from "../../../PgTextSearch.ts"
import { refuse, type Writer } from "../bytes.ts"
import * as input from "./input.ts"

/** From the lowest to the highest, so that the index is the number in the binary form. */
export const weights: ReadonlyArray<PgTextSearch.Weight> = ["D", "C", "B", "A"]

/** The number of a weight in the binary form. */
export const weightNumber = (value: unknown, name: string): number => {
  const number = weights.findIndex((weight) => weight === value)
  return number < 0 ? refuse(`${name}: a weight from A to D expected`) : number
}

/** The server's limit on a word (MAXSTRLEN); its text form takes one byte less. */
const maxWordBytes = 2 ** 11 - 1

/** The server's limit on where the text of a word may begin (MAXSTRPOS). */
export const maxTextBytes = 2 ** 20 - 1

/** Writes a word with its end mark; returns how many bytes it has without. */
export const writeWord = (writer: Writer, value: unknown, name: string): number => {
  const before = writer.size
  writer.cstring(input.text(value, name))
  const size = writer.size - before - 1
  if (size < 1 || size > maxWordBytes) refuse(`${name}: 1 to ${maxWordBytes} bytes expected`)
  return size
}

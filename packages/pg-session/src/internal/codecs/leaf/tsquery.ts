/**
 * `tsquery`: the number of items, then the tree with each operator before its operands, the right one first. Both
 * directions keep a stack of their own, because a query of many thousand words is a chain as deep as it is long.
 */
import * as PgTextSearch from "../../../PgTextSearch.ts"
import type { PgTypes } from "../../driver.ts"
import { codec, type Reader, refuse, Writer } from "../bytes.ts"
import * as input from "./input.ts"
import { maxTextBytes, weightNumber, weights, writeWord } from "./textSearch.ts"

const itemType = { word: 1, operator: 2 }
const operator = { not: 1, and: 2, or: 3, phrase: 4 }
const maxDistance = 2 ** 14
// More than the limit on the bytes of words leaves room for; it ends a tree that contains itself.
const maxItems = 2 ** 22

type Item = PgTextSearch.Word | { readonly operator: number; readonly distance: number }

const readItem = (reader: Reader): Item => {
  switch (reader.uint8()) {
    case itemType.word: {
      const bits = reader.uint8()
      const prefix = reader.uint8() !== 0
      return PgTextSearch.word(reader.cstring(), {
        weights: weights.filter((_, number) => (bits & 1 << number) !== 0).toReversed(),
        prefix
      })
    }
    case itemType.operator: {
      const kind = reader.uint8()
      return { operator: kind, distance: kind === operator.phrase ? reader.uint16() : 0 }
    }
    default:
      return refuse("tsquery: an item of an unknown type")
  }
}

const read = (reader: Reader): PgTextSearch.TsQuery => {
  const items = Array.from({ length: reader.count(2) }, () => readItem(reader))
  // From the end, operands are met before their operator, and the left one before the right one.
  const terms: Array<PgTextSearch.Term> = []
  const operand = (): PgTextSearch.Term => terms.pop() ?? refuse("tsquery: an operand is missing")
  for (const item of items.toReversed()) {
    if ("word" in item) {
      terms.push(item)
      continue
    }
    const right = operand()
    switch (item.operator) {
      case operator.not:
        terms.push(PgTextSearch.not(right))
        break
      case operator.and:
        terms.push(PgTextSearch.and(operand(), right))
        break
      case operator.or:
        terms.push(PgTextSearch.or(operand(), right))
        break
      case operator.phrase:
        terms.push(PgTextSearch.phrase(operand(), right, item.distance))
        break
      default:
        refuse("tsquery: an unknown operator")
    }
  }
  const root = terms.pop()
  if (terms.length > 0) refuse("tsquery: an operator is missing")
  return root ?? PgTextSearch.empty
}

const weightBits = (value: unknown): number =>
  input.list(value, "tsquery weights").reduce<number>((bits, weight) => bits | 1 << weightNumber(weight, "tsquery"), 0)

const binary: Readonly<Record<string, number>> = { And: operator.and, Or: operator.or, Phrase: operator.phrase }

const writeTerms = (writer: Writer, root: unknown): number => {
  const open: Array<unknown> = [root]
  let count = 0
  let textBytes = 0
  while (open.length > 0) {
    const term = open.pop()
    const tag = input.text(input.field(term, "_tag", "tsquery"), "tsquery _tag")
    if (++count > maxItems) refuse(`tsquery: at most ${maxItems} terms expected`)
    if (tag === "Word") {
      if (textBytes > maxTextBytes) refuse(`tsquery: at most ${maxTextBytes} bytes of words expected`)
      writer.uint8(itemType.word).uint8(weightBits(input.field(term, "weights", "tsquery")))
      writer.uint8(input.boolean(input.field(term, "prefix", "tsquery"), "tsquery prefix") ? 1 : 0)
      textBytes += writeWord(writer, input.field(term, "word", "tsquery"), "tsquery word") + 1
      continue
    }
    writer.uint8(itemType.operator)
    if (tag === "Not") {
      writer.uint8(operator.not)
      open.push(input.field(term, "operand", "tsquery"))
      continue
    }
    writer.uint8(binary[tag] ?? refuse("tsquery: Word, Not, And, Or or Phrase expected"))
    if (tag === "Phrase") {
      writer.uint16(input.integer(input.field(term, "distance", "tsquery"), "tsquery distance", 0, maxDistance))
    }
    open.push(input.field(term, "left", "tsquery"), input.field(term, "right", "tsquery"))
  }
  return count
}

export const tsquery: PgTypes.Codec<unknown> = codec<unknown>("tsquery", read, (writer, value) => {
  // Trap: the server sends a query without terms, but refuses to receive its own bytes (XX000).
  if (input.field(value, "_tag", "tsquery") === "Empty") {
    refuse("tsquery: a query without terms is only understood as text: give '' as an untyped parameter")
  }
  const items = new Writer()
  const count = writeTerms(items, value)
  writer.int32(count).bytes(items.finish())
})

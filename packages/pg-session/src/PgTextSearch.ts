/**
 * The values of PostgreSQL's text search types, as they are stored: words are lexemes, nothing is parsed or stemmed here
 * (`to_tsvector` and its like do that).
 */

/** `D` is what a position has when nothing else is said. */
export type Weight = "A" | "B" | "C" | "D"

/** Where a word stands in its document. `position` goes from 1 to 16,383. */
export interface Position {
  readonly position: number
  readonly weight: Weight
}

/**
 * A word of a document and where it stands. To be written, a word has 1 to 2,047 bytes, and its positions (at most 256)
 * ascend, each once.
 */
export interface Lexeme {
  readonly word: string
  readonly positions: ReadonlyArray<Position>
}

/** A `tsvector`. The server sorts the words by their bytes; each may be given once. */
export type TsVector = ReadonlyArray<Lexeme>

/** A word; with `weights`, only at positions of one of these; with `prefix`, any word that begins so. */
export interface Word {
  readonly _tag: "Word"
  readonly word: string
  /** None stands for all. Read in the order A to D. */
  readonly weights: ReadonlyArray<Weight>
  readonly prefix: boolean
}

export interface Not {
  readonly _tag: "Not"
  readonly operand: Term
}

export interface And {
  readonly _tag: "And"
  readonly left: Term
  readonly right: Term
}

export interface Or {
  readonly _tag: "Or"
  readonly left: Term
  readonly right: Term
}

/** `right` exactly `distance` (0 to 16,384) positions behind `left`. */
export interface Phrase {
  readonly _tag: "Phrase"
  readonly left: Term
  readonly right: Term
  readonly distance: number
}

export type Term = Word | Not | And | Or | Phrase

/**
 * A query without any term, such as `plainto_tsquery('the')`. It matches nothing. It is only ever read: the server
 * does not receive one in binary, so as a parameter it is refused and `''` without a type takes its place.
 */
export interface Empty {
  readonly _tag: "Empty"
}

/** A `tsquery`. The tree is kept as it is given; the server's text leaves out the parentheses that change nothing. */
export type TsQuery = Term | Empty

export const empty: Empty = { _tag: "Empty" }

export const word = (
  word: string,
  options: { readonly weights?: ReadonlyArray<Weight>; readonly prefix?: boolean } = {}
): Word => ({ _tag: "Word", word, weights: options.weights ?? [], prefix: options.prefix ?? false })

export const not = (operand: Term): Not => ({ _tag: "Not", operand })

export const and = (left: Term, right: Term): And => ({ _tag: "And", left, right })

export const or = (left: Term, right: Term): Or => ({ _tag: "Or", left, right })

export const phrase = (left: Term, right: Term, distance = 1): Phrase => ({ _tag: "Phrase", left, right, distance })

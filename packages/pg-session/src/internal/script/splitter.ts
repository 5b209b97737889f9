/**
 * Cuts the text of a SQL file into its statements. What cannot be run statement by statement is refused, with its place.
 */
import { Result } from "effect"
import { finder, type Position } from "./position.ts"
import * as Token from "./token.ts"

export interface Statement extends Position {
  /** From 0. */
  readonly index: number
  /** Index of its first character in the file. */
  readonly offset: number
  /** From its first token to its last; comments around it are left out. */
  readonly text: string
  /** Its first words that are not quoted, in upper case. */
  readonly words: ReadonlyArray<string>
}

export interface Refusal extends Position {
  readonly problem: string
}

/** No decision needs more: CREATE OR REPLACE FUNCTION; ROLLBACK TRANSACTION TO SAVEPOINT x. */
const wordsKept = 5

const isRoutine = (words: ReadonlyArray<string>): boolean => {
  if (words[0] !== "CREATE") return false
  const object = words[1] === "OR" && words[2] === "REPLACE" ? words[3] : words[1]
  return object === "FUNCTION" || object === "PROCEDURE"
}

/** What a statement is, as far as its words tell while it is read. */
class Reading {
  readonly start: number
  end: number
  readonly words: Array<string> = []
  /** Whether it is a COPY whose data would come from, or go to, this client. */
  copiesHere = false
  #parentheses = 0
  /**
   * BEGIN ATOMIC, and each CASE in it, up to its END. Both words may also be names without AS, as in `select 1 end`: such an
   * END stands neither in a CASE nor where a statement begins, and such a CASE is still open where its statement ends.
   */
  #blocks = 0
  #previous = ""

  constructor(start: number) {
    this.start = start
    this.end = start
  }

  get atTopLevel(): boolean {
    return this.#parentheses === 0 && this.#blocks === 0
  }

  add(token: Token.Token): void {
    this.end = token.end
    if (token.kind === "word") {
      if (this.words.length < wordsKept) this.words.push(token.word)
      if (this.#parentheses === 0) this.#read(token.word)
      this.#previous = token.word
      return
    }
    this.#previous = token.kind === "other" ? token.character : ""
    if (this.#previous === "(") this.#parentheses++
    if (this.#previous === ")" && this.#parentheses > 0) this.#parentheses--
    if (this.#previous === ";" && this.#parentheses === 0) this.#blocks = Math.min(this.#blocks, 1)
  }

  #read(word: string): void {
    const previous = this.#previous
    if (this.words[0] === "COPY" && (previous === "FROM" || previous === "TO")) {
      this.copiesHere ||= word === "STDIN" || word === "STDOUT"
    }
    // Names as well as key words: what follows AS or a dot is a name.
    if (previous === "AS" || previous === ".") return
    if (word === "ATOMIC" && previous === "BEGIN" && this.#blocks === 0 && isRoutine(this.words)) this.#blocks = 1
    else if (word === "CASE" && this.#blocks > 0) this.#blocks++
    else if (word === "END" && this.#blocks > 0) {
      if (this.#blocks > 1 || previous === ";" || previous === "ATOMIC") this.#blocks--
    }
  }
}

/** What a statement does to the transaction it runs in. `chain`: ends it and begins the next. */
type TransactionControl = "begin" | "end" | "chain"

export const transactionControl = (words: ReadonlyArray<string>): TransactionControl | undefined => {
  switch (words[0]) {
    case "BEGIN":
      return "begin"
    case "START":
      return words[1] === "TRANSACTION" ? "begin" : undefined
    case "PREPARE":
      return words[1] === "TRANSACTION" ? "end" : undefined
    case "COMMIT":
    case "END":
    case "ROLLBACK":
    case "ABORT": {
      const rest = words[1] === "WORK" || words[1] === "TRANSACTION" ? words.slice(2) : words.slice(1)
      if (rest[0] === "TO" || rest[0] === "PREPARED") return undefined
      return rest[0] === "AND" && rest[1] === "CHAIN" ? "chain" : "end"
    }
    default:
      return undefined
  }
}

/** Whether a single statement is a COPY from or to the client. False if its text does not end properly. */
export const copiesHere = (text: string): boolean => {
  const statement = new Reading(0)
  for (const token of Token.of(text)) statement.add(token)
  return statement.copiesHere
}

/** Whether a statement has the server read strings otherwise than they are read here. */
const changesStrings = (words: ReadonlyArray<string>, text: string): boolean =>
  words[0] === "SET" && /standard_conforming_strings/i.test(text) &&
  !/standard_conforming_strings"?\s*(?:=|\bto\b)\s*'?(?:on|true|yes|1)'?$/i.test(text)

/** The first word of a statement, in upper case; empty if there is none. */
export const firstWord = (text: string): string => {
  for (const token of Token.of(text)) {
    if (token.kind === "word") return token.word
    if (token.kind !== "other" || token.character !== "(") break
  }
  return ""
}

/** How a statement begins, on one line and without what its strings say: that may be a password. */
export const beginning = (text: string): string => {
  let shown = ""
  let end = 0
  for (const token of Token.of(text)) {
    const gap = shown !== "" && token.start > end ? " " : ""
    const next = shown + gap + (token.kind === "literal" || token.kind === "unterminated"
      ? "'...'"
      : text.slice(token.start, token.end))
    if (next.length > 60) return `${shown} ...`
    shown = next
    end = token.end
  }
  return shown
}

export const split = (text: string): Result.Result<ReadonlyArray<Statement>, Refusal> => {
  const find = finder(text)
  const refuse = (at: number, problem: string) => Result.fail({ ...find(at), problem })
  const illFormed = text.search(/\p{Surrogate}/u)
  if (illFormed !== -1) return refuse(illFormed, "half of a surrogate pair, which UTF-8 cannot express")
  const statements: Array<Statement> = []
  let statement: Reading | undefined
  const close = (): Refusal | undefined => {
    if (statement === undefined) return undefined
    const { copiesHere, end, start, words } = statement
    statement = undefined
    const position = find(start)
    const written = text.slice(start, end)
    if (copiesHere) return { ...position, problem: "COPY from or to the client does not run in a script; use PgCopy" }
    if (changesStrings(words, written)) {
      return {
        ...position,
        problem: "scripts are read with standard_conforming_strings on; write E'...' for backslashes"
      }
    }
    statements.push({ ...position, index: statements.length, offset: start, text: written, words })
    return undefined
  }
  for (const token of Token.of(text)) {
    if (token.kind === "unterminated") return refuse(token.start, `unterminated ${token.what}`)
    if (token.kind === "other") {
      if (token.character === "\\") return refuse(token.start, "commands of psql that begin with \\ are not SQL")
      if (token.character === ";" && (statement?.atTopLevel ?? true)) {
        const refusal = close()
        if (refusal !== undefined) return Result.fail(refusal)
        continue
      }
    }
    statement ??= new Reading(token.start)
    statement.add(token)
  }
  const refusal = close()
  return refusal === undefined ? Result.succeed(statements) : Result.fail(refusal)
}

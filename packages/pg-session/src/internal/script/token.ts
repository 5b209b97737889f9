/**
 * The tokens of SQL, as far as one must know them to find where a statement ends (PostgreSQL manual, "Lexical Structure").
 * Comments and white space are left out. Texts are read with `standard_conforming_strings` on, its default.
 *
 * Everything is a loop or a search: a dump may hold literals of many megabytes, and a regular expression over one of those
 * exhausts its stack.
 */
import { startOf } from "./position.ts"

export type Token =
  /** Not quoted: a key word or an identifier, in upper case if it is ASCII. */
  | { readonly kind: "word"; readonly start: number; readonly end: number; readonly word: string }
  /** A string or a quoted identifier. */
  | { readonly kind: "literal" | "identifier"; readonly start: number; readonly end: number }
  /** A number, or a single character of anything else. */
  | { readonly kind: "other"; readonly start: number; readonly end: number; readonly character: string }
  /** Begins here and does not end. The last token. */
  | { readonly kind: "unterminated"; readonly start: number; readonly end: number; readonly what: string }

const space = /[ \t\n\r\f\v]+/y
const word = /[A-Za-z_\u0080-\uffff][A-Za-z0-9_$\u0080-\uffff]*/y
const number = /[0-9][0-9A-Za-z_.]*/y
const dollarTag = /\$(?:[A-Za-z_\u0080-\uffff][A-Za-z0-9_\u0080-\uffff]*)?\$/y
const lineEnd = /[\n\r]/g
const commentBound = /\/\*|\*\//g
const ascii = /^[\w$]+$/
/**
 * Between two parts of one string: at least one line break (manual, "String Constants").
 *
 * Trap: a comment must reach to the end of its line. If it could end earlier, a line of dashes would have exponentially many
 * readings.
 */
const continuation = /(?:[ \t\f\v]|--[^\n\r]*(?=[\n\r]))*[\n\r](?:[ \t\n\r\f\v]|--[^\n\r]*(?=[\n\r]))*'/y

/** Where a match ends that starts exactly here. */
const match = (pattern: RegExp, text: string, at: number): number | undefined => {
  pattern.lastIndex = at
  return pattern.test(text) ? pattern.lastIndex : undefined
}

/** Past the closing quote; a doubled one does not close. */
const endOfQuoted = (text: string, from: number, quote: string): number | undefined => {
  let at = from
  while (true) {
    at = text.indexOf(quote, at)
    if (at === -1) return undefined
    if (text[at + 1] !== quote) return at + 1
    at += 2
  }
}

const endOfEscaped = (text: string, from: number): number | undefined => {
  for (let at = from; at < text.length; at++) {
    const character = text[at]
    if (character === "\\") at++
    else if (character === "'") {
      if (text[at + 1] === "'") at++
      else {
        // Trap: the next part of a continued string has no E of its own, and its backslashes escape all the same.
        const next = match(continuation, text, at + 1)
        if (next === undefined) return at + 1
        at = next - 1
      }
    }
  }
  return undefined
}

/** A tag is to be recognised. A longer one may be something else, such as what should have been in a string. */
const shorten = (tag: string): string => tag.length > 63 ? `${tag.slice(0, 63)}...` : tag

/** Comments nest. */
const endOfComment = (text: string, from: number): number | undefined => {
  let depth = 1
  commentBound.lastIndex = from
  for (let bound = commentBound.exec(text); bound !== null; bound = commentBound.exec(text)) {
    depth += bound[0] === "/*" ? 1 : -1
    if (depth === 0) return bound.index + 2
  }
  return undefined
}

export function* of(text: string): Generator<Token, void> {
  let at = startOf(text)
  while (at < text.length) {
    const start = at
    const character = text.charAt(at)
    const afterSpace = match(space, text, at)
    if (afterSpace !== undefined) {
      at = afterSpace
      continue
    }
    if (text.startsWith("--", at)) {
      lineEnd.lastIndex = at
      at = lineEnd.exec(text)?.index ?? text.length
      continue
    }
    if (text.startsWith("/*", at)) {
      const end = endOfComment(text, at + 2)
      if (end === undefined) return yield { kind: "unterminated", start, end: text.length, what: "comment" }
      at = end
      continue
    }
    const afterWord = match(word, text, at)
    if (afterWord !== undefined) {
      const found = text.slice(start, afterWord)
      at = afterWord
      if ((found === "e" || found === "E") && text[at] === "'") {
        const end = endOfEscaped(text, at + 1)
        if (end === undefined) return yield { kind: "unterminated", start, end: text.length, what: "string" }
        at = end
        yield { kind: "literal", start, end }
        continue
      }
      // Trap: upper case of a letter that is not ASCII can be ASCII, as of the dotless i.
      yield { kind: "word", start, end: at, word: ascii.test(found) ? found.toUpperCase() : found }
      continue
    }
    if (character === "'" || character === "\"") {
      const end = endOfQuoted(text, at + 1, character)
      const kind = character === "'" ? "literal" : "identifier"
      if (end === undefined) {
        const what = kind === "literal" ? "string" : "quoted identifier"
        return yield { kind: "unterminated", start, end: text.length, what }
      }
      at = end
      yield { kind, start, end }
      continue
    }
    const afterTag = match(dollarTag, text, at)
    if (afterTag !== undefined) {
      const tag = text.slice(at, afterTag)
      const close = text.indexOf(tag, afterTag)
      if (close === -1) return yield { kind: "unterminated", start, end: text.length, what: `${shorten(tag)} string` }
      at = close + tag.length
      yield { kind: "literal", start, end: at }
      continue
    }
    at = match(number, text, at) ?? at + 1
    yield { kind: "other", start, end: at, character }
  }
}

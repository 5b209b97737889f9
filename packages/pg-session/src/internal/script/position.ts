/** Where something is in a text, as an editor shows it: lines and columns from 1, columns in characters. */
export interface Position {
  readonly line: number
  readonly column: number
}

/** The first index that an editor shows: a byte order mark is no character of the text. */
export const startOf = (text: string): number => text.startsWith("\ufeff") ? 1 : 0

/**
 * Counts the line breaks once, for any number of questions about an index of the string. Questions in ascending order count
 * the characters of a line once, too: a script of many megabytes may be a single line.
 */
export const finder = (text: string): (index: number) => Position => {
  const starts = [startOf(text)]
  let last = { line: 0, column: 0, index: 0 }
  for (const { 0: lineBreak, index } of text.matchAll(/\r\n|\n|\r/g)) starts.push(index + lineBreak.length)
  return (index) => {
    let low = 0
    let high = starts.length - 1
    while (low < high) {
      const middle = Math.ceil((low + high) / 2)
      if ((starts[middle] ?? 0) <= index) low = middle
      else high = middle - 1
    }
    const line = low + 1
    const from = last.line === line && last.index <= index ? last : { column: 1, index: starts[low] ?? 0 }
    last = { line, column: from.column + Array.from(text.slice(from.index, index)).length, index }
    return { line, column: last.column }
  }
}

/** The server counts characters from 1, and JavaScript halves of surrogate pairs from 0. */
export const indexOfCharacter = (text: string, position: number): number => {
  let index = 0
  for (let left = position - 1; left > 0 && index < text.length; left--) {
    index += (text.codePointAt(index) ?? 0) > 0xffff ? 2 : 1
  }
  return index
}

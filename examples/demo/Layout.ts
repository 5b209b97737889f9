/**
 * Plain text in columns: no colours, no cursor movements, the same in a terminal, a pipe and a file.
 */

const width = 100

/** A number with thousands separators. */
export const count = (value: number): string => value.toLocaleString("en-US")

/** `1 message`, `2 messages`. */
export const counted = (value: number, noun: string): string => `${count(value)} ${noun}${value === 1 ? "" : "s"}`

/** `a`, `a and b`, `a, b and c`. */
export const and = (words: ReadonlyArray<string>): string =>
  [words.slice(0, -1).join(", "), ...words.slice(-1)].filter((part) => part !== "").join(" and ")

/** A label, then a text that is wrapped to the right of it. */
export const labelled = (label: string, text: string): string => {
  const lines: Array<string> = []
  let line = ""
  for (const word of text.split(" ")) {
    if (line !== "" && label.length + line.length + 1 + word.length > width) {
      lines.push(line)
      line = word
    } else {
      line = line === "" ? word : `${line} ${word}`
    }
  }
  lines.push(line)
  return lines.map((line, i) => (i === 0 ? label : " ".repeat(label.length)) + line).join("\n")
}

/** Rows under a header: the first column is left-aligned, the others, which hold numbers, right-aligned. */
export const table = (
  header: ReadonlyArray<string>,
  rows: ReadonlyArray<ReadonlyArray<string | number>>
): string => {
  const cells = [header, ...rows.map((row) => row.map((cell) => typeof cell === "number" ? count(cell) : cell))]
  const widths = header.map((_, column) => Math.max(...cells.map((row) => (row[column] ?? "").length)))
  return cells
    .map((row) =>
      "  " + row
        .map((cell, column) => column === 0 ? cell.padEnd(widths[column] ?? 0) : cell.padStart(widths[column] ?? 0))
        .join("  ")
        .trimEnd()
    )
    .join("\n")
}

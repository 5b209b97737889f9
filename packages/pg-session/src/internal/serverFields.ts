/**
 * The fields of an ErrorResponse or NoticeResponse, by the names that sql-pg gives them on `SqlError.reason.cause`, so that
 * both can be read by the same code (PostgreSQL manual, "Error and Notice Message Fields").
 */
export interface ServerFields {
  readonly [name: string]: string | undefined
  readonly severity?: string | undefined
  /** Never translated, unlike `severity`. */
  readonly severityUnlocalized?: string | undefined
  /** SQLSTATE. */
  readonly code?: string | undefined
  readonly message?: string | undefined
  readonly detail?: string | undefined
  readonly hint?: string | undefined
  readonly position?: string | undefined
  readonly internalPosition?: string | undefined
  readonly internalQuery?: string | undefined
  readonly where?: string | undefined
  readonly schema?: string | undefined
  readonly table?: string | undefined
  readonly column?: string | undefined
  readonly dataType?: string | undefined
  readonly constraint?: string | undefined
  readonly file?: string | undefined
  readonly line?: string | undefined
  readonly routine?: string | undefined
  /**
   * Not PostgreSQL's: the transport adds it to a 57014 whose origin it knows. `self`: this process asked for the cancel
   * while that statement was on the wire. `timeout`: the session's own `statement_timeout` had passed. The protocol lets
   * clients ignore fields that they do not know; sql-pg keeps them under their letter.
   */
  readonly z?: string | undefined
}

const names: Readonly<Record<string, string>> = {
  S: "severity",
  V: "severityUnlocalized",
  C: "code",
  M: "message",
  D: "detail",
  H: "hint",
  P: "position",
  p: "internalPosition",
  q: "internalQuery",
  W: "where",
  s: "schema",
  t: "table",
  c: "column",
  d: "dataType",
  n: "constraint",
  F: "file",
  L: "line",
  R: "routine"
}

/** Reads the body of an ErrorResponse or NoticeResponse, the type byte and the length left out. */
export const parse = (body: Uint8Array): ServerFields => {
  const text = Buffer.from(body.buffer, body.byteOffset, body.byteLength)
  const fields: Record<string, string> = {}
  let at = 0
  while (at < text.length && text[at] !== 0) {
    const end = text.indexOf(0, at + 1)
    if (end === -1) break
    const letter = String.fromCharCode(text[at] ?? 0)
    fields[names[letter] ?? letter] = text.toString("utf8", at + 1, end)
    at = end + 1
  }
  return fields
}

const letters: Readonly<Record<string, string>> = Object.fromEntries(
  Object.entries(names).map(([letter, name]) => [name, letter])
)

/** An ErrorResponse frame with these fields. */
export const encodeError = (fields: ServerFields): Uint8Array => {
  const body = Object.entries(fields).map(([name, value]) => `${letters[name] ?? name}${value ?? ""}\0`).join("")
  const length = Buffer.byteLength(body)
  const frame = Buffer.allocUnsafe(length + 6)
  frame[0] = 0x45
  frame.writeInt32BE(length + 5, 1)
  frame.write(body, 5)
  frame[length + 5] = 0
  return frame
}

/**
 * What it means when the server answers a connection with an ErrorResponse (spec 2.1, 2.2, section 11).
 */
import { AuthError, fromCause, type PgTransportError, Refused } from "../../PgTransportError.ts"
import type { ServerFields } from "../serverFields.ts"
import { type Line, violation } from "./line.ts"

/** Starting up or shutting down; too many clients. */
const passing: ReadonlySet<string> = new Set(["57P03", "53300"])

/**
 * The error that these fields stand for; they are its cause. `text` is what to tell of them: an answer that came before TLS
 * may be anybody's, so its words are withheld.
 */
export const of = (line: Line, fields: ServerFields, text: string): PgTransportError => {
  const sqlstate = fields.code
  if (sqlstate === undefined || !/^[0-9A-Z]{5}$/.test(sqlstate)) {
    return violation("the server sent an error without a code while the session was starting")
  }
  return fromCause(
    passing.has(sqlstate)
      ? line.unreachable(text, sqlstate)
      : sqlstate.startsWith("28")
      ? new AuthError({ kind: "Rejected", problem: text, sqlstate })
      : new Refused({ problem: text, sqlstate }),
    fields
  )
}

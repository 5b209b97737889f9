import { createHash } from "node:crypto"

// Trap: PostgreSQL cuts longer names off without an error, and two different ones become the same.
const limit = 63

/** A name that PostgreSQL keeps as it is; what is too long ends in a hash of the whole. */
export const databaseName = (wanted: string): string => {
  const bytes = Buffer.from(wanted, "utf8")
  if (bytes.length <= limit) return wanted
  const hash = createHash("sha256").update(bytes).digest("hex").slice(0, 16)
  // A character cut in half at the end must not become a replacement character.
  return `${new TextDecoder().decode(bytes.subarray(0, limit - 17), { stream: true })}_${hash}`
}

/** A name as an SQL identifier. */
export const quoted = (name: string): string => `"${name.replaceAll("\"", "\"\"")}"`

import * as Redacted from "effect/Redacted"

/** The same server and user, another database. */
export const withDatabase = (url: Redacted.Redacted, name: string): Redacted.Redacted => {
  const other = new URL(Redacted.value(url))
  other.pathname = `/${encodeURIComponent(name)}`
  return Redacted.make(other.href)
}

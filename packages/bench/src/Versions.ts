/**
 * Versions of what our own subjects are made of.
 */
import { createRequire } from "node:module"

const require = createRequire(import.meta.url)

const versionOf = (name: string): string => {
  const found: unknown = require(`${name}/package.json`)
  return typeof found === "object" && found !== null && "version" in found ? String(found.version) : "unknown"
}

export const versions: Readonly<Record<string, string>> = Object.fromEntries(
  ["restante", "@restante/postgres", "@restante/pg-session", "effect", "@effect/sql-pg"].map((name) => [
    name,
    versionOf(name)
  ])
)

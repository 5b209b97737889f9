/** Which versions of the packages are installed here. */
import { readFileSync } from "node:fs"

const versionOf = (name: string): string => {
  const manifest: unknown = JSON.parse(
    readFileSync(new URL(`node_modules/${name}/package.json`, import.meta.url), "utf8")
  )
  return typeof manifest === "object" && manifest !== null && "version" in manifest
    ? String(manifest.version)
    : "unknown"
}

export const versions = (...names: ReadonlyArray<string>): Readonly<Record<string, string>> =>
  Object.fromEntries(names.map((name) => [name, versionOf(name)]))

// Packs every public package as npm would and checks the tarball: that its files match its package.json (publint), and that
// its types resolve for whoever imports it (attw; ESM only, so the resolutions of CommonJS do not count).
import { spawnSync } from "node:child_process"
import { readdirSync, readFileSync } from "node:fs"

const checks = (directory: string) => [
  ["publint", "--strict", "--pack", "npm", directory],
  ["attw", "--quiet", "--pack", directory, "--profile", "esm-only"]
]

for (const name of readdirSync("packages")) {
  const manifest: unknown = JSON.parse(readFileSync(`packages/${name}/package.json`, "utf8"))
  if (typeof manifest === "object" && manifest !== null && "private" in manifest) continue
  for (const [command = "", ...parameters] of checks(`packages/${name}`)) {
    const { error, status, stderr, stdout } = spawnSync(command, parameters, { encoding: "utf8" })
    if (status !== 0) {
      process.stderr.write(`${command} ${parameters.join(" ")}\n${stdout}${stderr}${error?.message ?? ""}\n`)
      process.exit(1)
    }
  }
  process.stdout.write(`packages/${name}: publint and attw agree\n`)
}

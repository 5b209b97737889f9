/**
 * A copy of the binaries in the folder for temporary files, for installs that the server's user cannot reach or that
 * lack their links. It is made once per version and place, and shared by everything this user starts.
 */
import * as Effect from "effect/Effect"
import { createHash } from "node:crypto"
import { chmodSync, lstatSync, mkdirSync, mkdtempSync, realpathSync, renameSync, rmSync } from "node:fs"
import { copyFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { BinariesUnusable, type EmbeddedPostgresError } from "../EmbeddedPostgresError.ts"
import { attemptPromise, codeOf } from "./failure.ts"
import { filesOf, isIntact, linksOf, makeLinks } from "./native-tree.ts"
import { ownUid } from "./run-as.ts"

const copy = async (native: string): Promise<string> => {
  const source = realpathSync(native)
  const server = lstatSync(join(source, "bin", "postgres"))
  const key = createHash("sha256").update(JSON.stringify([source, server.size, server.mtimeMs])).digest("hex")
  const files = filesOf(source)
  const links = linksOf(source)
  const owner = ownUid()
  const target = join(realpathSync(tmpdir()), `restante-postgres-binaries-${owner}-${key.slice(0, 16)}`)

  const existing = (): "none" | "intact" | "damaged" => {
    const found = lstatSync(target, { throwIfNoEntry: false })
    if (found === undefined) return "none"
    // Anybody may create anything in a shared temporary folder, under a name that can be foretold.
    if (!found.isDirectory() || found.uid !== owner) {
      throw new Error(`${target} exists and belongs to the user with id ${found.uid}; it is not used`)
    }
    return isIntact(target, files, links, owner) ? "intact" : "damaged"
  }

  const before = existing()
  if (before === "intact") return target

  // Nobody else may look in before everything has its final mode.
  const scratch = mkdtempSync(`${target}.new-`)
  try {
    const folders = new Set(["bin", "lib", "share", ...[...files, ...links].map(({ path }) => dirname(path))])
    for (const folder of folders) mkdirSync(join(scratch, folder), { recursive: true })
    for (const file of files) {
      const path = join(scratch, file.path)
      await copyFile(join(source, file.path), path)
      chmodSync(path, file.program ? 0o755 : 0o644)
    }
    makeLinks(scratch, links)
    // The umask may have taken away what the server's user needs.
    const parents = new Set<string>([scratch])
    for (const folder of folders) {
      for (let path = join(scratch, folder); path !== scratch; path = dirname(path)) parents.add(path)
    }
    for (const path of parents) chmodSync(path, 0o755)

    if (before === "damaged") {
      // A temporary folder is swept by age, file by file. Servers that run from the old copy have it open.
      const old = `${scratch}.old`
      try {
        renameSync(target, old)
      } catch (thrown) {
        if (codeOf(thrown) !== "ENOENT") throw thrown
      }
      rmSync(old, { recursive: true, force: true })
    }
    try {
      renameSync(scratch, target)
    } catch (thrown) {
      // Another process was faster. Its copy is as good as ours if it is intact.
      if (codeOf(thrown) !== "ENOTEMPTY" && codeOf(thrown) !== "EEXIST") throw thrown
      if (existing() !== "intact") throw thrown
    }
    return target
  } finally {
    rmSync(scratch, { recursive: true, force: true })
  }
}

/** The folder of the copy, made now unless an intact one is there. */
export const privateCopy = (native: string): Effect.Effect<string, EmbeddedPostgresError> =>
  attemptPromise(() => copy(native), (output) => new BinariesUnusable({ directory: native, output }))

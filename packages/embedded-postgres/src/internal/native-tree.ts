/** A folder with `bin`, `lib` and `share` of PostgreSQL, as the npm packages have it. */
import * as Schema from "effect/Schema"
import { lstatSync, readdirSync, readFileSync, readlinkSync, statSync, symlinkSync } from "node:fs"
import { basename, dirname, join, normalize, relative } from "node:path"
import { codeOf } from "./failure.ts"

/** A symbolic link the tree needs; both paths are relative to the tree. npm packages cannot contain links. */
export interface NativeLink {
  readonly path: string
  readonly target: string
}

const LinkList = Schema.fromJsonString(Schema.Array(Schema.Struct({ source: Schema.String, target: Schema.String })))

const inside = (path: string): string => {
  const normal = normalize(relative("native", normalize(path)))
  if (normal.startsWith("..") || normal.startsWith("/")) throw new Error(`pg-symlinks.json: ${path} is outside`)
  return normal
}

/** The links listed in `pg-symlinks.json`; none without that file. Throws if it cannot be read. */
export const linksOf = (native: string): ReadonlyArray<NativeLink> => {
  let text: string
  try {
    text = readFileSync(join(native, "pg-symlinks.json"), "utf8")
  } catch (thrown) {
    if (codeOf(thrown) === "ENOENT") return []
    throw thrown
  }
  // In the list `source` is the file that exists and `target` the link to make.
  return Schema.decodeUnknownSync(LinkList)(text).map(({ source, target }) => ({
    path: inside(target),
    target: relative(dirname(inside(target)), inside(source))
  }))
}

const leadsSomewhere = (path: string): boolean => statSync(path, { throwIfNoEntry: false }) !== undefined

/** Makes the links that are missing. Safe when several processes do it at once. Throws if the folder is not writable. */
export const makeLinks = (native: string, links: ReadonlyArray<NativeLink>): void => {
  for (const link of links) {
    const path = join(native, link.path)
    if (leadsSomewhere(path)) continue
    try {
      symlinkSync(link.target, path)
    } catch (thrown) {
      if (codeOf(thrown) !== "EEXIST") throw thrown
    }
    if (!leadsSomewhere(path)) throw new Error(`${path} is a link to nothing`)
  }
}

export interface TreeFile {
  readonly path: string
  readonly bytes: number
  readonly program: boolean
}

/** The regular files, without those that only a compiler wants: static libraries and pkg-config. Throws. */
export const filesOf = (native: string): ReadonlyArray<TreeFile> =>
  readdirSync(native, { recursive: true, withFileTypes: true }).flatMap((entry) => {
    if (!entry.isFile() || entry.name.endsWith(".a") || basename(entry.parentPath) === "pkgconfig") return []
    const path = join(entry.parentPath, entry.name)
    const found = lstatSync(path)
    return [{ path: relative(native, path), bytes: found.size, program: (found.mode & 0o100) !== 0 }]
  })

/** Whether a tree is a complete copy of these files and links that only `owner` can have written. Throws. */
export const isIntact = (
  native: string,
  files: ReadonlyArray<TreeFile>,
  links: ReadonlyArray<NativeLink>,
  owner: number
): boolean => {
  const safe = (path: string): number | undefined => {
    const found = lstatSync(path, { throwIfNoEntry: false })
    return found !== undefined && found.uid === owner && (found.isSymbolicLink() || (found.mode & 0o022) === 0)
      ? found.size
      : undefined
  }
  const folders = new Set([
    "",
    ...[...files, ...links].flatMap(({ path }) => {
      const all: Array<string> = []
      for (let folder = dirname(path); folder !== "."; folder = dirname(folder)) all.push(folder)
      return all
    })
  ])
  return [...folders].every((folder) => safe(join(native, folder)) !== undefined)
    && files.every((file) => safe(join(native, file.path)) === file.bytes)
    && links.every((link) =>
      safe(join(native, link.path)) !== undefined && readlinkSync(join(native, link.path)) === link.target
    )
}

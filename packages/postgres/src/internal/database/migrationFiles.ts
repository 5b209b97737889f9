/**
 * The numbered files of `migrations/`, in order.
 */
import { createHash } from "node:crypto"
import { readdirSync, readFileSync } from "node:fs"

export interface MigrationFile {
  readonly version: number
  /** File name without the extension, such as `0002_msg_store`. */
  readonly name: string
  /** SHA-256 of the text, in hexadecimal. */
  readonly checksum: string
  /** The text, with `:"schema"` where the schema of the installation belongs. */
  readonly text: string
}

const directory = new URL("../../../migrations/", import.meta.url)

export const read = (): ReadonlyArray<MigrationFile> =>
  readdirSync(directory)
    .filter((file) => file.endsWith(".sql"))
    .toSorted()
    .map((file) => {
      // A checkout on Windows may have other line ends, and it is the same migration all the same.
      const text = readFileSync(new URL(file, directory), "utf8").replaceAll("\r\n", "\n")
      return {
        version: Number.parseInt(file, 10),
        name: file.slice(0, -".sql".length),
        checksum: createHash("sha256").update(text).digest("hex"),
        text
      }
    })

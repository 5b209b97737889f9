/**
 * A file that holds a text: UTF-8, without NUL, with at least one paragraph.
 */
import { Data, Effect, FileSystem } from "effect"
import type { PlatformError } from "effect/PlatformError"
import { isUtf8 } from "node:buffer"
import * as Paragraphs from "./Paragraphs.ts"

export interface TextFile {
  readonly path: string
  readonly bytes: Uint8Array
  readonly paragraphs: ReadonlyArray<Paragraphs.Paragraph>
}

/** The file is not there, cannot be read, or holds something else than a text. `problem` says which. */
export class NotAText extends Data.TaggedError("NotAText")<{ readonly path: string; readonly problem: string }> {
  override get message(): string {
    return `${this.path} ${this.problem}`
  }
}

const problemOf = ({ reason }: PlatformError): string => {
  switch (reason._tag) {
    case "NotFound":
      return "does not exist"
    case "PermissionDenied":
      return "may not be read by this user"
    default:
      return `cannot be read: ${reason.cause instanceof Error ? reason.cause.message : reason.message}`
  }
}

const problemIn = (bytes: Uint8Array): string | undefined => {
  if (bytes.length === 0) return "is empty"
  if (bytes.includes(0)) return "is not a text: it has NUL bytes"
  return isUtf8(bytes) ? undefined : "is not a text in UTF-8"
}

export const read = Effect.fnUntraced(
  function*(path: string): Effect.fn.Return<TextFile, NotAText | PlatformError, FileSystem.FileSystem> {
    const files = yield* FileSystem.FileSystem
    const { type } = yield* files.stat(path)
    if (type !== "File") {
      return yield* new NotAText({ path, problem: type === "Directory" ? "is a directory" : "is not a regular file" })
    }
    const bytes = yield* files.readFile(path)
    const problem = problemIn(bytes)
    if (problem !== undefined) return yield* new NotAText({ path, problem })
    const paragraphs = Paragraphs.split(bytes)
    if (paragraphs.length === 0) {
      return yield* new NotAText({ path, problem: "has no paragraph: there is nothing in it but blanks" })
    }
    return { path, bytes, paragraphs }
  },
  (effect, path) =>
    Effect.catchTag(effect, "PlatformError", (error) => Effect.fail(new NotAText({ path, problem: problemOf(error) })))
)

/** The user that runs the server. PostgreSQL refuses to run as root. */
import * as Effect from "effect/Effect"
import { readFileSync } from "node:fs"
import { type EmbeddedPostgresError, NoUnprivilegedUser } from "../EmbeddedPostgresError.ts"
import { fail, words } from "./failure.ts"

export interface RunAs {
  readonly name: string
  readonly uid: number
  readonly gid: number
}

// `_postgres` is what macOS calls it. `nobody` comes last: other programs use it, and could reach our files.
const usual = ["postgres", "_postgres", "nobody"]

/** The id of the user of this process. */
export const ownUid = (): number => process.geteuid?.() ?? -1

/**
 * Users to try, best first; `undefined` means this process's own, for every process that is not root. Only users that
 * exist are used, none is created.
 */
export const candidates = Effect.fnUntraced(function*(
  wanted: string | undefined
): Effect.fn.Return<ReadonlyArray<RunAs | undefined>, EmbeddedPostgresError> {
  if (ownUid() !== 0) return [undefined]
  const tried = wanted === undefined ? usual : [wanted]
  const passwd = yield* Effect.try({ try: () => readFileSync("/etc/passwd", "utf8"), catch: words }).pipe(
    Effect.catch((output) => fail(new NoUnprivilegedUser({ tried, output })))
  )
  const entries = passwd.split("\n").map((line) => line.split(":"))
  const found = tried.flatMap((name) => {
    const entry = entries.find((fields) => fields[0] === name)
    const uid = Number(entry?.[2])
    const gid = Number(entry?.[3])
    return Number.isInteger(uid) && Number.isInteger(gid) && uid > 0 && gid >= 0 ? [{ name, uid, gid }] : []
  })
  if (found.length === 0) {
    return yield* fail(new NoUnprivilegedUser({ tried, output: "No entry with an id above 0 in /etc/passwd." }))
  }
  return found
})

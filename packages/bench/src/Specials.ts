/**
 * What a session does that has special measurements only: nothing of its own to loop over, store or check.
 */
import type { Session } from "./Subject.ts"

export const notOffered = (): Promise<never> => Promise.reject(new Error("not offered"))

const nothing = () => Promise.resolve(undefined)

export const withoutLoops: Pick<Session, "check" | "clear" | "prepare" | "run"> = {
  run: notOffered,
  prepare: notOffered,
  clear: nothing,
  check: nothing
}

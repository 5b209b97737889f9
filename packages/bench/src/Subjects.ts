/**
 * Every subject by its id. Loaded when it is asked for: a peer may not be installed, and what is not measured should not be in
 * the process of what is.
 */
import type { Subject } from "./Subject.ts"

type Load = () => Promise<{ readonly subject: Subject }>

/** Peers are installed on demand and apart, so they are no part of this program: see `peers/`. */
const peer = (id: string): Load => () => import(new URL(`../peers/${id}.ts`, import.meta.url).href)

export const peers = ["pg-boss", "graphile-worker", "bullmq", "persisted-queue"] as const

const subjects: ReadonlyMap<string, Load> = new Map<string, Load>([
  ["copy", () => import("./subjects/copy.ts")],
  ["table", () => import("./subjects/table.ts")],
  ["notify", () => import("./subjects/notify.ts")],
  ["plain", () => import("./subjects/plain.ts")],
  ["msg-store", () => import("./subjects/pgMsgStore.ts")],
  ["msg-store-memory", () => import("./subjects/memoryMsgStore.ts")],
  ["pg", peer("pg")],
  ...peers.map((id): readonly [string, Load] => [id, peer(id)])
])

export const load = async (id: string): Promise<Subject> => {
  const load = subjects.get(id)
  if (load === undefined) throw new Error(`there is no subject ${id}`)
  return (await load()).subject
}

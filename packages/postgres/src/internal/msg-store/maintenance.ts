/**
 * The part of the driver that works on all queues, page by page: each page is a statement, and so is each queue that is
 * counted again under its lock.
 */
import { Effect, Option, Stream } from "effect"
import type { Maintenance, MsgStoreDriver } from "restante"
import { RecipientId } from "restante"
import type { Database } from "../database/routine.ts"
import { corrupt, failureOf, single } from "./failure.ts"
import * as Rows from "./rows.ts"

/** Before every id. */
const start = new Uint8Array(0)

export const make = (
  database: Database
): Pick<MsgStoreDriver.MsgStoreDriver, "expireAll" | "compactDeleted" | "stats" | "recount"> => {
  const expireAll = database.routine("expire_all", {
    kind: "change",
    parameters: ["bytea", "integer", "bigint"],
    row: Rows.ExpireAllRow
  })
  const compactDeleted = database.routine("compact_deleted", {
    kind: "change",
    parameters: ["bigint", "bytea", "integer", "bigint"],
    row: Rows.CompactRow
  })
  const stats = database.routine("stats", { kind: "read", parameters: [], row: Rows.StatsRow })
  const findSuspects = database.routine("find_suspects", {
    kind: "read",
    parameters: ["bytea", "integer"],
    row: Rows.SuspectsRow
  })
  const recount = database.routine("recount", {
    kind: "change",
    parameters: ["bytea", "boolean"],
    row: Rows.RecountRow
  })

  /** Counts one queue under its lock. It may be sound by now, or gone. */
  const recountQueue = Effect.fnUntraced(function*(bytes: Uint8Array, repair: boolean) {
    const recipientId = yield* Effect.mapError(
      Effect.fromResult(RecipientId.fromBytes(bytes)),
      () => corrupt("a recipient id is not 1 to 64 bytes long")
    )
    const drifted: Array<Maintenance.Drift> = []
    const violations: Array<Maintenance.Violation> = []
    for (const row of yield* recount(bytes, repair)) {
      if (row.outcome === "violation") violations.push({ recipientId, problem: row.finding })
      if (row.outcome !== "drift") continue
      const { actual, finding: field, stored } = row
      drifted.push(
        field === "latched"
          ? { recipientId, field, stored: stored === 1n, actual: actual === 1n }
          : { recipientId, field, stored, actual }
      )
    }
    return { drifted, violations }
  })

  return {
    expireAll: (before, batchSize) =>
      Stream.paginate(start, (after: Uint8Array) =>
        single(expireAll(after, batchSize, BigInt(before))).pipe(
          Effect.map((row) => {
            const { failed, skipped, visited } = row
            const counts = { visited, expired: Number(row.expired), skipped, failed }
            return [
              visited + skipped + failed === 0 ? [] : [counts],
              row.outcome === "more" ? Option.some(row.last) : Option.none()
            ] as const
          }),
          Effect.catchTag("RoutineFailure", failureOf("expireAll"))
        )),

    compactDeleted: (before, batchSize) =>
      Stream.paginate(
        { deletedAt: -1n, last: start },
        (after: { readonly deletedAt: bigint; readonly last: Uint8Array }) =>
          single(compactDeleted(after.deletedAt, after.last, batchSize, BigInt(before))).pipe(
            Effect.map((row) =>
              [
                [row.removed],
                row.outcome === "more"
                  ? Option.some({ deletedAt: row.last_deleted_at, last: row.last })
                  : Option.none()
              ] as const
            ),
            Effect.catchTag("RoutineFailure", failureOf("compactDeleted"))
          )
      ),

    stats: single(stats()).pipe(
      Effect.map((row) => ({
        queues: Number(row.queues),
        suspended: Number(row.suspended),
        latched: Number(row.latched),
        messages: Number(row.messages),
        markers: Number(row.markers),
        tombstones: Number(row.tombstones)
      })),
      Effect.catchTag("RoutineFailure", failureOf("stats"))
    ),

    recount: (batchSize, repair) =>
      Stream.paginate(start, (after: Uint8Array) =>
        single(findSuspects(after, batchSize)).pipe(
          Effect.flatMap((row) =>
            Effect.map(Effect.forEach(row.suspects, (suspect) => recountQueue(suspect, repair)), (found) =>
              [
                [{
                  checked: row.checked,
                  drifted: found.flatMap(({ drifted }) => drifted),
                  repaired: repair ? found.filter(({ drifted }) => drifted.length > 0).length : 0,
                  violations: found.flatMap(({ violations }) => violations)
                }],
                row.outcome === "more" ? Option.some(row.last) : Option.none()
              ] as const)
          ),
          Effect.catchTag("RoutineFailure", failureOf("recount"))
        ))
  }
}

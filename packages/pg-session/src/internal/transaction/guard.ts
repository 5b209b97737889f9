/**
 * What is checked before COMMIT: that the session is still in the transaction that was begun, and that it is good.
 *
 * Trap: to a session that is in no transaction COMMIT "succeeds", with a warning that nobody reads, and what came after the
 * body's own COMMIT or ROLLBACK was never protected.
 */
import { Effect } from "effect"
import { randomUUID } from "node:crypto"
import { type PgTransactionError, SessionLost } from "../../PgTransactionError.ts"
import type { SqlClient, SqlError } from "../driver.ts"
import * as Loss from "./loss.ts"
import { isBusy, isOver, type Open, type Place } from "./open.ts"
import * as Verdict from "./verdict.ts"

/** By what the session said last: no round trip. Undefined: it is in the transaction, which is good, or there is no session. */
export const fault = (open: Open): PgTransactionError | undefined => {
  const { session } = open
  if (session === undefined) return undefined
  const loss = session.lost ?? session.fatal
  if (loss !== undefined) return Loss.sessionLost("body", loss)
  if (open.endedByBody) return Loss.fail(Verdict.notActive())
  return session.status === "failed" ? Loss.fail(Verdict.failed(session.firstError?.code)) : undefined
}

/**
 * Whether a level's body that succeeded may be followed by COMMIT or RELEASE; if it may, the level is over. What is still open in
 * it would come to be applied half.
 */
export const refusal = (place: Place): PgTransactionError | undefined => {
  const { level, whole: { open } } = place
  if (isOver(place)) return Loss.fail(new SessionLost({ phase: "ended" }))
  const found = open === undefined || open.settings.guard === "off" ? undefined : fault(open)
  if (found !== undefined) return found
  if (isBusy(place)) return Loss.fail(Verdict.stillOpen())
  level.over = true
  return undefined
}

/** Leaves a setting in the transaction, which disappears with it. Gives the check. */
export const leaveMarker = (
  sql: SqlClient.SqlClient
): Effect.Effect<Effect.Effect<void, PgTransactionError | SqlError>, SqlError> => {
  const marker = randomUUID()
  return Effect.as(
    sql`select set_config('restante.transaction', ${marker}, true)`.values,
    sql`select current_setting('restante.transaction', true)`.values.pipe(
      Effect.flatMap((rows) => rows[0]?.[0] === marker ? Effect.void : Effect.fail(Loss.fail(Verdict.notActive()))),
      Effect.catchIf(
        (error) => Loss.sqlstate(error) === "25P02",
        (error) => Effect.fail(Loss.fail(Verdict.failed(undefined), error))
      )
    )
  )
}

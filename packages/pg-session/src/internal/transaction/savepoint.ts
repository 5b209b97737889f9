/**
 * Named savepoints of one level of nesting.
 *
 * The names are kept here because the server's answer to an unknown one, 3B001, fails the transaction.
 */
import { Context, Effect } from "effect"
import { Misuse, type PgTransactionError } from "../../PgTransactionError.ts"
import { SqlClient, type SqlError } from "../driver.ts"
import * as Loss from "./loss.ts"
import * as Open from "./open.ts"
import * as Verdict from "./verdict.ts"

type Command = Effect.Effect<void, PgTransactionError | SqlError, SqlClient.SqlClient>

export const set = (name: string): Command =>
  inLevel((sql, { level, whole: { open } }) => {
    if (!isSafe(name)) {
      return misuse(
        "UnsafeSavepointName",
        "a savepoint's name is of letters, digits, _ and $, begins with a letter or _, has at most 63 characters and does not " +
          "begin with effect_sql_"
      )
    }
    if (isFailed(open)) return Effect.fail(Loss.fail(Verdict.failed(open?.session?.firstError?.code)))
    return Effect.map(send(sql, "SAVEPOINT", name), () => {
      level.savepoints.push(name)
    })
  })

export const release = (name: string): Command =>
  inLevel((sql, { level, whole: { open } }) => {
    const at = level.savepoints.lastIndexOf(name)
    if (at === -1) return unknown
    if (isFailed(open)) return Effect.fail(Loss.fail(Verdict.failed(open?.session?.firstError?.code)))
    // Forgotten first: interrupted, nobody knows whether the server still has it. If it refused, it has.
    const gone = level.savepoints.splice(at)
    return Effect.tapError(send(sql, "RELEASE SAVEPOINT", name), () =>
      Effect.sync(() => {
        level.savepoints.push(...gone)
      }))
  })

export const rollbackTo = (name: string): Command =>
  inLevel((sql, { level }) => {
    const at = level.savepoints.lastIndexOf(name)
    if (at === -1) return unknown
    level.savepoints.length = at + 1
    return send(sql, "ROLLBACK TO SAVEPOINT", name)
  })

const inLevel = (
  f: (sql: SqlClient.SqlClient, place: Open.Place) => Effect.Effect<void, PgTransactionError | SqlError>
): Command =>
  Effect.flatMap(
    Effect.context<SqlClient.SqlClient>(),
    (context) => {
      const sql = Context.get(context, SqlClient.SqlClient)
      const place = Open.place(sql, context)
      if (place === undefined) return misuse("NoTransaction", "a savepoint needs a transaction")
      if (Open.isOver(place)) {
        return misuse("AlreadySettled", "the transaction, or this level of it, is over")
      }
      // The server would put a savepoint into the nested level, or undo that together with what is rolled back to.
      if (Open.isBusy(place)) {
        return misuse("StepOpen", "a nested transaction or a handle is open in this level; it has to end first")
      }
      return f(sql, place)
    }
  )

/** Unprepared: a name is part of the text, and each would stay in the session's statement cache. */
const send = (sql: SqlClient.SqlClient, command: string, name: string): Effect.Effect<void, SqlError> =>
  Effect.asVoid(sql.unsafe(`${command} "${name}"`).unprepared)

const isSafe = (name: string): boolean =>
  typeof name === "string" && /^[A-Za-z_][A-Za-z0-9_$]{0,62}$/.test(name) && !name.startsWith("effect_sql_")

const isFailed = (open: Open.Open | undefined): boolean => open?.session?.status === "failed"

const misuse = (kind: Misuse["kind"], problem: string) => Effect.fail(Loss.fail(new Misuse({ kind, problem })))

const unknown = misuse("NoSuchSavepoint", "there is no savepoint of this name in this level of the transaction")

/** Why connecting failed, as far as it decides whether to try again. */
import * as PgErrors from "../../PgErrors.ts"
import { AuthError, ConfigError } from "../../PgTransportError.ts"
import type { SqlError } from "../driver.ts"
import * as Chain from "../errors/chain.ts"
import { ConnectionFailed } from "./ListenerError.ts"

/** A login that is refused, a database that does not exist, a database that one may not use. */
const isFinal = (sqlstate: string): boolean => sqlstate.startsWith("28") || sqlstate === "3D000" || sqlstate === "42501"

/** What to tell the subscribers if another attempt would end the same way. */
export const finalFailure = (error: SqlError): ConnectionFailed | undefined => {
  const { message, sqlstate } = PgErrors.from(error)
  if (sqlstate !== undefined && isFinal(sqlstate)) return new ConnectionFailed({ problem: message, sqlstate })
  // Where it is the client that refuses, there is no SQLSTATE.
  const refusal = Chain.of(error).find((node) => node instanceof AuthError || node instanceof ConfigError)
  if (refusal !== undefined) return new ConnectionFailed({ problem: refusal.message })
  return error.reason._tag === "AuthenticationError" ? new ConnectionFailed({ problem: error.message }) : undefined
}

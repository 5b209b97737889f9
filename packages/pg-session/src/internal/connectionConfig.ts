/** What can be said of the options of a connection before there is one. */
import { Effect, Redacted } from "effect"
import { ConnectionError, PgConnection, SqlError } from "./driver.ts"

/**
 * Whether the driver can make sense of these options: it is let to come as far as opening a stream. The error says what is
 * wrong and nothing else: the driver's own cause quotes the URL, and with it the password.
 */
export const checkConfig = (config: PgConnection.Config): Effect.Effect<void, SqlError> => {
  const opened = new Error("the options are usable")
  return PgConnection.make({
    ...config,
    password: Redacted.make(""),
    stream: () => {
      throw opened
    }
  }).pipe(
    Effect.scoped,
    Effect.asVoid,
    Effect.catchTag("SqlError", ({ reason: { cause, message } }) =>
      cause === opened
        ? Effect.void
        : Effect.fail(
          new SqlError({ reason: new ConnectionError({ cause: new Error(message), message, operation: "connect" }) })
        ))
  )
}

import { Effect } from "effect"
import { InvalidArgument } from "restante"

/** The schema of an installation, quoted for use in SQL. */
export interface SchemaName {
  readonly name: string
  readonly quoted: string
}

const form = /^[a-z_][a-z0-9_]{0,62}$/i

/**
 * Checks a schema name. It could be quoted whatever it is, but a name that needs no thought in psql, in GRANTs and in
 * connection strings saves its owner trouble; names that begin with `pg_` belong to the server.
 */
export const parse = (name: string): Effect.Effect<SchemaName, InvalidArgument> =>
  form.test(name) && !name.toLowerCase().startsWith("pg_") && name.toLowerCase() !== "information_schema"
    ? Effect.succeed({ name, quoted: `"${name}"` })
    : Effect.fail(
      new InvalidArgument({
        field: "schema",
        problem: "must be 1 to 63 letters, digits and underscores, not begin with a digit or \"pg_\", " +
          "and not be information_schema"
      })
    )

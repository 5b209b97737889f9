/**
 * The database of a test file: a copy of the migrated template, dropped after the file.
 */
import { PgClient } from "@effect/sql-pg"
import { TestDatabase } from "@restante/embedded-postgres"
import { Effect, Exit, Redacted, Scope } from "effect"
import { afterAll, inject } from "vitest"

/** Call it at the top of a test file. */
export const open = async (): Promise<Redacted.Redacted> => {
  const scope = Scope.makeUnsafe()
  afterAll(() => Effect.runPromise(Scope.close(scope, Exit.void)))
  const { url } = await Effect.runPromise(Scope.provide(
    TestDatabase.clone({ server: Redacted.make(inject("serverUrl")), template: inject("template") }),
    scope
  ))
  return url
}

/** A client of the owner for looking behind the store's back. */
export const ownerLayer = (url: Redacted.Redacted) => PgClient.layer({ url, maxConnections: 4 })

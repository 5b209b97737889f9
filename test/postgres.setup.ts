/**
 * One server for all test files: the one that DATABASE_URL names, or an embedded one. It holds a template database with the
 * schema installed, of which each file makes its own copy.
 */
import { PgClient } from "@effect/sql-pg"
import { PostgresServer, TestDatabase } from "@restante/embedded-postgres"
import { PgMigrations } from "@restante/postgres"
import { Effect, Exit, Layer, Redacted, Scope } from "effect"
import type { TestProject } from "vitest/node"

declare module "vitest" {
  interface ProvidedContext {
    readonly serverUrl: string
    readonly template: string
  }
}

const start = Effect.gen(function*() {
  const { url } = yield* PostgresServer.PostgresServer
  const template = yield* TestDatabase.template({
    server: url,
    name: "restante_test",
    key: PgMigrations.fingerprint(),
    prepare: (database) => Effect.provide(PgMigrations.migrate(), PgClient.layer({ url: database }))
  })
  return { url, template }
})

export default async (project: TestProject) => {
  const scope = Scope.makeUnsafe()
  const { template, url } = await Effect.runPromise(
    Layer.buildWithScope(PostgresServer.layer({ settings: { max_connections: "200" } }), scope).pipe(
      Effect.flatMap((services) => Effect.provide(start, services)),
      Effect.onError((cause) => Scope.close(scope, Exit.failCause(cause)))
    )
  )
  project.provide("serverUrl", Redacted.value(url))
  project.provide("template", template)
  return () => Effect.runPromise(Scope.close(scope, Exit.void))
}

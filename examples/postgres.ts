/**
 * `node examples/postgres.ts`: the program of `quickstart.ts` on PostgreSQL.
 *
 * The server is the one that `DATABASE_URL` names, otherwise one of this process's own. The schema stays on the former.
 */
import { NodeRuntime } from "@effect/platform-node"
import { PgClient } from "@effect/sql-pg"
import { PostgresServer } from "@restante/embedded-postgres"
import { PgMigrations, PgMsgStore } from "@restante/postgres"
import { Effect, Layer } from "effect"
import { program } from "./quickstart.ts"

const schema = "restante_example"

const store = Layer.unwrap(Effect.gen(function*() {
  const { url } = yield* PostgresServer.PostgresServer
  // Once per deployment, as the owner of the schema. Here it is the same role, and running it again changes nothing.
  yield* PgMigrations.migrate({ schema }).pipe(Effect.provide(PgClient.layer({ url })))
  return PgMsgStore.layer({ url, schema })
}))

NodeRuntime.runMain(Effect.provide(program, Layer.provide(store, PostgresServer.layer())))

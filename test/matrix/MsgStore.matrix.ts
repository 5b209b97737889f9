/**
 * What is asked of each version of PostgreSQL that is not asked by a test file of its own: the whole suite, with fewer random
 * histories than on the version that the other tests run on (case 86).
 */
import { PgClient } from "@effect/sql-pg"
import * as MsgStoreSuite from "@restante/conformance/MsgStoreSuite"
import { PgMsgStore } from "@restante/postgres"
import { Effect } from "effect"
import { assert, it } from "vitest"
import * as PostgresDatabase from "../PostgresDatabase.ts"

const url = await PostgresDatabase.open()

MsgStoreSuite.suite(
  "PostgreSQL",
  (limits) => PgMsgStore.layer({ url, ...limits }),
  {
    survivesReopen: true,
    empty: (limits) => PostgresDatabase.layerEmpty((url) => PgMsgStore.layer({ url, ...limits }))
  },
  // The same ones on every version. The other tests draw new ones each time.
  { histories: 40, seed: 86 }
)

PostgresDatabase.itIsSound(url)

it("the server is of the version that was asked for, and alike on all of them", () =>
  Effect.gen(function*() {
    const sql = yield* PgClient.PgClient
    const [row] = yield* sql`
      select current_setting('server_version_num')::int4 / 10000 as major,
             current_setting('server_encoding') as encoding,
             current_setting('TimeZone') as zone,
             array(select word from unnest(array['a', 'B', 'ä', 'Z']) as word order by word) as words`
    assert.deepStrictEqual(row, {
      major: Number(process.env["RESTANTE_MATRIX_VERSION"]),
      encoding: "UTF8",
      zone: "UTC",
      words: ["B", "Z", "a", "ä"]
    })
  }).pipe(Effect.provide(PostgresDatabase.ownerLayer(url)), Effect.runPromise))

/**
 * S12: what a stored message takes on disk, with everything that belongs to the tables: indexes, pages that are not full.
 */
import { PgClient } from "@effect/sql-pg"
import { Effect, Redacted, Stream } from "effect"
import { MsgStore } from "restante"
import * as Fleet from "../Fleet.ts"
import type { Sample } from "../Subject.ts"
import type { Measurement } from "./Measurement.ts"

/** Of all tables of a schema, for each of so many messages. */
export const bytesPerMessage = (
  url: string,
  schema: string,
  messages: number
): Effect.Effect<ReadonlyArray<Sample>, unknown> =>
  Effect.gen(function*() {
    const sql = yield* PgClient.PgClient
    yield* sql.unsafe("vacuum (analyze)").unprepared
    const [row] = yield* sql<{ readonly bytes: number }>`
      select sum(pg_total_relation_size(oid))::float8 as bytes
        from pg_class where relnamespace = ${schema}::regnamespace and relkind = 'r'`
    return [{ measure: "disk", unit: "bytes per message", value: (row?.bytes ?? 0) / messages }]
  }).pipe(Effect.provide(PgClient.layer({ url: Redacted.make(url), maxConnections: 1 })))

export const measure: Measurement = ({ addresses, parameters, special }) =>
  Effect.gen(function*() {
    const store = yield* MsgStore.MsgStore
    const messages = Number(special.params["messages"])
    const log = Fleet.log({ addresses, messages, bodyBytes: parameters.bodyBytes, first: 0 })
    yield* store.importLog(Stream.fromIterable(log))
    return yield* bytesPerMessage(parameters.url, "restante", messages)
  })

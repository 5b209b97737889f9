/**
 * Floor F1: COPY into, and out of, a bare table of the shape of our messages. In the binary format, whose rows are made
 * beforehand: the least work for client and server.
 */
import { PgClient } from "@effect/sql-pg"
import { PgCopy, PgTransport } from "@restante/pg-session"
import { Effect, ManagedRuntime, Redacted, Stream } from "effect"
import * as Fleet from "../Fleet.ts"
import { bytesPerMessage } from "../measurements/footprint.ts"
import { bodies } from "../Payload.ts"
import { withoutLoops } from "../Specials.ts"
import type { Parameters, Sample, Special, Subject } from "../Subject.ts"
import { versions } from "../Versions.ts"
import { createTable } from "./table.ts"

/** "PGCOPY\n\377\r\n\0", no flags, no extension. */
const header = Buffer.from("5047434f50590aff0d0a000000000000000000", "hex")

const pieceSize = 64 * 1_024

const rowOf = (queue: number, sequence: number, id: Uint8Array, body: Uint8Array): Buffer => {
  const row = Buffer.allocUnsafe(2 + 7 * 4 + 8 + 8 + 8 + 1 + 1 + id.length + body.length)
  let at = row.writeInt16BE(7, 0)
  const value = (bytes: Uint8Array) => {
    at = row.writeInt32BE(bytes.length, at)
    row.set(bytes, at)
    at += bytes.length
  }
  const bigint = (number: number) => {
    at = row.writeInt32BE(8, at)
    at = row.writeBigInt64BE(BigInt(number), at)
  }
  bigint(queue)
  bigint(sequence)
  bigint(1_700_000_000_000)
  value(Buffer.from("m"))
  value(Buffer.from([0]))
  value(id)
  value(body)
  return row
}

/** In the order of the primary key, as a log is. */
function* rows(messages: number, { bodyBytes, queues }: Parameters): Generator<Uint8Array> {
  const body = bodies(bodyBytes)
  let parts: Array<Uint8Array> = [header]
  let size = header.length
  const share = Math.ceil(messages / queues)
  for (let i = 0; i < messages; i++) {
    const row = rowOf(Math.floor(i / share), i % share, Buffer.from(Fleet.idOf(i), "base64url"), body(i))
    parts.push(row)
    size += row.length
    if (size >= pieceSize) {
      yield Buffer.concat(parts)
      parts = []
      size = 0
    }
  }
  yield Buffer.concat([...parts, Buffer.from([0xff, 0xff])])
}

const statement = (text: string) => Effect.flatMap(PgClient.PgClient, (sql) => sql.unsafe(text).unprepared)

const table = { table: "messages" }
const format = { format: "binary" } as const

export const subject: Subject = {
  id: "copy",
  role: "floor",
  works: [],
  versions,
  open: async (parameters) => {
    const runtime = ManagedRuntime.make(
      PgTransport.layer({ url: Redacted.make(parameters.url), maxConnections: parameters.pool })
    )
    await runtime.runPromise(Effect.andThen(
      statement(createTable),
      statement("alter table messages alter column body set storage external")
    ))
    const measure = (special: Special): Effect.Effect<ReadonlyArray<Sample>, unknown, PgClient.PgClient> =>
      Effect.gen(function*() {
        const messages = Number(special.params["messages"])
        const pieces = special.name !== "export" ? Array.from(rows(messages, parameters)) : []
        let bytes = 0
        const from = performance.now()
        if (special.name !== "export") yield* PgCopy.copyIn(table, Stream.fromIterable(pieces), format)
        else {
          yield* Stream.runForEach(PgCopy.copyOut(table, format), (piece) =>
            Effect.sync(() => {
              bytes += piece.length
            }))
        }
        const took = (performance.now() - from) / 1_000
        if (special.name === "export" && bytes < messages * parameters.bodyBytes) {
          return yield* Effect.die(new Error(`only ${bytes} bytes came out`))
        }
        if (special.name === "footprint") return yield* bytesPerMessage(parameters.url, "public", messages)
        return [{ measure: "rate", unit: "msg/s", value: messages / took }]
      })
    return {
      ...withoutLoops,
      clear: () => runtime.runPromise(Effect.asVoid(statement("truncate messages"))),
      measure: (special) => runtime.runPromise(measure(special)),
      close: () => runtime.dispose()
    }
  }
}

/**
 * Floors F2 to F4: the least that a store could possibly send to a bare table, through `@effect/sql-pg` as our stores do.
 *
 * - sendMany (F2): one `INSERT … SELECT` from arrays
 * - send (F3): one prepared `INSERT`
 * - take (F4): one `DELETE` of the oldest rows of a queue, with what it returns
 */
import { PgClient, PgTypes } from "@effect/sql-pg"
import { Effect, ManagedRuntime, Redacted, Result } from "effect"
import * as Fleet from "../Fleet.ts"
import { bodies } from "../Payload.ts"
import type { Run, Session, Subject, Work } from "../Subject.ts"
import { versions } from "../Versions.ts"
import * as Workers from "../Workers.ts"

/** The columns of our messages, with the primary key and without anything else. */
export const createTable = `create table messages (
  queue_key bigint not null, sequence bigint not null, ts bigint not null, kind "char" not null, notify boolean not null,
  message_id bytea not null, body bytea not null, primary key (queue_key, sequence))`

const insertMany = `insert into messages (queue_key, sequence, ts, kind, notify, message_id, body)
  select u.queue_key, u.sequence, u.ts, 'm', u.notify, u.message_id, u.body
    from unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::boolean[], $5::bytea[], $6::bytea[])
      as u(queue_key, sequence, ts, notify, message_id, body)`

const insertOne = `insert into messages (queue_key, sequence, ts, kind, notify, message_id, body)
  values ($1::bigint, $2::bigint, $3::bigint, 'm', $4::boolean, $5::bytea, $6::bytea)`

const deleteOldest = `delete from messages m using (
    select queue_key, sequence from messages
     where queue_key = $1::bigint order by sequence limit $2::integer for update skip locked
  ) o where m.queue_key = o.queue_key and m.sequence = o.sequence
  returning m.sequence, m.ts, m.notify, m.message_id, m.body`

const array = (values: ReadonlyArray<unknown>, oid: number): PgTypes.Parameter =>
  Result.getOrThrow(PgTypes.array(values, oid))

const idOf = (index: number): Uint8Array => Buffer.from(Fleet.idOf(index), "base64url")

interface Row {
  readonly sequence: bigint
}

export const subject: Subject = {
  id: "table",
  role: "floor",
  works: ["send", "sendMany", "take"],
  versions,
  open: async ({ bodyBytes, pool, queues, url }) => {
    const runtime = ManagedRuntime.make(
      PgClient.layer({ url: Redacted.make(url), maxConnections: pool, minConnections: pool })
    )
    const run = <A, E>(effect: (sql: PgClient.PgClient) => Effect.Effect<A, E>) =>
      runtime.runPromise(Effect.flatMap(PgClient.PgClient, effect))
    await run((sql) =>
      Effect.andThen(
        sql.unsafe(createTable).unprepared,
        sql.unsafe("alter table messages alter column body set storage external").unprepared
      )
    )
    const body = bodies(bodyBytes)
    /** Counts all messages: the number says in which queue and at which place a message is. */
    let next = 0
    let stored = 0

    const write = (sql: PgClient.PgClient, count: number) => {
      const all = Array.from({ length: count }, () => next++)
      const column = (oid: number, value: (index: number) => unknown) => array(all.map(value), oid)
      return sql.unsafe(insertMany, [
        column(PgTypes.OID.int8, (i) => BigInt(i % queues)),
        column(PgTypes.OID.int8, (i) => BigInt(Math.floor(i / queues))),
        column(PgTypes.OID.int8, () => BigInt(Date.now())),
        column(PgTypes.OID.bool, () => false),
        column(PgTypes.OID.bytea, idOf),
        column(PgTypes.OID.bytea, body)
      ])
    }

    const operations = (sql: PgClient.PgClient, { batch }: Run): Record<Work, Workers.Operation | undefined> => ({
      send: () => {
        const index = next++
        return Effect.map(
          sql.unsafe(insertOne, [
            PgTypes.int8(BigInt(index % queues)),
            PgTypes.int8(BigInt(Math.floor(index / queues))),
            PgTypes.int8(BigInt(Date.now())),
            false,
            idOf(index),
            body(index)
          ]),
          () => {
            stored++
            return 1
          }
        )
      },
      sendMany: () =>
        Effect.map(write(sql, batch), () => {
          stored += batch
          return batch
        }),
      take: (own) => {
        const takeFrom = (queue: number | undefined): Effect.Effect<number, unknown> =>
          queue === undefined ? Effect.succeed(0) : Effect.flatMap(
            sql.unsafe<Row>(deleteOldest, [PgTypes.int8(BigInt(queue)), batch]),
            (rows) => {
              if (rows.length === 0) {
                own.leave()
                return takeFrom(own.queue())
              }
              stored -= rows.length
              own.move()
              return Effect.succeed(rows.length)
            }
          )
        return takeFrom(own.queue())
      },
      cycle: undefined,
      peek: undefined
    })

    const session: Session = {
      run: (work, run_) =>
        run((sql) => {
          const operation = operations(sql, run_)[work]
          return operation === undefined ? Effect.die(new Error("not offered")) : Workers.run(run_, queues, operation)
        }),
      prepare: (messages) =>
        run((sql) =>
          Effect.gen(function*() {
            for (let left = messages; left > 0; left -= 1_000) {
              const count = Math.min(left, 1_000)
              yield* write(sql, count)
              stored += count
            }
          })
        ),
      clear: () =>
        run((sql) =>
          Effect.map(sql.unsafe("truncate messages").unprepared, () => {
            stored = 0
          })
        ),
      check: () =>
        run((sql) =>
          Effect.map(
            sql.unsafe<{ readonly count: number }>("select count(*)::float8 as count from messages"),
            ([row]) => row?.count === stored ? undefined : `${row?.count} rows are there, and should be ${stored}`
          )
        ),
      close: () => runtime.dispose()
    }
    return session
  }
}

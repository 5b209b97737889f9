/**
 * Floors F1 to F4 through `pg`, the driver of most packages, so that the share of the driver is visible: the statements are those
 * of `src/subjects/table.ts`, and COPY is `pg-copy-streams` with the format of `src/subjects/copy.ts`.
 */
import { Readable, Writable } from "node:stream"
import { pipeline } from "node:stream/promises"
import { Pool } from "pg"
import { from as copyFrom, to as copyTo } from "pg-copy-streams"
import * as Fleet from "../src/Fleet.ts"
import { bodies } from "../src/Payload.ts"
import type { Parameters, Run, Sample, Session, Special, Subject, Work } from "../src/Subject.ts"
import { createTable } from "../src/subjects/table.ts"
import { Own } from "../src/Workers.ts"
import { versions } from "./Installed.ts"
import * as Workers from "./Workers.ts"

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

const idOf = (index: number): Buffer => Buffer.from(Fleet.idOf(index), "base64url")

/** "PGCOPY\n\377\r\n\0", no flags, no extension. */
const header = Buffer.from("5047434f50590aff0d0a000000000000000000", "hex")

const field = (bytes: Uint8Array): Buffer => {
  const length = Buffer.alloc(4)
  length.writeInt32BE(bytes.length)
  return Buffer.concat([length, bytes])
}

const bigint = (value: number): Buffer => {
  const bytes = Buffer.alloc(8)
  bytes.writeBigInt64BE(BigInt(value))
  return field(bytes)
}

/** All rows, in pieces of some 64 KiB, in the order of the primary key, as a log is. */
const rowsOf = (messages: number, queues: number, body: (index: number) => Uint8Array): ReadonlyArray<Buffer> => {
  const share = Math.ceil(messages / queues)
  const pieces: Array<Buffer> = []
  let parts: Array<Buffer> = [header]
  const constant = Buffer.concat([bigint(1_700_000_000_000), field(Buffer.from("m")), field(Buffer.alloc(1))])
  for (let i = 0; i < messages; i++) {
    parts.push(
      Buffer.from([0, 7]),
      bigint(Math.floor(i / share)),
      bigint(i % share),
      constant,
      field(idOf(i)),
      field(body(i))
    )
    if (parts.length >= 6 * 56) {
      pieces.push(Buffer.concat(parts))
      parts = []
    }
  }
  pieces.push(Buffer.concat([...parts, Buffer.from([0xff, 0xff])]))
  return pieces
}

const open = async ({ bodyBytes, pool, queues, url }: Parameters): Promise<Session> => {
  const connections = new Pool({ connectionString: url, max: pool, min: pool })
  let failure: string | undefined
  connections.on("error", ({ message }) => {
    failure ??= message
  })
  await connections.query(createTable)
  await connections.query("alter table messages alter column body set storage external")
  const body = bodies(bodyBytes)
  /** Counts all messages: the number says in which queue and at which place a message is. */
  let next = 0
  let stored = 0

  const send = async (): Promise<number> => {
    const index = next++
    await connections.query({
      name: "insert",
      text: insertOne,
      values: [index % queues, Math.floor(index / queues), Date.now(), false, idOf(index), body(index)]
    })
    stored += 1
    return 1
  }
  const sendMany = async (count: number): Promise<number> => {
    const all = Array.from({ length: count }, () => next++)
    await connections.query({
      name: "insertMany",
      text: insertMany,
      values: [
        all.map((i) => i % queues),
        all.map((i) => Math.floor(i / queues)),
        all.map(() => Date.now()),
        all.map(() => false),
        all.map(idOf),
        all.map(body)
      ]
    })
    stored += count
    return count
  }
  const take = async (own: Own, batch: number): Promise<number> => {
    for (let queue = own.queue(); queue !== undefined; queue = own.queue()) {
      const { rows: { length } } = await connections.query({
        name: "deleteOldest",
        text: deleteOldest,
        values: [queue, batch]
      })
      if (length > 0) {
        stored -= length
        own.move()
        return length
      }
      own.leave()
    }
    return 0
  }

  const works: Record<Work, ((run: Run) => Promise<void>) | undefined> = {
    send: (run) => Workers.repeat(run, send),
    sendMany: (run) => Workers.repeat(run, () => sendMany(run.batch)),
    cycle: undefined,
    take: (run) => {
      const owns = Array.from({ length: run.concurrency }, (_, worker) => new Own(queues, worker, run.concurrency))
      return Workers.repeat(run, async (worker) => {
        const own = owns[worker]
        return own === undefined ? 0 : await take(own, run.batch)
      })
    },
    peek: undefined
  }

  const measure = async ({ name, params }: Special): Promise<ReadonlyArray<Sample>> => {
    if (name !== "import" && name !== "export") throw new Error("not offered")
    const messages = Number(params["messages"])
    const pieces = name === "import" ? rowsOf(messages, queues, body) : []
    let bytes = 0
    const sink = new Writable({
      write: (piece: Buffer, _, done) => {
        bytes += piece.length
        done()
      }
    })
    const client = await connections.connect()
    const from = performance.now()
    if (name === "import") {
      await pipeline(Readable.from(pieces), client.query(copyFrom("copy messages from stdin (format binary)")))
    } else await pipeline(client.query(copyTo("copy messages to stdout (format binary)")), sink)
    const took = (performance.now() - from) / 1_000
    client.release()
    if (name === "import") stored += messages
    else if (bytes < messages * bodyBytes) throw new Error(`only ${bytes} bytes came out`)
    return [{ measure: "rate", unit: "msg/s", value: messages / took }]
  }

  return {
    run: async (work, run) => await works[work]?.(run),
    prepare: async (messages) => {
      for (let left = messages; left > 0; left -= 1000) await sendMany(Math.min(1000, left))
    },
    clear: async () => {
      await connections.query("truncate messages")
      stored = 0
    },
    check: async () => {
      const { rows: [row] } = await connections.query<{ count: number }>("select count(*)::int as count from messages")
      return row?.count === stored ? failure : `${row?.count} rows are there, and should be ${stored}`
    },
    close: () => connections.end(),
    measure
  }
}

export const subject: Subject = {
  id: "pg",
  role: "floor",
  works: ["send", "sendMany", "take"],
  versions: versions("pg", "pg-copy-streams"),
  open
}

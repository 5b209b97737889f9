/**
 * Effect's PersistedQueue with its SQL store. `take` runs a handler and completes the message, and waits for a message if there
 * is none. Completed messages stay in the table until a layer of its own removes them.
 *
 * - `default`: 32 takers.
 * - `fastest`: 256, since one poll fetches for all that wait: some 1.4 times as fast as 32.
 *
 * Both poll every 50 ms; a message offered in the same process is seen at once.
 */
import * as PgClient from "@effect/sql-pg/PgClient"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as ManagedRuntime from "effect/ManagedRuntime"
import * as PersistedQueue from "effect/persistence/PersistedQueue"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import type { Parameters, Run, Session, Subject, Work } from "../src/Subject.ts"
import { versions } from "../src/Versions.ts"
import * as Ledger from "./Ledger.ts"

const Message = Schema.Struct({ number: Schema.Int, body: Schema.String })

/** Like `Workers.repeat`, with fibers. */
const repeat = <E>(run: Run, operation: Effect.Effect<number, E>): Effect.Effect<void, E> => {
  const work = Effect.gen(function*() {
    while (!run.isOver()) {
      const { due } = run
      const began = due === undefined ? performance.now() : yield* Effect.promise(due)
      if (began === undefined) return
      const messages = yield* operation
      if (messages === 0) return
      run.done(messages, began)
    }
  })
  return Effect.forEach(Array.from({ length: run.concurrency }), () => work, {
    concurrency: "unbounded",
    discard: true
  })
}

const open = async ({ bodyBytes, options, pool, url }: Parameters): Promise<Session> => {
  const ledger = Ledger.make(bodyBytes)
  const takers = options["mode"] === "fastest" ? 256 : 32
  const Client = PgClient.layer({ url: Redacted.make(url), maxConnections: pool })
  const Queues = PersistedQueue.layer.pipe(
    Layer.provide(PersistedQueue.layerStoreSql({ pollInterval: "50 millis" })),
    Layer.provideMerge(Client)
  )
  const runtime = ManagedRuntime.make(Queues)
  const { queue, sql } = await runtime.runPromise(Effect.gen(function*() {
    const sql = yield* PgClient.PgClient
    return { queue: yield* PersistedQueue.make({ name: "messages", schema: Message }), sql }
  }))

  const send = Effect.suspend(() => Effect.as(queue.offer(ledger.next()), 1))
  const take = Effect.as(queue.take((message) => Effect.sync(() => ledger.take(message))), 1)

  /** Nobody waits for more messages than there are: a fiber that did would never end. */
  const takeAll = (run: Run) => {
    let unclaimed = ledger.left()
    const takeOne = Effect.suspend(() => {
      if (unclaimed === 0) return Effect.succeed(0)
      unclaimed -= 1
      return take
    })
    return repeat({ ...run, concurrency: takers }, takeOne)
  }

  const works: Record<Work, ((run: Run) => Effect.Effect<void, unknown>) | undefined> = {
    send: (run) => repeat(run, send),
    sendMany: undefined,
    cycle: (run) => repeat(run, Effect.andThen(send, take)),
    take: takeAll,
    peek: undefined
  }
  return {
    run: async (work, run) => await runtime.runPromise(works[work]?.(run) ?? Effect.void),
    // It has no way to send many at once, and this is not measured.
    prepare: (messages) =>
      runtime.runPromise(Effect.gen(function*() {
        for (let left = messages; left > 0; left -= 1000) {
          const elements = ledger.many(Math.min(1000, left)).map((message) => JSON.stringify(message))
          yield* sql`
            insert into effect_queue (id, queue_name, element, state, attempts, visible_at, created_at, updated_at)
            select gen_random_uuid(), 'messages', element, 'pending', 0, now(), now(), now()
            from unnest(${elements}::text[]) as element`
        }
      })),
    clear: () => runtime.runPromise(Effect.andThen(sql`truncate effect_queue`, Effect.sync(() => ledger.clear()))),
    check: () =>
      runtime.runPromise(Effect.gen(function*() {
        const [row] = yield* sql<{ left: number; other: number }>`
          select count(*) filter (where state = 'pending' and acquired_by is null)::int as left,
            count(*) filter (where state = 'failed' or acquired_by is not null)::int as other
          from effect_queue`
        if (row === undefined || row.other > 0) return `${row?.other} messages have failed or are still being taken`
        return ledger.problem(row.left)
      })),
    close: () => runtime.dispose()
  }
}

export const subject: Subject = {
  id: "persisted-queue",
  role: "peer",
  works: ["send", "cycle", "take"],
  versions: Object.fromEntries(
    Object.entries(versions).filter(([name]) => name === "effect" || name === "@effect/sql-pg")
  ),
  open
}

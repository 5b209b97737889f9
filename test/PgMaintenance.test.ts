/**
 * What only PostgreSQL can show of the operations over all queues: queues that others hold, that fail, or whose record is
 * wrong; batches as others see them; plans. What every store must do is in MsgStore.test.ts.
 *
 * The operations concern everything that is stored, so each test has a database of its own.
 */
import { PgClient } from "@effect/sql-pg"
import { assert, describe, it } from "@effect/vitest"
import { PgMsgStore } from "@restante/postgres"
import type { Scope } from "effect"
import { Context, Effect, Fiber, Layer } from "effect"
import type { Maintenance } from "restante"
import { Message, MessageId, MsgStore, MsgStoreError, RecipientId } from "restante"
import { hold, until, untilOneIsLocked } from "./fixtures/postgres/activity.ts"
import { buffersOf } from "./fixtures/postgres/buffers.ts"
import * as PostgresDatabase from "./PostgresDatabase.ts"

type StoreService = MsgStore.MsgStore["Service"]

interface Bench {
  readonly owner: PgClient.PgClient
  readonly store: StoreService
  /** A layer of its own over the same database, as another process has it. */
  readonly another: Effect.Effect<StoreService, never, Scope.Scope>
}

/** Runs a test with a database of its own, a store over it and a client of its owner. */
const withStore = <A, E>(use: (bench: Bench) => Effect.Effect<A, E, Scope.Scope>) =>
  Effect.scoped(Effect.gen(function*() {
    const { url } = yield* PostgresDatabase.clone
    const another = Effect.orDie(Effect.map(
      Layer.build(Layer.fresh(PgMsgStore.layer({ url }))),
      (context) => Context.get(context, MsgStore.MsgStore)
    ))
    const owner = Context.get(yield* Layer.build(PostgresDatabase.ownerLayer(url)), PgClient.PgClient)
    return yield* Effect.scoped(use({ owner, store: yield* another, another }))
  }))

const message = (name: string, timestamp: number): Message.NewMessage => ({
  ...Message.fromText(name),
  id: MessageId.named(name),
  timestamp
})

/** A queue with messages of these timestamps, `m1` first. */
const aged = Effect.fnUntraced(function*(store: StoreService, timestamps: ReadonlyArray<number>, quota = 128) {
  const { recipientId } = yield* store.createQueue({ quota })
  yield* store.writeMany(timestamps.map((timestamp, i) => ({
    target: { recipientId },
    message: message(`m${i + 1}`, timestamp)
  })))
  return recipientId
})

const bytesOf = (id: RecipientId): Uint8Array => RecipientId.toBytes(id)

const row = (owner: PgClient.PgClient, id: RecipientId) =>
  owner`select from restante.queues where recipient_id = ${bytesOf(id)} for update`

/** Makes a record of a queue wrong. */
const spoil = (owner: PgClient.PgClient, id: RecipientId, change: string) =>
  owner`update restante.queues set ${owner.literal(change)} where recipient_id = ${bytesOf(id)}`

const stateOf = Effect.fnUntraced(function*(store: StoreService, id: RecipientId) {
  const { firstSequence, latched, nextSequence, size } = yield* store.getQueue({ recipientId: id })
  return { firstSequence, latched, nextSequence, size }
})

const counted = (visited: number, expired: number, others: Partial<Maintenance.ExpiryCounts> = {}) => ({
  visited,
  expired,
  skipped: 0,
  failed: 0,
  ...others
})

const sound = (checked: number): Maintenance.RecountReport => ({ checked, drifted: [], repaired: 0, violations: [] })

describe("expireAll", () => {
  it.live("a queue whose expiry fails is counted, left as it was, and does not stop the others (case 52)", () =>
    withStore(({ owner, store }) =>
      Effect.gen(function*() {
        const queues = yield* Effect.forEach(Array.from({ length: 5 }), () => aged(store, [10, 20, 200]))
        const [broken] = queues.toSorted()
        assert.isDefined(broken)
        yield* owner`
          create function public.refuse() returns trigger language plpgsql as
            'begin raise exception ''refused''; end'`
        const [key] = yield* owner<{ readonly key: string }>`
          select key::text from restante.queues where recipient_id = ${bytesOf(broken)}`
        yield* owner`
          create trigger refuse before delete on restante.messages for each row
            when (${owner.literal(`old.queue_key = ${key?.key}`)}) execute function public.refuse()`
        assert.deepStrictEqual(yield* store.expireAll({ before: 100 }), counted(4, 8, { failed: 1 }))
        assert.deepStrictEqual(yield* stateOf(store, broken), {
          firstSequence: 1n,
          latched: false,
          nextSequence: 4n,
          size: 3
        })
        yield* owner`drop trigger refuse on restante.messages`
        assert.deepStrictEqual(yield* store.expireAll({ before: 100 }), counted(1, 2))
        assert.deepStrictEqual(yield* PostgresDatabase.unsound(owner), [])
      })
    ))

  it.live("a server that takes no changes is Unavailable, and no failure of its queues (rule 7.4)", () =>
    Effect.scoped(Effect.gen(function*() {
      const { url } = yield* PostgresDatabase.clone
      const owner = Context.get(yield* Layer.build(PostgresDatabase.ownerLayer(url)), PgClient.PgClient)
      const build = Effect.map(
        Layer.build(Layer.fresh(PgMsgStore.layer({ url }))),
        (context) => Context.get(context, MsgStore.MsgStore)
      )
      yield* aged(yield* build, [10])
      yield* owner`do $$ begin
        execute format('alter database %I set default_transaction_read_only = on', current_database());
      end $$`
      const store = yield* build
      const error = yield* Effect.flip(store.expireAll({ before: 100 }))
      assert.strictEqual(error._tag === "MsgStoreError" ? error.reason._tag : error._tag, "Unavailable")
    })))

  it.live("a queue that is locked is skipped if it has something to expire, and is not waited for (rule 4.11)", () =>
    withStore(({ owner, store }) =>
      Effect.gen(function*() {
        const old = yield* aged(store, [10])
        const fresh = yield* aged(store, [200, 10])
        yield* aged(store, [10, 20])
        const { release } = yield* hold(owner, Effect.andThen(row(owner, old), row(owner, fresh)))
        assert.deepStrictEqual(yield* store.expireAll({ before: 100 }), counted(1, 2, { skipped: 1 }))
        yield* release
        assert.strictEqual(yield* store.size(old), 1)
        assert.deepStrictEqual(yield* store.expireAll({ before: 100 }), counted(1, 1))
      })
    ))

  it.live("a queue that is read, or deleted, between being found and being locked is not counted (rule 4.11)", () =>
    withStore(({ owner, store }) =>
      Effect.gen(function*() {
        // The function finds 50 queues at a time and handles them afterwards: the first one changes the other two.
        const queues = (yield* Effect.forEach(Array.from({ length: 3 }), () => aged(store, [10])))
          .toSorted((a, b) => Buffer.compare(bytesOf(a), bytesOf(b)))
        yield* owner`
          create function public.meddle() returns trigger language plpgsql security definer as $$
          begin
            if pg_trigger_depth() = 1 then
              perform restante.delete_queue(q.recipient_id, 0) from (
                select recipient_id from restante.queues order by recipient_id offset 2 limit 1) q;
              perform restante.acknowledge_through_sequence(q.recipient_id, 1) from (
                select recipient_id from restante.queues order by recipient_id offset 1 limit 1) q;
            end if;
            return null;
          end $$`
        yield* owner`
          create trigger meddle after delete on restante.messages execute function public.meddle()`
        assert.deepStrictEqual(yield* store.expireAll({ before: 100 }), counted(1, 1))
        const [first, second, third] = queues
        assert.isDefined(first)
        assert.isDefined(second)
        assert.isDefined(third)
        assert.deepStrictEqual([yield* store.size(first), yield* store.size(second)], [0, 0])
        assert.strictEqual((yield* Effect.flip(store.size(third)))._tag, "QueueNotFound")
      })
    ))

  for (
    const [what, change] of [
      ["a size of 0", "size = 0"],
      ["a head cursor behind all entries", "head_sequence = next_sequence"],
      ["a next sequence that is taken", "next_sequence = 1"],
      ["an open latch", "latched = false"]
    ] as const
  ) {
    it.live(`drift does not hide a queue: ${what} (rule 10.7, I7)`, () =>
      withStore(({ owner, store }) =>
        Effect.gen(function*() {
          const sound = yield* aged(store, [10, 20, 30], 2)
          const drifted = yield* aged(store, [10, 20, 30], 2)
          yield* spoil(owner, drifted, change)
          assert.deepStrictEqual(yield* store.expireAll({ before: 100 }), counted(2, 4))
          assert.deepStrictEqual(yield* stateOf(store, drifted), yield* stateOf(store, sound))
          assert.deepStrictEqual(yield* PostgresDatabase.unsound(owner), [])
        })
      ))
  }

  it.live("each batch is committed before it is reported (rule 4.11)", () =>
    withStore(({ owner, store }) =>
      Effect.gen(function*() {
        yield* Effect.forEach(Array.from({ length: 5 }), () => aged(store, [10]))
        const left = Effect.map(
          owner<{ readonly n: number }>`select count(*)::int as n from restante.messages`,
          (rows) => rows[0]?.n
        )
        const seen: Array<number | undefined> = []
        yield* store.expireAll({
          before: 100,
          batchSize: 2,
          onProgress: () => Effect.map(Effect.orDie(left), (n) => seen.push(n))
        })
        assert.deepStrictEqual(seen, [3, 1, 0])
      })
    ))

  it.live("a batch ends early where queues are long, so that it stays within the limit of a statement", () =>
    withStore(({ store }) =>
      Effect.gen(function*() {
        yield* Effect.forEach(Array.from({ length: 3 }), () =>
          Effect.gen(function*() {
            const { recipientId } = yield* store.createQueue({ quota: 10_000 })
            for (let batch = 0; batch < 6; batch++) {
              yield* store.writeMany(Array.from({ length: 1_000 }, () => ({
                target: { recipientId },
                message: { timestamp: 10, body: new Uint8Array(0) }
              })))
            }
          }))
        const reports: Array<Maintenance.ExpiryCounts> = []
        yield* store.expireAll({
          before: 100,
          onProgress: (counts) => Effect.sync(() => reports.push(counts))
        })
        assert.deepStrictEqual(reports, [counted(2, 12_000), counted(3, 18_000)])
      })
    ))
})

describe("compactDeleted", () => {
  it.live("removes the rows of tombstones, whose entries went when they were deleted (cases 54 and 58)", () =>
    withStore(({ owner, store }) =>
      Effect.gen(function*() {
        const kept = yield* aged(store, [10])
        const deleted = yield* aged(store, [10, 20])
        const rows = Effect.map(
          owner<{ readonly queues: number; readonly messages: number }>`
            select (select count(*)::int from restante.queues) as queues,
                   (select count(*)::int from restante.messages) as messages`,
          ([row]) => [row?.queues, row?.messages]
        )
        yield* store.deleteQueue(deleted)
        assert.deepStrictEqual(yield* rows, [2, 1])
        assert.strictEqual(yield* store.compactDeleted({ before: Number.MAX_SAFE_INTEGER }), 1)
        assert.deepStrictEqual(yield* rows, [1, 1])
        assert.strictEqual(yield* store.size(kept), 1)
      })
    ))

  it.live("a tombstone in somebody else's hands is left to the next run (rule 10.4)", () =>
    withStore(({ owner, store }) =>
      Effect.gen(function*() {
        const queues = yield* Effect.forEach(Array.from({ length: 5 }), () => aged(store, []))
        yield* Effect.forEach(queues, (queue) => store.deleteQueue(queue))
        const [held] = queues
        assert.isDefined(held)
        const { release } = yield* hold(owner, row(owner, held))
        const before = Number.MAX_SAFE_INTEGER
        assert.strictEqual(yield* store.compactDeleted({ before, batchSize: 2 }), 4)
        yield* release
        assert.strictEqual(yield* store.compactDeleted({ before, batchSize: 2 }), 1)
      })
    ))
})

const drifts: ReadonlyArray<Omit<Maintenance.Drift, "recipientId"> & { readonly change: string }> = [
  { field: "size", change: "size = 5", stored: 5n, actual: 3n },
  { field: "latched", change: "latched = false", stored: false, actual: true },
  { field: "headSequence", change: "head_sequence = 3", stored: 3n, actual: 2n },
  { field: "nextSequence", change: "next_sequence = 3", stored: 3n, actual: 5n }
]

/** A queue that was read and has overflowed: sequences 2 to 4, the last one the marker. */
const busy = Effect.fnUntraced(function*(store: StoreService) {
  const recipientId = yield* aged(store, [10, 20, 30, 40], 3)
  yield* store.acknowledge(recipientId, MessageId.named("m1"))
  return recipientId
})

/** The constraints keep damage out, so they have to go first. */
const damage = (owner: PgClient.PgClient, id: RecipientId, sequence: number, change: string) =>
  owner.withTransaction(Effect.gen(function*() {
    yield* owner`alter domain restante.entry_kind drop constraint if exists entry_kind_check`
    yield* owner`alter domain restante.milliseconds drop constraint if exists milliseconds_check`
    yield* owner`alter domain restante.body drop constraint if exists body_check`
    yield* owner`alter domain restante.id drop constraint if exists id_check`
    yield* owner`update restante.messages set ${owner.literal(change)}
                  where sequence = ${sequence}
                    and queue_key = (select key from restante.queues where recipient_id = ${bytesOf(id)})`
  }))

describe("recount", () => {
  for (const { change, ...drift } of drifts) {
    it.live(`a wrong ${drift.field} is reported, and repaired unless that is declined (case 80)`, () =>
      withStore(({ owner, store }) =>
        Effect.gen(function*() {
          const sound = yield* busy(store)
          yield* aged(store, [10])
          const recipientId = yield* busy(store)
          yield* spoil(owner, recipientId, change)
          const report = { checked: 3, drifted: [{ recipientId, ...drift }], repaired: 0, violations: [] }
          assert.deepStrictEqual(yield* store.recount({ repair: false }), report)
          assert.deepStrictEqual(yield* store.recount({ repair: false, batchSize: 1 }), report)
          assert.deepStrictEqual(yield* store.recount(), { ...report, repaired: 1 })
          assert.deepStrictEqual(yield* store.recount(), { ...report, drifted: [] })
          assert.deepStrictEqual(yield* stateOf(store, recipientId), yield* stateOf(store, sound))
          assert.deepStrictEqual(yield* PostgresDatabase.unsound(owner), [])
        })
      ))
  }

  it.live("several drifts of an empty queue and of a full one are reported each (case 80)", () =>
    withStore(({ owner, store }) =>
      Effect.gen(function*() {
        const empty = yield* aged(store, [])
        const full = yield* busy(store)
        yield* spoil(owner, empty, "size = 7, latched = true, head_sequence = 9")
        yield* spoil(owner, full, "size = 0, latched = false, head_sequence = 8, next_sequence = 2")
        const { drifted, repaired } = yield* store.recount()
        const facts = drifted.map(({ actual, field, recipientId, stored }) =>
          `${recipientId === empty ? "empty" : "full"} ${field} ${stored} ${actual}`
        )
        assert.deepStrictEqual(facts.toSorted(), [
          "empty headSequence 9 1",
          "empty latched true false",
          "empty size 7 0",
          "full headSequence 8 2",
          "full latched false true",
          "full nextSequence 2 5",
          "full size 0 3"
        ])
        assert.strictEqual(repaired, 2)
        assert.deepStrictEqual(yield* PostgresDatabase.unsound(owner), [])
        assert.deepStrictEqual(yield* store.write({ recipientId: empty }, message("m1", 10)), {
          _tag: "Accepted",
          wasEmpty: true,
          sequence: 1n
        })
      })
    ))

  it.live("drift that is mended while it is being looked at is not reported (rule 4.14)", () =>
    withStore(({ owner, store }) =>
      Effect.gen(function*() {
        const recipientId = yield* busy(store)
        yield* spoil(owner, recipientId, "size = 5")
        const { release } = yield* hold(owner, spoil(owner, recipientId, "size = 3"))
        const recount = yield* Effect.forkChild(store.recount())
        yield* untilOneIsLocked(owner)
        yield* release
        assert.deepStrictEqual(yield* Fiber.join(recount), sound(1))
      })
    ))

  it.live("a suspect that is deleted while it is waited for is no finding (rule 4.14)", () =>
    withStore(({ owner, store }) =>
      Effect.gen(function*() {
        const recipientId = yield* busy(store)
        yield* spoil(owner, recipientId, "size = 5")
        const { release } = yield* hold(owner, owner`select restante.delete_queue(${bytesOf(recipientId)}, 0)`)
        const recount = yield* Effect.forkChild(store.recount())
        yield* untilOneIsLocked(owner)
        yield* release
        assert.deepStrictEqual(yield* Fiber.join(recount), sound(1))
      })
    ))

  it.live("sound queues are neither locked nor waited for (rule 4.14)", () =>
    withStore(({ owner, store }) =>
      Effect.gen(function*() {
        const recipientId = yield* busy(store)
        const { release } = yield* hold(owner, row(owner, recipientId))
        assert.deepStrictEqual(yield* store.recount(), sound(1))
        yield* release
      })
    ))

  const violations: ReadonlyArray<
    readonly [Maintenance.Violation["problem"], ReadonlyArray<readonly [sequence: number, change: string]>]
  > = [
    // A marker in front, and another entry as the last one.
    ["MarkerNotLast", [[2, "kind = 'q', body = ''"], [4, "kind = 'm'"]]],
    ["SeveralMarkers", [[2, "kind = 'q', body = ''"]]]
  ]
  for (const [problem, changes] of violations) {
    it.live(`${problem} is listed and left alone, and the record is made to agree with what is there (rule 4.14)`, () =>
      withStore(({ owner, store }) =>
        Effect.gen(function*() {
          const recipientId = yield* busy(store)
          for (const [sequence, change] of changes) yield* damage(owner, recipientId, sequence, change)
          const entries = owner`select * from restante.messages order by sequence`
          const before = yield* entries
          const report = yield* store.recount()
          assert.deepStrictEqual(report.violations, [{ recipientId, problem }])
          assert.deepStrictEqual(
            report.drifted.map((drift) => drift.field),
            problem === "MarkerNotLast" ? ["latched"] : []
          )
          assert.deepStrictEqual(yield* store.recount(), {
            checked: 1,
            drifted: [],
            repaired: 0,
            violations: [{ recipientId, problem }]
          })
          assert.deepStrictEqual(yield* entries, before)
        })
      ))
  }

  for (
    const change of [
      "kind = 'x'",
      "kind = 'q', body = 'left'",
      "kind = 'q', body = '', notify = true",
      "ts = -1",
      "ts = 9007199254740992",
      "message_id = ''",
      "message_id = convert_to(repeat('x', 65), 'UTF8')",
      "body = convert_to(repeat('x', 8388609), 'UTF8')"
    ]
  ) {
    it.live(`an entry that no read hands out is a MalformedEntry: ${change} (rules 4.14 and 7.5)`, () =>
      withStore(({ owner, store }) =>
        Effect.gen(function*() {
          const recipientId = yield* aged(store, [10])
          yield* damage(owner, recipientId, 1, change)
          const { checked, violations } = yield* store.recount({ repair: false })
          assert.deepStrictEqual([checked, violations], [1, [{ recipientId, problem: "MalformedEntry" }]])
          const error = yield* Effect.flip(store.peek(recipientId))
          assert.isTrue(error instanceof MsgStoreError.MsgStoreError && error.reason._tag === "Corrupt")
        })
      ))
  }
})

describe("stats", () => {
  it.live("comes from the records, not from the entries (rule 4.13)", () =>
    withStore(({ owner, store }) =>
      Effect.gen(function*() {
        yield* busy(store)
        yield* aged(store, [10])
        yield* owner`truncate restante.messages`
        assert.deepStrictEqual(yield* store.stats, {
          queues: 2,
          suspended: 0,
          latched: 1,
          messages: 3,
          markers: 1,
          tombstones: 0
        })
      })
    ))
})

/** How many sessions stores have. */
const sessions = (owner: PgClient.PgClient) =>
  Effect.map(
    owner<{ readonly n: number }>`
      select count(*)::int as n from pg_stat_activity
       where datname = current_database() and application_name = 'restante'`,
    ([row]) => row?.n ?? 0
  )

describe("several processes", () => {
  it.live("expiry, compaction and recounts beside batches, deletions and creations never deadlock or fail (rule 6.4)", () =>
    withStore(({ another, owner, store }) =>
      Effect.gen(function*() {
        const queues = yield* Effect.forEach(Array.from({ length: 30 }), () => aged(store, [10], 1_000))
        const rounds = Array.from({ length: 12 }, (_, i) => i)
        const before = Number.MAX_SAFE_INTEGER

        const work = (store: StoreService, process: number) => {
          const writing = Effect.forEach(rounds, (round) => {
            // Each process names the queues in another order.
            const from = (round * 7 + process * 11) % queues.length
            const turned = [...queues.slice(from), ...queues.slice(0, from)]
            return store.writeMany((process === 1 ? turned.toReversed() : turned).map((recipientId) => ({
              target: { recipientId },
              message: message(`${process}-${round}`, round % 3 === 0 ? 200 : 10)
            })))
          })
          const deleting = Effect.forEach(rounds, () =>
            Effect.gen(function*() {
              const { recipientId } = yield* store.createQueue()
              yield* store.deleteQueue(recipientId)
              return yield* store.compactDeleted({ before, batchSize: 2 })
            }))
          return Effect.all({
            writing,
            deleting,
            expiries: Effect.forEach(rounds, () => store.expireAll({ before: 100, batchSize: 7 })),
            recounts: Effect.forEach(rounds.slice(0, 4), () => store.recount({ batchSize: 7 }))
          }, { concurrency: "unbounded" })
        }

        const own = yield* sessions(owner)
        const results = yield* Effect.scoped(Effect.gen(function*() {
          const stores = [yield* another, yield* another, yield* another]
          return yield* Effect.all(stores.map(work), { concurrency: "unbounded" })
        }))
        for (const { expiries, recounts } of results) {
          for (const counts of expiries) assert.strictEqual(counts.failed, 0)
          for (const { drifted, violations } of recounts) assert.deepStrictEqual([drifted, violations], [[], []])
        }
        const compacted = yield* store.compactDeleted({ before })
        const total = results.flatMap(({ deleting }) => deleting).reduce((sum, count) => sum + count, compacted)
        assert.strictEqual(total, results.length * rounds.length)
        const { failed, skipped } = yield* store.expireAll({ before: 100 })
        assert.deepStrictEqual([failed, skipped], [0, 0])
        const heads = yield* Effect.forEach(queues, (queue) => store.peekBatch(queue, { limit: 1 }))
        for (const [head] of heads) assert.isAtLeast(head?.timestamp ?? 100, 100)
        assert.deepStrictEqual(yield* PostgresDatabase.unsound(owner), [])

        // A deadlock would have been repeated unseen. Sessions have reported theirs when they are gone.
        yield* until(Effect.map(sessions(owner), (n) => n <= own))
        const [statistics] = yield* owner<{ readonly deadlocks: number }>`
          select deadlocks::int from pg_stat_database where datname = current_database()`
        assert.strictEqual(statistics?.deadlocks, 0)
      })
    ))
})

describe("plans", () => {
  it.live("a page looks at as few buffers among 100,000 queues, in a session that planned while there were none", () =>
    Effect.scoped(Effect.gen(function*() {
      const { url } = yield* PostgresDatabase.clone
      const context = yield* Layer.build(
        Layer.provideMerge(PgMsgStore.layerClient(), PgClient.layer({ url, maxConnections: 1 }))
      )
      const sql = Context.get(context, PgClient.PgClient)
      const store = Context.get(context, MsgStore.MsgStore)
      const before = Number.MAX_SAFE_INTEGER
      for (let i = 0; i < 10; i++) {
        yield* store.expireAll({ before })
        yield* store.compactDeleted({ before })
        yield* store.recount()
        yield* store.deleteQueue(yield* aged(store, [10]))
      }
      yield* sql`alter table restante.queues set (autovacuum_enabled = false)`
      yield* sql`alter table restante.messages set (autovacuum_enabled = false)`
      yield* sql`
        insert into restante.queues (recipient_id, sender_id, status, created_at, updated_at, size, next_sequence)
        select sha256(int4send(i)), sha256(int4send(-i)), 'active', 0, 0, 2, 3 from generate_series(1, 100000) i`
      yield* sql`
        insert into restante.messages (queue_key, sequence, ts, kind, notify, message_id, body)
        select q.key, s, 1000, 'm', false, int8send(s), 'body' from restante.queues q, generate_series(1, 2) s
         where q.size = 2`
      // Half of the queues are deleted.
      yield* sql`delete from restante.messages where queue_key % 2 = 0`
      yield* sql`update restante.queues set size = 0, deleted_at = key where key % 2 = 0`
      const touched = yield* buffersOf(sql, {
        expireNothing: "expire_all('', 100, 0)",
        expireAtTheEnd: "expire_all('\\xff', 100, 0)",
        expire: "expire_all('', 100, 100000)",
        compact: "compact_deleted(-1, '', 100, 9007199254740991)",
        compactNothing: "compact_deleted(9007199254740990, '', 100, 9007199254740991)",
        findSuspects: "find_suspects('', 100)",
        recount: "recount((select recipient_id from restante.queues where key % 2 = 1 limit 1), true)"
      })
      // Of 1,000 queues each costs its own row and the way to its head; of 100, what is removed and written too.
      assert.isAtMost(touched["expireNothing"] ?? 0, 6_000)
      assert.isAtMost(touched["expireAtTheEnd"] ?? 0, 3_000)
      assert.isAtMost(touched["expire"] ?? 0, 6_000)
      assert.isAtMost(touched["compact"] ?? 0, 3_000)
      assert.isAtMost(touched["compactNothing"] ?? 0, 50)
      assert.isAtMost(touched["findSuspects"] ?? 0, 1_500)
      assert.isAtMost(touched["recount"] ?? 0, 100)
    })))
})

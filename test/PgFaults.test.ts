/**
 * What goes wrong between a client and its server, really done, to every operation. After each fault the caller has been told
 * whether anything may have happened, every accepted message is there once, the records agree with the entries, and the call
 * can be repeated. Kills under load are in PgCrash.test.ts, silence and the rest of section 7 in PgMsgStore.test.ts.
 */
import { PgClient } from "@effect/sql-pg"
import { assert, layer } from "@effect/vitest"
import { EmbeddedPostgres } from "@restante/embedded-postgres"
import { PgMigrations, PgMsgStore } from "@restante/postgres"
import { Cause, Context, Deferred, Effect, Equal, Exit, Fiber, Layer, Option, Schedule, Stream } from "effect"
import { execFileSync } from "node:child_process"
import { cpSync, readFileSync, rmSync, statfsSync, statSync, symlinkSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import type { Message, Queue } from "restante"
import { MessageId, MsgStore, MsgStoreError, RecipientId } from "restante"
import * as Operations from "./fixtures/msg-store/operations.ts"
import * as FaultProxy from "./fixtures/pg-session/faultProxy.ts"
import { hold, until, untilOneIsLocked } from "./fixtures/postgres/activity.ts"
import { failing } from "./fixtures/postgres/failing.ts"
import * as Role from "./fixtures/postgres/role.ts"
import { round } from "./fixtures/postgres/round.ts"
import * as SmallDisk from "./fixtures/postgres/smallDisk.ts"
import * as PostgresDatabase from "./PostgresDatabase.ts"

const url = await PostgresDatabase.open()
const role = await Role.open(url)

/** The store that makes worlds and looks at them. */
class Sound extends Context.Service<Sound, Operations.StoreService>()("test/Sound") {}

/**
 * The stores that meet the faults, one whose calls travel together and one that makes each by itself. Their sessions are those
 * of the role.
 */
class Victims extends Context.Service<Victims, Readonly<Record<Operations.Way, Operations.StoreService>>>()(
  "test/Victims"
) {}

class Proxy extends Context.Service<Proxy, FaultProxy.FaultProxy>()("test/Proxy") {}

const looking = Layer.merge(
  Layer.effect(Sound, MsgStore.MsgStore).pipe(Layer.provide(PgMsgStore.layer({ url, poolSize: 4 }))),
  PostgresDatabase.ownerLayer(url)
)

const victims = (options: Partial<PgMsgStore.PoolOptions> = {}) => {
  const victim = (coalesce: boolean) =>
    Effect.map(
      Layer.build(PgMsgStore.layer({ url: role.url, poolSize: 2, ...options, coalesce })),
      (context) => Context.get(context, MsgStore.MsgStore)
    )
  return Layer.effect(Victims, Effect.all({ together: victim(true), alone: victim(false) }))
}

/** Waiting is for real. */
const live = { excludeTestServices: true }

/** What each stored function does to the data, which decides what a lost answer means (rule 7.4). */
const kinds: Readonly<Record<string, "read" | "change">> = {
  acknowledge: "change",
  acknowledge_through_message: "change",
  acknowledge_through_sequence: "change",
  arrivals_channel: "read",
  arrivals_of: "read",
  compact_deleted: "change",
  create_queue: "change",
  delete_expired: "change",
  delete_queue: "change",
  expire_all: "change",
  // What a transaction has done goes with its session.
  export_page: "read",
  find_suspects: "read",
  get_queue: "read",
  get_senders: "read",
  import_append: "read",
  import_create: "read",
  import_find: "read",
  import_finish: "read",
  import_lock: "read",
  import_markers: "read",
  import_open: "read",
  import_recall: "read",
  import_take: "read",
  peek: "read",
  peek_batch: "read",
  recount: "change",
  set_queue_status: "change",
  set_quota: "change",
  size: "read",
  stats: "read",
  write: "change",
  write_many: "change"
}

/** What a lost answer to a statement is called; none for statements of a transaction, which say so only at its end. */
const lostAnswer = (statement: string): string | undefined => {
  const name = /"?restante"?\.(\w+)\(/.exec(statement)?.[1]
  if (name === undefined || /^(begin|copy)/i.test(statement)) return undefined
  return (kinds[name] ?? assert.fail(`decide what ${name} does to the data`)) === "read"
    ? "Unavailable"
    : "OutcomeUnknown"
}

/** How a call ended, in a word. */
const endOf = (exit: Exit.Exit<unknown, unknown>): string => {
  if (Exit.isSuccess(exit)) return "success"
  const error = Option.getOrUndefined(Cause.findErrorOption(exit.cause))
  return error instanceof MsgStoreError.MsgStoreError ? error.reason._tag : Cause.pretty(exit.cause)
}

const isRetryable = (error: unknown) => error instanceof MsgStoreError.MsgStoreError && error.isRetryable

const untilAnswered = <A, E, R>(call: Effect.Effect<A, E, R>) =>
  Effect.retry(call, { while: isRetryable, schedule: Schedule.spaced("2 millis") })

interface Place {
  readonly owner: PgClient.PgClient
  readonly operation: Operations.Operation
  /** The call that meets the fault. */
  readonly call: Effect.Effect<unknown, unknown>
  /** The call that is made again. */
  readonly again: Effect.Effect<unknown, unknown>
  readonly callBy: (store: Operations.StoreService) => Effect.Effect<unknown, unknown>
  readonly state: Effect.Effect<Operations.State, unknown>
  /** The states in which the operation may leave the world. */
  readonly legal: ReadonlyArray<Operations.State>
}

const found = new Map<Operations.Operation, ReadonlyArray<Operations.State>>()

/** Makes a world for an operation to be called in. */
const inPlace = Effect.fnUntraced(function*<A, E, R>(
  { operation, way }: Operations.Case,
  use: (place: Place) => Effect.Effect<A, E, R>
) {
  const sound = yield* Sound
  const victim = (yield* Victims)[way]
  const owner = yield* PgClient.PgClient
  const legal = found.get(operation) ??
    (yield* round(sound, owner)((store, world) => Operations.states(operation, store, world)))
  found.set(operation, legal)
  return yield* round(sound, owner)((store, world) => {
    const callBy = (by: Operations.StoreService) => Operations.call(operation, by, world)
    return use({
      owner,
      operation,
      call: callBy(victim),
      again: callBy(victim),
      callBy,
      state: untilAnswered(Operations.stateOf(store, world)),
      legal
    })
  })
})

/**
 * What holds after every fault. The state is one of the legal ones, and the one before if the caller was told that nothing was
 * applied; repeated, the call ends as if nothing had gone wrong; nothing is there twice, and no record has drifted.
 */
const isHarmless = Effect.fnUntraced(function*(
  { again, legal, operation, owner, state }: Place,
  exit: Exit.Exit<unknown, unknown>
) {
  const end = endOf(exit)
  assert.include(["success", "Unavailable", "OutcomeUnknown", "Timeout"], end)
  const left = yield* state
  const after = legal.at(-1)
  const step = legal.findIndex((legal) => Equal.equals(left, legal))
  if (step === -1 || end === "success") assert.deepStrictEqual(left, after)
  // Of several steps, those before the one that failed have been applied.
  if (operation.steps === undefined && (end === "Unavailable" || end === "Timeout")) assert.strictEqual(step, 0)
  if (operation.kind === "read") assert.notStrictEqual(end, "OutcomeUnknown")
  const repeated = endOf(yield* Effect.exit(untilAnswered(again)))
  if (!repeated.startsWith("QueueNotFound")) assert.strictEqual(repeated, "success")
  assert.deepStrictEqual(yield* state, after)
  assert.deepStrictEqual(yield* Effect.retry(PostgresDatabase.unsound(owner), { times: 5 }), [])
  return { end, step }
})

/** A fault was told by this name; an operation that goes on by itself need not tell. */
const isTold = (operation: Operations.Operation, end: string, expected: string | undefined) => {
  if (expected === undefined || (operation.recovers === true && end === "success")) return
  assert.strictEqual(end, expected)
}

/** What a call sends itself. Connections that listen, and looks for arrivals, are nobody's in particular. */
const ofTheCall = /restante\W+\b(?!arrivals_)|^\W*(begin|commit|copy)/i

/** The statements that a call sends. */
const statementsOf = Effect.fnUntraced(function*(proxy: FaultProxy.FaultProxy, call: Effect.Effect<unknown, unknown>) {
  const before = (yield* proxy.statements).length
  yield* Effect.exit(untilAnswered(call))
  return (yield* proxy.statements).slice(before).filter((statement) => ofTheCall.test(statement))
})

/** Keeps every call from its tables. */
const holdTables = (owner: PgClient.PgClient) =>
  hold(owner, owner`lock table restante.queues, restante.messages in access exclusive mode`)

/** What a lost answer to the first statement of an operation is called. */
const lostFirst = (operation: Operations.Operation): string =>
  operation.kind === "read" || operation.cancels === true ||
    ["receive", "write by sender id", "writeMany"].includes(operation.title)
    ? "Unavailable"
    : "OutcomeUnknown"

const terminate = (owner: PgClient.PgClient) =>
  owner`select pg_terminate_backend(pid) from pg_stat_activity where usename = ${role.name}`

/** What holds for sessions of the role that begin from now on. */
const altered = (change: string, back: string) =>
  Layer.effectDiscard(Effect.flatMap(PgClient.PgClient, (owner) =>
    Effect.acquireRelease(
      owner.unsafe(`alter role ${role.name} ${change}`),
      () => Effect.orDie(owner.unsafe(`alter role ${role.name} ${back}`))
    )))

const changes = Operations.onPostgres.filter(({ operation }) => operation.kind === "change")

layer(looking, live)((it) => {
  const cuts = {
    cutBefore: "a socket that is cut before the server has the statement",
    cutAfter: "a socket that is cut after the server has carried the statement out"
  } as const
  for (const fault of ["cutBefore", "cutAfter"] as const) {
    const proxied = Layer.flatMap(
      Layer.effect(Proxy, FaultProxy.make(role.url)),
      (context) => Layer.merge(Layer.succeedContext(context), victims({ url: Context.get(context, Proxy).url }))
    )
    it.layer(proxied)(cuts[fault], (it) => {
      for (const each of Operations.onPostgres) {
        const { operation } = each
        it.effect(each.title, () =>
          Effect.gen(function*() {
            const proxy = yield* Proxy
            const statements = yield* inPlace(each, ({ call }) => statementsOf(proxy, call))
            assert.isNotEmpty(statements)
            for (const [i, statement] of statements.entries()) {
              yield* inPlace(each, (place) =>
                Effect.gen(function*() {
                  const struck = yield* proxy.strike(ofTheCall, fault, i)
                  const exit = yield* Effect.exit(place.call)
                  yield* struck.reached
                  const { end, step } = yield* isHarmless(place, exit)
                  isTold(operation, end, lostAnswer(statement))
                  if (statements.length === 1 && operation.kind === "change") {
                    assert.strictEqual(step, fault === "cutBefore" ? 0 : place.legal.length - 1)
                  }
                }))
            }
          }))
      }
    })
  }

  it.layer(victims())("a backend that is terminated while it works (case 72)", (it) => {
    for (const each of Operations.onPostgres) {
      const { operation } = each
      it.effect(each.title, () =>
        inPlace(each, (place) =>
          Effect.gen(function*() {
            const tables = yield* holdTables(place.owner)
            const call = yield* Effect.forkChild(place.call)
            yield* untilOneIsLocked(place.owner)
            yield* terminate(place.owner)
            // What goes on by itself waits for the tables.
            if (operation.recovers === true) yield* tables.release
            const exit = yield* Fiber.await(call)
            yield* tables.release
            const { end, step } = yield* isHarmless(place, exit)
            isTold(operation, end, lostFirst(operation))
            if (end !== "success") assert.strictEqual(step, 0)
          })))
    }
  })

  it.layer(victims())("a backend that is terminated while it is idle", (it) => {
    for (const each of Operations.onPostgres) {
      it.effect(each.title, () =>
        inPlace(each, (place) =>
          Effect.gen(function*() {
            yield* terminate(place.owner)
            yield* isHarmless(place, yield* Effect.exit(place.call))
          })))
    }
  })

  const limits = {
    "a lock that is waited for too long (case 71)": { lockTimeout: "100 millis" },
    "a statement that runs too long (case 71)": { statementTimeout: "100 millis" }
  } as const
  for (const [what, options] of Object.entries(limits)) {
    it.layer(victims(options))(what, (it) => {
      for (const each of Operations.onPostgres) {
        const { operation } = each
        it.effect(each.title, () =>
          inPlace(each, (place) =>
            Effect.gen(function*() {
              const tables = yield* holdTables(place.owner)
              const exit = yield* Effect.exit(place.call)
              yield* tables.release
              const { end, step } = yield* isHarmless(place, exit)
              isTold(operation, end, "Timeout")
              assert.strictEqual(step, 0)
            })))
      }
    })
  }

  it.layer(victims())("a conflict that the server reports (rule 6.4)", (it) => {
    for (const each of changes) {
      const { operation } = each
      it.effect(`three times in a row is not noticed: ${each.title}`, () =>
        inPlace(each, (place) =>
          Effect.gen(function*() {
            const { heal } = yield* failing(place.owner, "40P01", 3)
            const exit = yield* Effect.exit(place.call)
            yield* heal
            const { end } = yield* isHarmless(place, exit)
            // An import has been read by then and cannot be repeated.
            if (operation.cancels !== true) assert.strictEqual(end, "success")
          })))

      it.effect(`again and again is Unavailable: ${each.title}`, () =>
        inPlace(each, (place) =>
          Effect.gen(function*() {
            const { attempts, heal } = yield* failing(place.owner, "40001", 1_000)
            const exit = yield* Effect.exit(place.call)
            const tried = yield* attempts
            yield* heal
            const { end, step } = yield* isHarmless(place, exit)
            assert.strictEqual(end, "Unavailable")
            assert.strictEqual(step, 0)
            if (operation.cancels !== true && operation.recovers !== true) assert.strictEqual(tried, 4)
          })))
    }

    it.effect("a deadlock with somebody else's transaction ends one attempt, and the next one succeeds", () =>
      Effect.gen(function*() {
        const { alone: store } = yield* Victims
        const owner = yield* PgClient.PgClient
        const { recipientId } = yield* store.createQueue()
        const id = MessageId.named("m1")
        yield* store.write({ recipientId }, { id, body: new Uint8Array(1) })
        const held = yield* Deferred.make<void>()
        const go = yield* Deferred.make<void>()
        const other = yield* Effect.forkChild(owner.withTransaction(Effect.gen(function*() {
          // Who has waited for a second looks for deadlocks, and is the one that is ended: the store.
          yield* owner`set local deadlock_timeout = '1h'`
          yield* owner`select from restante.messages for update`
          yield* Deferred.succeed(held, undefined)
          yield* Deferred.await(go)
          yield* owner`select from restante.queues for update`
        })))
        yield* Effect.raceFirst(Deferred.await(held), Fiber.join(other))
        const deadlocks = Effect.map(
          owner<{ readonly n: number }>`
            select deadlocks::int4 as n from pg_stat_database where datname = current_database()`,
          (rows) => rows[0]?.n ?? 0
        )
        const before = yield* deadlocks
        const call = yield* Effect.forkChild(store.acknowledge(recipientId, id))
        yield* untilOneIsLocked(owner)
        yield* Deferred.succeed(go, undefined)
        assert.isTrue(Option.isSome(yield* Fiber.join(call)))
        yield* Fiber.join(other)
        // A session tells what it has met some time later, when it is used.
        const use = Effect.all([store.size(recipientId), store.size(recipientId)], { concurrency: 2 })
        yield* until(Effect.andThen(use, Effect.map(deadlocks, (n) => n === before + 1)))
        assert.strictEqual(yield* store.size(recipientId), 0)
      }))
  })

  const exhausted = {
    "a pool that is exhausted (rule 7.3)": victims({ poolSize: 1, acquireTimeout: "100 millis" }),
    "a server that has no connection left (rule 7.4)": Layer.provide(
      victims({ poolSize: 2 }),
      // One for each victim.
      altered("connection limit 2", "connection limit -1")
    )
  }
  for (const [what, layer] of Object.entries(exhausted)) {
    it.layer(layer)(what, (it) => {
      for (const each of Operations.onPostgres) {
        it.effect(each.title, () =>
          inPlace(each, (place) =>
            Effect.gen(function*() {
              const { owner } = place
              const store = (yield* Victims)[each.way]
              const other = yield* untilAnswered(store.createQueue())
              const ofOther = owner`recipient_id = ${RecipientId.toBytes(other.recipientId)}`
              const lock = yield* hold(owner, owner`select from restante.queues where ${ofOther} for update`)
              const busy = yield* Effect.forkChild(store.setQuota(other.recipientId, 1))
              yield* untilOneIsLocked(owner)
              const exit = yield* Effect.exit(place.call)
              yield* lock.release
              yield* Fiber.join(busy)
              yield* owner`delete from restante.queues where ${ofOther}`
              const { end, step } = yield* isHarmless(place, exit)
              assert.strictEqual(end, "Unavailable")
              assert.strictEqual(step, 0)
            })))
      }
    })
  }

  const readOnly = altered("set default_transaction_read_only = on", "reset default_transaction_read_only")
  it.layer(Layer.provide(victims(), readOnly))("a server that is read only", (it) => {
    for (const each of Operations.onPostgres) {
      const { operation } = each
      it.effect(each.title, () =>
        inPlace(each, (place) =>
          Effect.gen(function*() {
            const exit = yield* Effect.exit(place.call)
            const { end, step } = yield* isHarmless({ ...place, again: place.callBy(yield* Sound) }, exit)
            // A transaction that asks to be READ WRITE is, whatever the default.
            const writes = operation.kind === "change" && operation.cancels !== true
            assert.strictEqual(end, writes ? "Unavailable" : "success")
            if (writes) assert.strictEqual(step, 0)
          })))
    }
  })
})

/** A server of this file's own, which can be killed, with both stores on it, the victim's behind a proxy. */
const killable = Layer.unwrap(Effect.gen(function*() {
  const { url } = yield* EmbeddedPostgres.EmbeddedPostgres
  yield* Effect.provide(PgMigrations.migrate(), PgClient.layer({ url }))
  const proxy = yield* FaultProxy.make(url)
  return Layer.mergeAll(
    Layer.succeed(Proxy, proxy),
    Layer.effect(Sound, MsgStore.MsgStore).pipe(Layer.provide(PgMsgStore.layer({ url, poolSize: 4 }))),
    victims({ url: proxy.url, poolSize: 4 }),
    PostgresDatabase.ownerLayer(url)
  )
})).pipe(Layer.provideMerge(EmbeddedPostgres.layer()))

layer(killable, live)("a server that is killed, and comes back", (it) => {
  for (const each of changes) {
    const { operation } = each
    it.effect(`while it works: ${each.title} (case 73)`, () =>
      inPlace(each, (place) =>
        Effect.gen(function*() {
          const server = yield* EmbeddedPostgres.EmbeddedPostgres
          const tables = yield* holdTables(place.owner)
          const call = yield* Effect.forkChild(Effect.exit(place.call))
          yield* untilOneIsLocked(place.owner)
          yield* server.kill
          yield* Effect.exit(tables.release)
          yield* server.restart
          const exit = yield* Fiber.join(call)
          const { end, step } = yield* isHarmless(place, exit)
          isTold(operation, end, lostFirst(operation))
          if (end !== "success") assert.strictEqual(step, 0)
        })))

    if (operation.steps !== undefined || operation.cancels === true) continue
    it.effect(`when it has done its work and not said so: ${each.title} (case 72)`, () =>
      inPlace(each, (place) =>
        Effect.gen(function*() {
          const server = yield* EmbeddedPostgres.EmbeddedPostgres
          const proxy = yield* Proxy
          yield* proxy.strike(/restante\W+\b(?!get_senders|arrivals_)/, "holdAnswer")
          const call = yield* Effect.forkChild(Effect.exit(place.call))
          yield* until(Effect.map(place.state, (state) => Equal.equals(state, place.legal.at(-1))))
          yield* server.kill
          assert.strictEqual(endOf(yield* Fiber.join(call)), "OutcomeUnknown")
          yield* server.restart
          const { step } = yield* isHarmless(place, yield* Fiber.join(call))
          assert.strictEqual(step, place.legal.length - 1)
        })))
  }
})

const range = (n: number): ReadonlyArray<number> => Array.from({ length: n }, (_, i) => i)

const messageOf = (name: string, bytes: number): Message.NewMessage => ({
  id: MessageId.named(name),
  body: new Uint8Array(bytes)
})

/** Writes one message after another until one fails; answers the names of those that were accepted, and the failure. */
const writeUntilFailure = Effect.fnUntraced(
  function*(store: Operations.StoreService, to: Queue.QueueRecord, name: string) {
    const accepted: Array<string> = []
    for (let i = 0;; i++) {
      const exit = yield* Effect.exit(store.write(
        { recipientId: to.recipientId },
        messageOf(`${name} ${i}`, 30_000)
      ))
      if (Exit.isFailure(exit)) return { accepted, failed: `${name} ${i}`, end: endOf(exit) }
      assert.strictEqual(exit.value._tag, "Accepted")
      accepted.push(`${name} ${i}`)
    }
  }
)

/** Fills the disk from several fibers, gives it room, and repeats what had failed: everything is there once. */
const overflowDisk = Effect.fnUntraced(function*(makeRoom: Effect.Effect<unknown, unknown>) {
  const { together: store } = yield* Victims
  const owner = yield* PgClient.PgClient
  const queue = yield* store.createQueue({ quota: 100_000 })
  const { recipientId } = queue
  const writers = yield* Effect.forEach(range(8), (i) => writeUntilFailure(store, queue, `writer ${i}`), {
    concurrency: "unbounded"
  })
  yield* makeRoom
  for (const { failed } of writers) {
    const { _tag } = yield* untilAnswered(store.write({ recipientId }, messageOf(failed, 30_000)))
    assert.include(["Accepted", "AlreadyStored"], _tag)
  }
  const stored: Array<Message.Entry> = yield* Stream.runCollect(store.messages(recipientId))
  const expected = writers.flatMap(({ accepted, failed }) => [...accepted, failed].map(MessageId.named))
  assert.deepStrictEqual(stored.map(({ id }) => id).toSorted(), expected.toSorted())
  assert.deepStrictEqual(stored.map(({ sequence }) => sequence), stored.map((_, i) => BigInt(i + 1)))
  for (const [i, { accepted, failed }] of writers.entries()) {
    const own = stored.map(({ id }) => id).filter((id) =>
      Buffer.from(id, "base64url").toString().startsWith(`writer ${i} `)
    )
    assert.deepStrictEqual(own, [...accepted, failed].map(MessageId.named))
  }
  assert.deepStrictEqual(yield* PostgresDatabase.unsound(owner), [])
  yield* store.deleteQueue(recipientId)
  return writers.map(({ end }) => end)
})

const noDisk = SmallDisk.impossible()
if (noDisk !== undefined) console.info(`PgFaults: no full disks, because none can be mounted here: ${noDisk}`)

if (noDisk === undefined) {
  layer(killable, live)("a disk that is full", (it) => {
    it.effect("of messages: Unavailable, and nothing was applied (rule 7.4)", () =>
      Effect.gen(function*() {
        const { dataDirectory } = yield* EmbeddedPostgres.EmbeddedPostgres
        const owner = yield* PgClient.PgClient
        const disk = yield* SmallDisk.make(4, statSync(dataDirectory))
        yield* owner.unsafe(`create tablespace small location '${disk.directory}'`)
        yield* owner`alter table restante.messages set tablespace small`
        const ends = yield* overflowDisk(disk.resize(64))
        assert.deepStrictEqual(new Set(ends), new Set(["Unavailable"]))
        yield* owner`alter table restante.messages set tablespace pg_default`
        yield* owner`drop tablespace small`
      }))

    it.effect("of the log: the server goes down, and what it had accepted is there when it is back", () =>
      Effect.gen(function*() {
        const server = yield* EmbeddedPostgres.EmbeddedPostgres
        const { together: store } = yield* Victims
        const log = join(server.dataDirectory, "pg_wal")
        const disk = yield* SmallDisk.make(256, statSync(server.dataDirectory))
        yield* server.stop
        cpSync(log, disk.directory, { recursive: true, preserveTimestamps: true })
        execFileSync("chown", ["-R", "--reference", server.dataDirectory, disk.directory])
        rmSync(log, { recursive: true })
        symlinkSync(disk.directory, log)
        yield* server.restart
        yield* untilAnswered(store.stats)
        // Room for less than a segment.
        const { bavail, bsize } = statfsSync(disk.directory)
        writeFileSync(join(disk.directory, "ballast"), Buffer.alloc(bavail * bsize - 4 * 1_048_576))
        const ends = yield* overflowDisk(Effect.andThen(
          Effect.sync(() => rmSync(join(disk.directory, "ballast"))),
          server.restart
        ))
        assert.includeMembers(["Unavailable", "OutcomeUnknown"], ends)
        const words = readFileSync(join(server.dataDirectory, "..", "server.log"), "utf8")
        assert.match(words, /PANIC: .*No space left on device/)
        // Before its log goes.
        yield* server.kill
      }))
  })
}

PostgresDatabase.itIsSound(url)

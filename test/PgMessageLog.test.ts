/**
 * Export and import on PostgreSQL, where they are more than what every store must do: the staging table and who may touch it,
 * transactions that are cut off, locks, other imports at the same time, and agreement with memory to the byte.
 */
import { PgClient } from "@effect/sql-pg"
import { assert, describe, it } from "@effect/vitest"
import { PgMsgStore } from "@restante/postgres"
import {
  Cause,
  Context,
  Deferred,
  Effect,
  Exit,
  Fiber,
  Latch,
  Layer,
  Option,
  Redacted,
  type Scope,
  Stream
} from "effect"
import { execFile } from "node:child_process"
import { createHash } from "node:crypto"
import { promisify } from "node:util"
import { Message, MessageId, type MessageLog, MsgStore, MsgStoreError, RecipientId, SenderId } from "restante"
import * as FaultProxy from "./fixtures/pg-session/faultProxy.ts"
import { hold, untilOneIsLocked } from "./fixtures/postgres/activity.ts"
import { buffersOf, literal } from "./fixtures/postgres/buffers.ts"
import * as Role from "./fixtures/postgres/role.ts"
import * as PostgresDatabase from "./PostgresDatabase.ts"

const url = await PostgresDatabase.open()
const role = await Role.open(url)

type StoreService = MsgStore.MsgStore["Service"]

class Url extends Context.Service<Url, Redacted.Redacted>()("test/Url") {}

/** The URL of a database that nobody else uses. */
const emptyDatabase = Effect.map(
  Layer.build(Layer.fresh(PostgresDatabase.layerEmpty((url) => Layer.succeed(Url, url)))),
  Context.get(Url)
)

const storeOf = (of: Redacted.Redacted, options: Omit<PgMsgStore.PoolOptions, "url"> = {}) =>
  Effect.map(Layer.build(Layer.fresh(PgMsgStore.layer({ url: of, ...options }))), Context.get(MsgStore.MsgStore))

const ownerOf = (of: Redacted.Redacted) =>
  Effect.map(Layer.build(Layer.fresh(PostgresDatabase.ownerLayer(of))), Context.get(PgClient.PgClient))

interface Place {
  readonly url: Redacted.Redacted
  readonly store: StoreService
  readonly owner: PgClient.PgClient
}

/** Runs a test on a database of its own, with a store and a client of the owner. */
const place = <A, E>(
  use: (place: Place) => Effect.Effect<A, E, Scope.Scope>,
  options: Omit<PgMsgStore.PoolOptions, "url"> = {}
) =>
  Effect.scoped(Effect.gen(function*() {
    const url = yield* emptyDatabase
    return yield* use({ url, store: yield* storeOf(url, options), owner: yield* ownerOf(url) })
  }))

const memoryOf = (limits: MsgStore.Limits = {}) =>
  Effect.map(Layer.build(Layer.fresh(MsgStore.layerMemory(limits))), Context.get(MsgStore.MsgStore))

// ---- files

const encoder = new TextEncoder()
const b64 = (text: string | Uint8Array): string => Buffer.from(text).toString("base64url")

interface QueueLine {
  readonly name: string
  readonly sender?: string
  readonly quota?: number | null
  readonly next?: number | bigint
}

const recipientOf = (name: string): RecipientId => RecipientId.named(`to ${name}`)
const senderOf = (name: string): SenderId => SenderId.named(`from ${name}`)

const queueLine = ({ name, next = 1, quota = null, sender = name }: QueueLine): string =>
  `{"t":"queue","recipientId":"${recipientOf(name)}","senderId":"${senderOf(sender)}","quota":${quota},` +
  `"status":"active","createdAt":1,"updatedAt":2,"nextSequence":"${next}"}`

const messageLine = (queue: string, sequence: number | bigint, id: string, body = id): string =>
  `{"t":"message","recipientId":"${recipientOf(queue)}","sequence":"${sequence}","id":"${MessageId.named(id)}",` +
  `"timestamp":7,"notify":false,"body":"${b64(body)}"}`

const markerLine = (queue: string, sequence: number | bigint, id: string): string =>
  `{"t":"quota","recipientId":"${recipientOf(queue)}","sequence":"${sequence}","id":"${MessageId.named(id)}",` +
  `"timestamp":8}`

const header = `{"t":"header","format":"restante","version":1}`

const fileOf = (lines: ReadonlyArray<string>): Stream.Stream<Uint8Array> =>
  Stream.succeed(encoder.encode([header, ...lines, `{"t":"end","queues":0,"entries":${lines.length}}`, ""].join("\n")))

/** A queue with so many messages. */
const filled = (name: string, count: number): ReadonlyArray<string> => [
  queueLine({ name, quota: count, next: count + 1 }),
  ...Array.from({ length: count }, (_, i) => messageLine(name, i + 1, `${name} ${i}`))
]

const exportOf = (store: StoreService, format: MessageLog.Format = "restante") =>
  Effect.map(Stream.runCollect(store.exportLog({ format })), (chunks) => Buffer.concat(chunks).toString("latin1"))

const digestOf = (store: StoreService) =>
  Effect.map(exportOf(store), (text) => createHash("sha256").update(text).digest("hex"))

const message = (name: string): Message.NewMessage => ({ ...Message.fromText(name), id: MessageId.named(name) })

const reasonOf = (exit: Exit.Exit<unknown, unknown>): string => {
  const error = Exit.isFailure(exit) ? Cause.findErrorOption(exit.cause) : Option.none()
  return Option.isSome(error) && error.value instanceof MsgStoreError.MsgStoreError ? error.value.reason._tag : "none"
}

/** What is in the staging tables, as their owner sees them. */
const staged = (owner: PgClient.PgClient) =>
  Effect.map(
    owner<{ readonly n: number }>`
      select (select count(*) from restante.import_messages)::int + (select count(*) from restante.import_queues)::int as n`,
    (rows) => rows[0]?.n
  )

// ---- random files

/** A small generator of numbers, good enough for files. */
const generator = (seed: number) => {
  let state = seed
  /** From 0 up to below `n`. */
  return (n: number): number => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return Math.floor(state / 2 ** 32 * n)
  }
}

const names = ["a", "b", "c", "d", "e"]

/** A file that does everything at once: bad lines, strange orders, repeated ids, several markers, wrong queues. */
const randomLines = (random: (n: number) => number): ReadonlyArray<string> => {
  const lines: Array<string> = []
  const pick = () => names[random(names.length)] ?? "a"
  const id = () => `m${random(12)}`
  const body = () => "x".repeat(random(4) === 0 ? random(3_000) : random(8))
  const high = random(3) === 0
  const sequence = () => high && random(6) === 0 ? 2n ** 62n - BigInt(random(3)) : BigInt(1 + random(30))
  for (const name of names) {
    if (random(4) > 0) {
      lines.push(
        queueLine({ name, quota: random(2) === 0 ? null : random(6), next: high ? 2n ** 62n + 1n : 1 + random(40) })
      )
    }
  }
  const count = random(5) === 0 ? 1_200 : random(60)
  for (let i = 0; i < count; i++) {
    const kind = random(40)
    if (kind === 0) lines.push(queueLine({ name: pick(), quota: random(5) }))
    else if (kind === 1) lines.push(queueLine({ name: pick(), sender: pick() }))
    else if (kind === 2) lines.push("{}")
    else if (kind === 3) lines.push(messageLine("nobody", 1, id()))
    else if (kind < 7) lines.push(markerLine(pick(), sequence(), id()))
    else lines.push(messageLine(pick(), sequence(), id(), body()))
  }
  return lines
}

const randomSimplex = (random: (n: number) => number): Stream.Stream<Uint8Array> =>
  Stream.succeed(encoder.encode(
    Array.from({ length: random(50) }, () => {
      const start = `v3 ${recipientOf(names[random(names.length)] ?? "a")} ${MessageId.named(`m${random(12)}`)} ${
        random(9)
      }`
      const kind = random(10)
      return kind === 0
        ? `${start} quota\n`
        : kind === 1
        ? `${start} ${b64("y")}\n`
        : `${start} flags=T ${b64(`${kind}`)}\n`
    }).join("")
  ))

/** Something between two imports, the same in both stores. */
const randomOperation = (random: (n: number) => number): (store: StoreService) => Effect.Effect<unknown, unknown> => {
  const name = names[random(names.length)] ?? "a"
  const recipientId = recipientOf(name)
  const kind = random(8)
  const id = message(`m${random(12)}`)
  const sequence = BigInt(1 + random(30))
  return (store) => {
    switch (kind) {
      case 0:
        return store.deleteQueue(recipientId)
      case 1:
        return store.compactDeleted({ before: Number.MAX_SAFE_INTEGER })
      case 2:
        return Effect.flatMap(
          store.peek(recipientId),
          (head) => Option.isSome(head) ? store.acknowledge(recipientId, head.value.id) : Effect.void
        )
      case 3:
        return store.acknowledgeThrough(recipientId, { sequence })
      case 4:
        return store.deleteExpired(recipientId, 8)
      default:
        return store.write({ recipientId }, { ...id, timestamp: 5 })
    }
  }
}

describe("agreement with memory", () => {
  const rounds = 12
  const importsOfRound = 30

  it.live(
    `imports ${rounds * importsOfRound} random files to the same reports and the same bytes (87, 88, 93, 94, 96, 97)`,
    () =>
      Effect.forEach(Array.from({ length: rounds }, (_, i) => i + 1), (seed) =>
        Effect.scoped(Effect.gen(function*() {
          const random = generator(seed)
          const limits = { defaultQuota: random(5), maxBatchBytes: 65_536 + random(3) }
          const memory = yield* memoryOf(limits)
          const postgres = yield* storeOf(yield* emptyDatabase, limits)
          let bytes = 0
          for (let i = 0; i < importsOfRound; i++) {
            const format = random(4) === 0 ? "simplex-v3" : "restante"
            const file = format === "restante" ? fileOf(randomLines(random)) : randomSimplex(random)
            const [expected, actual] = [
              yield* memory.importLog(file, { format }),
              yield* postgres.importLog(file, { format })
            ]
            assert.deepStrictEqual(actual, expected, `seed ${seed}, import ${i}`)
            const all = yield* exportOf(memory)
            assert.strictEqual(yield* exportOf(postgres), all, `seed ${seed}, import ${i}`)
            bytes += all.length
            assert.strictEqual(yield* exportOf(postgres, "simplex-v3"), yield* exportOf(memory, "simplex-v3"))
            for (let n = random(6); n > 0; n--) {
              const operation = randomOperation(random)
              const [there, here] = [yield* Effect.exit(operation(memory)), yield* Effect.exit(operation(postgres))]
              assert.strictEqual(Exit.isSuccess(here), Exit.isSuccess(there))
            }
          }
          assert.isAbove(bytes, 10_000)
        })), { concurrency: 2, discard: true }),
    240_000
  )

  it.live("what one of them has exported goes through the other and back unchanged, in all directions (case 88)", () =>
    Effect.scoped(Effect.gen(function*() {
      const lines = [
        queueLine({ name: "latched", quota: 2, next: 9 }),
        messageLine("latched", 4, "l1"),
        messageLine("latched", 7, "l2", ""),
        markerLine("latched", 8, "l3"),
        queueLine({ name: "empty", next: 5_000 }),
        queueLine({ name: "one", quota: 0, next: 3 }),
        markerLine("one", 2, "o")
      ]
      const stores = [
        memoryOf(),
        memoryOf(),
        Effect.flatMap(emptyDatabase, (url) => storeOf(url)),
        Effect.flatMap(emptyDatabase, (url) => storeOf(url, { poolSize: 1 }))
      ]
      let bytes = Stream.unwrap(
        Effect.map(memoryOf(), (first) => Stream.unwrap(Effect.as(first.importLog(fileOf(lines)), first.exportLog())))
      )
      let before: string | undefined
      // memory, memory, PostgreSQL, PostgreSQL, memory: each hands on to the next.
      for (const store of [...stores, memoryOf()]) {
        const next = yield* store
        yield* next.importLog(bytes, { mode: "strict" })
        const text = yield* exportOf(next)
        assert.strictEqual(text, before ?? text)
        before = text
        bytes = Stream.succeed(encoder.encode(text))
      }
      assert.strictEqual(before?.split("\n").length, lines.length + 3)
    })))
})

describe("the staging table (case 81, rule 10.11)", () => {
  it.live("the application imports, and may itself insert and nothing else", () =>
    Effect.scoped(Effect.gen(function*() {
      const store = yield* storeOf(role.url)
      assert.strictEqual((yield* store.importLog(fileOf(filled("role", 3)))).messages, 3)
      const application = yield* ownerOf(role.url)
      const forbidden = [
        "select * from restante.import_messages",
        "select count(*) from restante.import_messages",
        "update restante.import_messages set body = ''",
        "delete from restante.import_messages",
        "truncate restante.import_messages",
        "insert into restante.import_messages (import, queue_key, sequence, n, ts, notify, message_id, body) " +
        "values ('1', 1, 1, 1, 1, false, 'x', '') ",
        "insert into restante.import_messages (queue_key, sequence, n, ts, notify, message_id, body) " +
        "values (1, 1, 1, 1, false, 'x', '') returning body",
        "copy restante.import_messages to stdout",
        "select * from restante.import_queues",
        "insert into restante.import_queues (recipient_id) values ('x')",
        "select restante._import_alone()",
        "select restante._derived_id('x', 'x')"
      ]
      for (const statement of forbidden) {
        const error = yield* Effect.flip(application.unsafe(statement).unprepared)
        const { cause } = error.reason
        assert.strictEqual(
          typeof cause === "object" && cause !== null && "code" in cause && cause.code,
          "42501",
          statement
        )
      }
    })))

  it.live("rows that somebody has put there by himself are in no import", () =>
    Effect.scoped(Effect.gen(function*() {
      const store = yield* storeOf(role.url)
      const application = yield* ownerOf(role.url)
      const owner = yield* ownerOf(url)
      yield* store.importLog(fileOf(filled("first", 2)))
      yield* application`
        insert into restante.import_messages (queue_key, sequence, n, ts, notify, message_id, body)
        select key, 1, key, 1, false, 'forged', '' from generate_series(1, 50) key`
      assert.strictEqual((yield* store.importLog(fileOf([...filled("first", 3), ...filled("second", 1)]))).messages, 2)
      const text = yield* exportOf(store)
      assert.notInclude(text, b64("forged"))
      // Somebody who begins an import and commits in the middle of it is in nobody's way.
      const ids = ["first", "third"].map((name) => literal(RecipientId.toBytes(recipientOf(name))))
      yield* application.unsafe(
        `select outcome from restante.import_find(array[${ids.map((id) => `${id}::bytea`).join(", ")}])`
      )
      assert.isAbove((yield* staged(owner)) ?? 0, 50)
      assert.strictEqual((yield* store.importLog(fileOf([...filled("first", 4), ...filled("third", 1)]))).messages, 2)
      yield* owner`truncate restante.import_messages`
    })))

  it.live("a table of somebody's own is not taken for that of an import", () =>
    Effect.scoped(Effect.gen(function*() {
      const application = yield* ownerOf(role.url)
      const code = yield* Effect.scoped(Effect.gen(function*() {
        const session = yield* application.reserve
        const run = (text: string) => session.executeUnprepared(text, [], undefined)
        yield* run("create temporary table restante_import (queue_key bigint, sequence bigint)")
        yield* run("insert into pg_temp.restante_import values (1, 1)")
        const { reason } = yield* Effect.flip(run("select restante.import_take()"))
        yield* run("drop table pg_temp.restante_import")
        return typeof reason.cause === "object" && reason.cause !== null && "code" in reason.cause && reason.cause.code
      }))
      assert.strictEqual(code, "55000")
    })))

  it.live("an import that cannot have a table of its transaction ends the same", () =>
    place(({ owner, url }) =>
      Effect.gen(function*() {
        const { sql, store } = yield* client(url, { maxConnections: 1 })
        yield* sql`create temporary table restante_import (n int)`
        const memory = yield* memoryOf()
        for (const file of [filled("a", 1_200), everything, world]) {
          assert.deepStrictEqual(yield* store.importLog(fileOf(file)), yield* memory.importLog(fileOf(file)))
        }
        assert.strictEqual(yield* exportOf(store), yield* exportOf(memory))
        assert.strictEqual(yield* staged(owner), 0)
      })
    ))

  it.live("nothing is left in it by an import that has succeeded, was refused, or has failed", () =>
    place(({ owner, store }) =>
      Effect.gen(function*() {
        yield* store.importLog(fileOf([...filled("a", 1_500), messageLine("nobody", 1, "x"), markerLine("a", 9, "y")]))
        assert.strictEqual(yield* staged(owner), 0)
        const before = yield* exportOf(store)
        const file = fileOf([...filled("b", 1_500), messageLine("nobody", 1, "x")])
        assert.strictEqual((yield* Effect.flip(store.importLog(file, { mode: "strict" })))._tag, "ImportRejected")
        assert.strictEqual(yield* staged(owner), 0)
        assert.strictEqual(
          yield* Effect.flip(store.importLog(file, { rejects: () => Effect.fail("the sink is full" as const) })),
          "the sink is full"
        )
        assert.strictEqual(
          yield* Effect.flip(store.importLog(Stream.concat(file, Stream.fail("the disk is gone" as const)))),
          "the disk is gone"
        )
        const defect = yield* Effect.exit(store.importLog(Stream.concat(file, Stream.die("bug"))))
        assert.isTrue(Exit.isFailure(defect) && Cause.hasDies(defect.cause))
        assert.strictEqual(yield* staged(owner), 0)
        assert.strictEqual(yield* exportOf(store), before)
      })
    ))
})

/** A world in which an import does everything: two pages, an existing queue, a marker in the way, a repeated id. */
const world = [...filled("here", 3).slice(0, 3), markerLine("here", 3, "m"), queueLine({ name: "there", quota: 9 })]
const everything = [
  queueLine({ name: "new", quota: 2_000, next: 9 }),
  ...filled("new", 1_100).slice(1),
  messageLine("here", 1, "here 0"),
  messageLine("here", 9, "here 9"),
  markerLine("here", 10, "m2"),
  messageLine("there", 1, "t")
]

describe("messages of a queue that the import creates, which are stored as they come", () => {
  /** Goes on after a file of which a part is stored: repeats an id, a sequence, both, and comes with a gap and out of order. */
  const sequels: Readonly<Record<string, (count: number) => ReadonlyArray<string>>> = {
    "an id": (count) => [messageLine("a", count + 1, "a 7")],
    "a sequence": () => [messageLine("a", 7, "again"), messageLine("a", 7, "and again")],
    "both": () => [messageLine("a", 7, "a 7")],
    "an id, and a marker": (count) => [messageLine("a", count + 1, "a 7"), markerLine("a", 3, "a 9")],
    "nothing": (count) => [messageLine("a", count + 9, "late"), messageLine("a", count + 5, "early")]
  }
  for (const [name, sequel] of Object.entries(sequels)) {
    // More than one piece to be stored, and, at 10,000 each, more than one to be recalled.
    it.live(`end as rule 8.5 says when the file goes on and repeats ${name}`, () =>
      place(({ owner, store }) =>
        Effect.gen(function*() {
          const memory = yield* memoryOf()
          const count = 12_000
          const file = () =>
            fileOf([...filled("a", count), ...filled("b", 1_500), ...sequel(count), messageLine("b", 1_502, "last")])
          assert.deepStrictEqual(yield* store.importLog(file()), yield* memory.importLog(file()))
          assert.strictEqual(yield* exportOf(store), yield* exportOf(memory))
          assert.deepStrictEqual(yield* store.importLog(file()), yield* memory.importLog(file()))
          assert.strictEqual(yield* exportOf(store), yield* exportOf(memory))
          assert.strictEqual(yield* staged(owner), 0)
          assert.deepStrictEqual(yield* PostgresDatabase.unsound(owner), [])
        })
      ))
  }

  it.live("also when there are more queues than an import remembers", () =>
    place(({ owner, store }) =>
      Effect.gen(function*() {
        const memory = yield* memoryOf()
        const names = Array.from({ length: 11_000 }, (_, i) => `q${i}`)
        const file = () =>
          fileOf([
            ...names.flatMap((name) => filled(name, 1)),
            messageLine("q0", 2, "one more"),
            messageLine("q1", 1, "the same sequence"),
            queueLine({ name: "q2" }),
            messageLine("q2", 2, "one more"),
            messageLine("q2", 2, "the same sequence")
          ])
        assert.deepStrictEqual(yield* store.importLog(file()), yield* memory.importLog(file()))
        assert.strictEqual(yield* exportOf(store), yield* exportOf(memory))
        assert.deepStrictEqual(yield* PostgresDatabase.unsound(owner), [])
      })
    ))
})

describe("an import that is cut off at any statement (case 100, rules 7.1 and 7.4)", () => {
  const statements = place(({ url }) =>
    Effect.gen(function*() {
      const proxy = yield* FaultProxy.make(url)
      const store = yield* storeOf(proxy.url, { notify: false })
      yield* store.importLog(fileOf(world))
      const before = (yield* proxy.statements).length
      yield* store.importLog(fileOf(everything))
      return (yield* proxy.statements).slice(before)
    })
  )

  /** What is there before an import and after it. */
  const legal = Effect.scoped(Effect.gen(function*() {
    const store = yield* memoryOf()
    yield* store.importLog(fileOf(world))
    const before = yield* exportOf(store)
    yield* store.importLog(fileOf(everything))
    return { before, after: yield* exportOf(store) }
  }))

  /** Strikes each statement of the import in turn, and looks what became of it. */
  const each = (
    fault: FaultProxy.Fault,
    use: (
      call: Effect.Effect<Exit.Exit<MessageLog.ImportReport, unknown>, never, Scope.Scope>,
      struck: FaultProxy.Struck
    ) => Effect.Effect<Exit.Exit<MessageLog.ImportReport, unknown>, unknown, Scope.Scope>,
    check: (statement: string, exit: Exit.Exit<MessageLog.ImportReport, unknown>, isApplied: boolean) => void
  ) =>
    Effect.gen(function*() {
      const texts = yield* statements
      assert.isAbove(texts.length, 10)
      const { after, before } = yield* legal
      yield* Effect.forEach(texts, (text, i) =>
        place(({ owner, store, url }) =>
          Effect.gen(function*() {
            const proxy = yield* FaultProxy.make(url)
            const victim = yield* storeOf(proxy.url, { notify: false, poolSize: 1 })
            yield* store.importLog(fileOf(world))
            assert.strictEqual(yield* exportOf(victim), before)
            const struck = yield* proxy.strike(/./, fault, i)
            const exit = yield* use(Effect.exit(victim.importLog(fileOf(everything))), struck)
            const now = yield* exportOf(store)
            assert.include([before, after], now, text)
            check(text, exit, now === after)
            assert.strictEqual(yield* staged(owner), 0)
            assert.deepStrictEqual(yield* PostgresDatabase.unsound(owner), [])
            // The store works, and what was cut off can be done again.
            yield* victim.importLog(fileOf(everything), { mode: "strict" })
            assert.strictEqual(yield* exportOf(victim), after)
          })
        ), { concurrency: 2, discard: true })
    })

  it.live("a connection that is lost before the statement has arrived: nothing is applied, except that COMMIT cannot say", () =>
    each("cutBefore", (call) => call, (statement, exit, isApplied) => {
      assert.strictEqual(reasonOf(exit), /^commit/i.test(statement) ? "OutcomeUnknown" : "Unavailable", statement)
      assert.isFalse(isApplied, statement)
    }))

  it.live("a connection that is lost before the answer has arrived: nothing is applied, except by COMMIT", () =>
    each("cutAfter", (call) => call, (statement, exit, isApplied) => {
      const isCommit = /^commit/i.test(statement)
      assert.strictEqual(reasonOf(exit), isCommit ? "OutcomeUnknown" : "Unavailable", statement)
      assert.strictEqual(isApplied, isCommit, statement)
    }))

  it.live("an interruption: nothing is applied, except by a COMMIT that was sent", () =>
    each("holdAnswer", (call, struck) =>
      Effect.gen(function*() {
        const fiber = yield* Effect.forkChild(call)
        yield* struck.reached
        const interruption = yield* Effect.forkChild(Fiber.interrupt(fiber), { startImmediately: true })
        yield* struck.release
        yield* Fiber.join(interruption)
        const exit = yield* Fiber.await(fiber)
        return Exit.isSuccess(exit) ? exit.value : Exit.failCause(exit.cause)
      }), (statement, exit, isApplied) => {
      assert.isTrue(Exit.isFailure(exit) && Cause.hasInterruptsOnly(exit.cause), statement)
      assert.strictEqual(isApplied, /^commit/i.test(statement), statement)
    }))

  it.live("an interruption while the file is slow in coming leaves nothing and gives the connection back", () =>
    place(({ owner, store }) =>
      Effect.gen(function*() {
        const stalled = yield* Deferred.make<void>()
        const file = Stream.concat(
          fileOf(filled("a", 2_500)),
          Stream.fromEffect(Effect.andThen(Deferred.succeed(stalled, undefined), Effect.never))
        )
        const fiber = yield* Effect.forkChild(store.importLog(file))
        yield* Deferred.await(stalled)
        yield* Fiber.interrupt(fiber)
        assert.strictEqual(yield* staged(owner), 0)
        assert.deepStrictEqual(yield* store.stats, {
          queues: 0,
          suspended: 0,
          latched: 0,
          messages: 0,
          markers: 0,
          tombstones: 0
        })
      }), { poolSize: 1 }))

  for (const where of ["import_messages", "messages"] as const) {
    it.live(`a backend that is terminated while it ${where === "messages" ? "merges" : "stages"} (case 72)`, () =>
      place(({ owner, store, url }) =>
        Effect.gen(function*() {
          yield* store.importLog(fileOf(world))
          const before = yield* exportOf(store)
          const victim = yield* storeOf(url, { notify: false })
          const table = yield* hold(owner, owner.unsafe(`lock table restante.${where} in exclusive mode`).unprepared)
          const call = yield* Effect.forkChild(victim.importLog(fileOf(everything)))
          yield* untilOneIsLocked(owner)
          yield* owner`
            select pg_terminate_backend(pid, 10000) from pg_stat_activity
             where datname = current_database() and wait_event_type = 'Lock'`
          const exit = yield* Fiber.await(call)
          yield* table.release
          assert.strictEqual(reasonOf(exit), "Unavailable")
          assert.strictEqual(yield* exportOf(store), before)
          assert.strictEqual(yield* staged(owner), 0)
          yield* victim.importLog(fileOf(everything))
        })
      ))
  }
})

const text = (lines: ReadonlyArray<string>) => Stream.succeed(encoder.encode(lines.map((line) => `${line}\n`).join("")))

/** A file that stops after so many lines until it is told to go on. */
const gated = Effect.fnUntraced(function*(first: ReadonlyArray<string>, rest: ReadonlyArray<string>) {
  const reached = yield* Deferred.make<void>()
  const go = yield* Latch.make()
  return {
    file: text([header, ...first]).pipe(
      // What was read before it is staged by then, in pages of 1,000.
      Stream.concat(
        Stream.fromEffect(Effect.andThen(Deferred.succeed(reached, undefined), Effect.as(go.await, start)))
      ),
      Stream.concat(text([...rest, `{"t":"end","queues":0,"entries":${first.length + rest.length}}`]))
    ),
    reached: Deferred.await(reached),
    go: go.open
  }
})

const start = new Uint8Array(0)

describe("an import beside others", () => {
  it.live("what belongs to a queue that is deleted, or even replaced, meanwhile is discarded and counted nowhere", () =>
    place(({ owner, store }) =>
      Effect.gen(function*() {
        for (const name of ["a", "b", "c"]) {
          yield* store.createQueue({ recipientId: recipientOf(name), senderId: senderOf(name) })
        }
        const entries = (name: string) =>
          Array.from({ length: 800 }, (_, i) => messageLine(name, i + 1, `${name} ${i}`))
        const { file, go, reached } = yield* gated([...entries("a"), ...entries("b"), ...entries("c")], [
          messageLine("a", 900, "late"),
          queueLine({ name: "c" })
        ])
        const fiber = yield* Effect.forkChild(store.importLog(file))
        yield* reached
        yield* store.deleteQueue(recipientOf("a"))
        yield* store.deleteQueue(recipientOf("b"))
        yield* store.compactDeleted({ before: Number.MAX_SAFE_INTEGER })
        yield* store.createQueue({ recipientId: recipientOf("b"), senderId: senderOf("b") })
        yield* store.write({ recipientId: recipientOf("b") }, message("b 0"))
        yield* go
        const report = yield* Fiber.join(fiber)
        assert.deepInclude(report, {
          messages: 800,
          duplicates: 0,
          queuesCreated: 0,
          queuesExisting: 1,
          latchedQueues: 1
        })
        assert.strictEqual(yield* store.size(recipientOf("b")), 1)
        assert.strictEqual(yield* store.size(recipientOf("c")), 801)
        assert.strictEqual(yield* staged(owner), 0)
      })
    ))

  it.live("two files at once, each with the queues of the other the other way round: one after the other", () =>
    place(({ store, url }) =>
      Effect.gen(function*() {
        const other = yield* storeOf(url)
        const queues = Array.from({ length: 60 }, (_, i) => filled(`q${i}`, 20))
        for (let round = 0; round < 3; round++) {
          const [one, two] = yield* Effect.all([
            store.importLog(fileOf(queues.flat())),
            other.importLog(fileOf(queues.toReversed().flat()))
          ], { concurrency: 2 })
          assert.strictEqual(one.messages + two.messages, round === 0 ? 1_200 : 0)
          assert.strictEqual(one.duplicates + two.duplicates, round === 0 ? 1_200 : 2_400)
        }
      })
    ))

  it.live("one that waits for another import longer than lockTimeout fails with Timeout", () =>
    place(({ owner, store, url }) =>
      Effect.gen(function*() {
        const { file, go, reached } = yield* gated(filled("a", 1_200), [])
        const first = yield* Effect.forkChild(store.importLog(file))
        yield* reached
        const impatient = yield* storeOf(url, { lockTimeout: "100 millis" })
        assert.strictEqual(reasonOf(yield* Effect.exit(impatient.importLog(fileOf(filled("b", 1))))), "Timeout")
        yield* go
        yield* Fiber.join(first)
        assert.strictEqual((yield* impatient.importLog(fileOf(filled("b", 1)))).messages, 1)
        assert.strictEqual(yield* staged(owner), 0)
      })
    ))

  it.live("existing queues are not locked while the file is read, and a lock held beyond lockTimeout is Timeout (case 71)", () =>
    place(({ owner, store, url }) =>
      Effect.gen(function*() {
        const recipientId = recipientOf("here")
        yield* store.importLog(fileOf([queueLine({ name: "here", quota: 5_000 })]))
        const { file, go, reached } = yield* gated(filled("here", 1_200), [])
        const impatient = yield* storeOf(url, { lockTimeout: "100 millis" })
        const first = yield* Effect.forkChild(impatient.importLog(file))
        yield* reached
        assert.deepInclude(yield* impatient.write({ recipientId }, message("meanwhile")), { _tag: "Accepted" })
        const lock = yield* hold(owner, owner`select from restante.queues for update`)
        yield* go
        assert.strictEqual(reasonOf(yield* Fiber.await(first)), "Timeout")
        yield* lock.release
        assert.strictEqual(yield* store.size(recipientId), 1)
        assert.strictEqual(yield* staged(owner), 0)
      })
    ))

  it.live(
    "writers, batches, readers, expiry and deletion go on beside imports, and nothing deadlocks (case 65)",
    () =>
      place(({ owner, store, url }) =>
        Effect.gen(function*() {
          const importer = yield* storeOf(url)
          const queues = Array.from({ length: 12 }, (_, i) => `q${i}`)
          const file = fileOf(queues.toReversed().flatMap((name) => filled(name, 40)))
          yield* store.importLog(file)
          const done = yield* Deferred.make<void>()
          const random = generator(7)
          const pick = () => recipientOf(queues[random(queues.length)] ?? "q0")
          let calls = 0
          const until = (call: () => Effect.Effect<unknown, unknown>) =>
            Effect.gen(function*() {
              while (!(yield* Deferred.isDone(done))) {
                const exit = yield* Effect.exit(call())
                // An import holds its queues for as long as it merges, which on a busy machine may be long.
                if (Exit.isFailure(exit)) assert.include(["Timeout", "none"], reasonOf(exit), String(exit))
                calls++
              }
            })
          const workers = yield* Effect.forkChild(Effect.all([
            until(() => store.write({ recipientId: pick() }, Message.fromText("w"))),
            until(() =>
              store.writeMany(Array.from({ length: 8 }, () => ({
                target: { recipientId: pick() },
                message: Message.fromText("b")
              })))
            ),
            until(() => {
              const recipientId = pick()
              return Effect.flatMap(
                store.peek(recipientId),
                (head) => Option.isSome(head) ? store.acknowledgeAndPeek(recipientId, head.value.id) : Effect.void
              )
            }),
            until(() => store.expireAll({ before: 8 })),
            until(() => store.createQueue({ recipientId: pick(), senderId: senderOf(`q${random(12)}`) })),
            until(() => store.recount())
          ], { concurrency: "unbounded" }))
          yield* Effect.all([
            Effect.forEach(Array.from({ length: 10 }), () => importer.importLog(file)),
            Effect.forEach(
              Array.from({ length: 10 }),
              () => importer.importLog(fileOf(queues.flatMap((name) => filled(name, 25))))
            )
          ], { concurrency: 2 })
          yield* Deferred.succeed(done, undefined)
          yield* Fiber.join(workers)
          assert.isAbove(calls, 20)
          const [database] = yield* owner<{ readonly deadlocks: bigint }>`
          select deadlocks from pg_stat_database where datname = current_database()`
          assert.strictEqual(database?.deadlocks, 0n)
          assert.deepStrictEqual(yield* PostgresDatabase.unsound(owner), [])
          assert.strictEqual(yield* staged(owner), 0)
        }), { lockTimeout: "20 seconds" }),
    120_000
  )

  it.live("a waiting reader is woken by an import into its empty queue, and by nothing before COMMIT (rule 4.15)", () =>
    place(({ store, url }) =>
      Effect.gen(function*() {
        const { recipientId } = yield* store.createQueue({ recipientId: recipientOf("a"), senderId: senderOf("a") })
        const reader = yield* storeOf(url, { arrivalsPollInterval: "1 hour" })
        const woken = yield* Effect.forkChild(Stream.runDrain(Stream.take(reader.arrivals(recipientId), 1)))
        const { file, go, reached } = yield* gated([messageLine("a", 1, "x"), ...filled("b", 1_100)], [])
        const fiber = yield* Effect.forkChild(store.importLog(file))
        yield* reached
        assert.isUndefined(woken.pollUnsafe())
        yield* go
        yield* Fiber.join(fiber)
        yield* Fiber.join(woken)
      })
    ))

  it.live("an import waits for a connection no longer than acquireTimeout, and interruptibly", () =>
    place(({ store }) =>
      Effect.gen(function*() {
        const { file, go, reached } = yield* gated(filled("a", 1_100), [])
        const first = yield* Effect.forkChild(store.importLog(file))
        yield* reached
        assert.strictEqual(reasonOf(yield* Effect.exit(store.importLog(fileOf([])))), "Unavailable")
        assert.strictEqual(reasonOf(yield* Effect.exit(Stream.runDrain(store.exportLog()))), "Unavailable")
        const waiting = yield* Effect.forkChild(store.importLog(fileOf([])), { startImmediately: true })
        yield* Fiber.interrupt(waiting)
        yield* go
        assert.strictEqual((yield* Fiber.join(first)).messages, 1_100)
      }), { poolSize: 1, acquireTimeout: "300 millis" }))
})

describe("a record that contradicts its entries is corrected by the import (rule 10.7)", () => {
  const drifts = {
    "a head cursor behind the head": "head_sequence = next_sequence",
    "a next sequence that is taken": "next_sequence = 2",
    "a size of 0": "size = 0",
    "an open latch": "latched = false"
  }
  for (const [name, drift] of Object.entries(drifts)) {
    it.live(name, () =>
      place(({ owner, store }) =>
        Effect.gen(function*() {
          const lines = [
            queueLine({ name: "a", next: 4 }),
            messageLine("a", 1, "1"),
            messageLine("a", 2, "2"),
            markerLine("a", 3, "3")
          ]
          yield* store.importLog(fileOf(lines))
          yield* owner.unsafe(`update restante.queues set ${drift}`).unprepared
          yield* store.importLog(fileOf([messageLine("a", 1, "4")]))
          const entries = yield* store.peekBatch(recipientOf("a"), { limit: 9 })
          assert.deepStrictEqual(entries.map(({ kind, sequence }) => `${kind} ${sequence}`), [
            "message 1",
            "message 2",
            "message 4",
            "quota 5"
          ])
          assert.deepStrictEqual(yield* PostgresDatabase.unsound(owner), [])
        })
      ))
  }
})

const page = (name: string | undefined, after: number) =>
  `export_page(${name === undefined ? "''" : literal(RecipientId.toBytes(recipientOf(name)))}, ${after}, 100, 1000000)`

describe("an export", () => {
  it.live("shows each queue at one instant while others write, acknowledge and delete (case 102)", () =>
    place(({ store, url }) =>
      Effect.gen(function*() {
        const names = Array.from({ length: 6 }, (_, i) => `q${i}`)
        yield* store.importLog(fileOf(names.flatMap((name) => [
          queueLine({ name, quota: 1_000_000, next: 1 }),
          ...filled(name, 400).slice(1)
        ])))
        const other = yield* storeOf(url)
        const done = yield* Deferred.make<void>()
        const workers = yield* Effect.forkChild(Effect.forEach(names, (name) =>
          Effect.gen(function*() {
            const recipientId = recipientOf(name)
            while (!(yield* Deferred.isDone(done))) {
              yield* other.writeMany(Array.from({ length: 20 }, () => ({
                target: { recipientId },
                message: Message.fromText("w")
              })))
              const [, , third] = yield* other.peekBatch(recipientId, { limit: 3 })
              if (third !== undefined) yield* other.acknowledgeThrough(recipientId, third.id)
            }
          }), { concurrency: "unbounded" }))
        for (let i = 0; i < 10; i++) {
          let next = 0n
          let last = 0n
          let queues = 0
          for (const line of (yield* exportOf(store)).split("\n")) {
            const record: Readonly<Record<string, string>> = line === "" ? {} : JSON.parse(line)
            if (record["t"] === "queue") {
              if (queues > 0) assert.strictEqual(last + 1n, next)
              next = BigInt(record["nextSequence"] ?? "0")
              last = 0n
              queues++
            } else if (record["t"] === "message") {
              const sequence = BigInt(record["sequence"] ?? "0")
              assert.isTrue(last === 0n || sequence === last + 1n)
              last = sequence
            }
          }
          assert.strictEqual(queues, names.length)
          assert.strictEqual(last + 1n, next)
        }
        yield* Deferred.succeed(done, undefined)
        yield* Fiber.join(workers)
      })
    ))

  it.live("fails with Corrupt at a damaged entry and hands nothing of it out (rule 7.5)", () =>
    place(({ owner, store }) =>
      Effect.gen(function*() {
        yield* store.importLog(fileOf([...filled("a", 2), ...filled("b", 3)]))
        yield* owner.unsafe("alter domain restante.entry_kind drop constraint entry_kind_check").unprepared
        yield* owner.unsafe("alter domain restante.body drop constraint body_check").unprepared
        for (const damage of ["kind = 'x'", "kind = 'q'", "body = convert_to(repeat('x', 9 * 1024 * 1024), 'UTF8')"]) {
          yield* owner.unsafe(
            `update restante.messages set ${damage} where sequence = 2 and message_id = convert_to('b 1', 'UTF8')`
          ).unprepared
          let bytes = ""
          const exit = yield* Effect.exit(Stream.runForEach(store.exportLog(), (chunk) =>
            Effect.sync(() =>
              void (bytes += Buffer.from(chunk).toString())
            )))
          assert.strictEqual(reasonOf(exit), "Corrupt", damage)
          assert.notInclude(bytes, MessageId.named("b 1"))
        }
      })
    ))

  it.live("has every body, whatever lies next to it and however little may be read at once (rule 8.8)", () =>
    Effect.scoped(Effect.gen(function*() {
      const limits = { maxBodyBytes: 20_000, maxBatchBytes: 65_536 }
      const postgres = yield* storeOf(yield* emptyDatabase, limits)
      const memory = yield* memoryOf(limits)
      const sizes = [1, 20_000, 0, 65_536, 65_537, 1, 300_000, 9]
      const file = () =>
        fileOf([
          ...filled("a", 1_500),
          queueLine({ name: "b", next: 1_201, quota: 2_000 }),
          ...Array.from(
            { length: 1_200 },
            (_, i) =>
              messageLine("b", i + 1, `b ${i}`, "x".repeat(i % 150 < sizes.length ? sizes[i % 150] ?? 0 : i % 40))
          ),
          ...filled("c", 2_500)
        ])
      yield* postgres.importLog(file(), { mode: "strict" })
      yield* memory.importLog(file(), { mode: "strict" })
      assert.strictEqual(yield* digestOf(postgres), yield* digestOf(memory))
    })))

  it.live("ends its transaction when the consumer has enough, fails, or is interrupted", () =>
    place(({ owner, store }) =>
      Effect.gen(function*() {
        yield* store.importLog(fileOf(filled("a", 3_000)))
        const open = Effect.map(
          owner<{ readonly n: number }>`
            select count(*)::int4 as n from pg_stat_activity
             where datname = current_database() and application_name = 'restante' and state <> 'idle'`,
          (rows) => rows[0]?.n
        )
        yield* Stream.runDrain(Stream.take(store.exportLog(), 2))
        assert.strictEqual(yield* open, 0)
        // The first piece is the header, before which nothing is asked.
        const pages = Stream.drop(store.exportLog(), 1)
        yield* Effect.flip(Stream.runForEach(pages, () => Effect.fail("enough")))
        assert.strictEqual(yield* open, 0)
        const reached = yield* Deferred.make<void>()
        const fiber = yield* Effect.forkChild(
          Stream.runForEach(pages, () => Effect.andThen(Deferred.succeed(reached, undefined), Effect.never))
        )
        yield* Deferred.await(reached)
        // A consumer that is slow sits inside no statement.
        assert.strictEqual(yield* open, 1)
        yield* Fiber.interrupt(fiber)
        assert.strictEqual(yield* open, 0)
        assert.strictEqual((yield* exportOf(store)).split("\n").length, 3_004)
      }), { poolSize: 1, statementTimeout: "5 seconds" }))

  it.live("costs a page the same wherever it is, in one long queue and among many small ones (rule 10.6)", () =>
    place(({ owner, store }) =>
      Effect.gen(function*() {
        yield* store.importLog(fileOf([
          ...filled("m long", 20_000),
          ...Array.from({ length: 5_000 }, (_, i) => queueLine({ name: `n empty ${String(i).padStart(5, "0")}` }))
        ]))
        const touched = yield* buffersOf(owner, {
          first: page(undefined, 0),
          middle: page("m long", 10_000),
          end: page("m long", 19_800),
          empty: page("n empty 00010", 0),
          last: page("n empty 04800", 0)
        })
        for (const [place, pages] of Object.entries(touched)) assert.isBelow(pages, 350, place)
      })
    ))
})

describe("1,000,000 records with bodies of 100 bytes and a heap of 256 MiB (case 90)", () => {
  const program = new URL("./fixtures/msg-store/logProgram.ts", import.meta.url).pathname

  for (const [format, queues] of [["restante", 1_000], ["simplex-v3", 1]] as const) {
    it.live(
      `${format}, in ${queues === 1 ? "one queue" : `${queues} queues`}`,
      () =>
        Effect.scoped(Effect.gen(function*() {
          const url = yield* emptyDatabase
          const { stdout } = yield* Effect.promise(() =>
            promisify(execFile)(process.execPath, [
              "--max-old-space-size=256",
              program,
              Redacted.value(url),
              format,
              "1000000",
              String(queues)
            ])
          )
          const told: Readonly<Record<string, unknown>> = JSON.parse(stdout)
          assert.deepInclude(told, { messages: 1_000_000, same: true })
          // Buffers are not on the heap.
          assert.isBelow(Number(told["maxRssMiB"]), 600)
        })),
      600_000
    )
  }
})

const client = (of: Redacted.Redacted, options: PgClient.PgPoolConfig = {}) => {
  const sql = PgClient.layer({ url: of, maxConnections: 3, ...options })
  return Effect.map(
    Layer.build(Layer.fresh(Layer.provideMerge(PgMsgStore.layerClient({ poolSize: 3 }), sql))),
    (context) => ({ store: Context.get(context, MsgStore.MsgStore), sql: Context.get(context, PgClient.PgClient) })
  )
}

describe("over a client of the caller's", () => {
  for (
    const [name, options] of Object.entries({
      "plain": {},
      "multiplexed": { multiplex: true },
      "without prepared statements": { prepare: false }
    })
  ) {
    it.live(`${name}: records travel without COPY, to the same end`, () =>
      place(({ owner, store, url }) =>
        Effect.gen(function*() {
          const { store: plain } = yield* client(url, options)
          const memory = yield* memoryOf()
          for (const file of [world, everything, everything]) {
            assert.deepStrictEqual(yield* plain.importLog(fileOf(file)), yield* memory.importLog(fileOf(file)))
          }
          const text = yield* exportOf(plain)
          assert.strictEqual(text, yield* exportOf(memory))
          assert.strictEqual(text, yield* exportOf(store))
          assert.strictEqual(yield* staged(owner), 0)
        })
      ))
  }

  it.live("an import in the caller's transaction is undone with it; an export sees what is committed", () =>
    place(({ owner, url }) =>
      Effect.gen(function*() {
        const { sql, store } = yield* client(url)
        yield* store.importLog(fileOf(world))
        const before = yield* exportOf(store)
        yield* owner`create table notes (line int)`
        const undone = yield* Effect.exit(sql.withTransaction(Effect.gen(function*() {
          const report = yield* store.importLog(fileOf([...everything, messageLine("nobody", 1, "x")]), {
            // What the caller does meanwhile is in the same transaction, nested ones included.
            rejects: ({ line }) => sql.withTransaction(sql`insert into notes values (${line})`)
          })
          assert.strictEqual(report.messages, 1_102)
          assert.strictEqual(yield* store.size(recipientOf("new")), 1_100)
          assert.strictEqual(yield* exportOf(store), before)
          // A second one in the same transaction, and one that fails without spoiling it.
          assert.strictEqual((yield* store.importLog(fileOf(everything))).duplicates, 1_103)
          yield* Effect.flip(store.importLog(fileOf(["{}"]), { mode: "strict" }))
          assert.strictEqual((yield* sql`select * from notes`).length, 1)
          return yield* Effect.fail("no")
        })))
        assert.isTrue(Exit.isFailure(undone))
        assert.strictEqual(yield* exportOf(store), before)
        assert.strictEqual(yield* staged(owner), 0)
        yield* sql.withTransaction(store.importLog(fileOf(everything)))
        assert.notStrictEqual(yield* exportOf(store), before)
      })
    ))
})

/**
 * A store as a file, and a file into a store (section 8). Cases about whole exports have a store of their own.
 */
import { Array as Arr, Deferred, Effect, Exit, Fiber, Option, Result, Stream } from "effect"
import type { Message, MessageLog, MsgStoreDriver } from "restante"
import { MessageId, RecipientId, SenderId } from "restante"
import type { Store } from "./case.ts"
import { group, test } from "./case.ts"
import * as Expect from "./expectation.ts"
import {
  acceptedFirst,
  allEntries,
  alreadyStored,
  bytes,
  entry,
  filled,
  freshQueue,
  id,
  label,
  marker,
  message,
  names,
  queueUnderTest,
  quotaExceeded,
  quotaReached,
  times,
  unchecked,
  unknownQueue
} from "./fixture.ts"
import { end, header, printLine } from "./logText.ts"

const ownStore = { emptyStorage: true } as const
const formats: ReadonlyArray<MessageLog.Format> = ["restante", "simplex-v3"]

const decoder = new TextDecoder("utf-8", { ignoreBOM: true })

/** An export as one text. */
const exported = (store: Store, format?: MessageLog.Format) =>
  Effect.map(
    Stream.runCollect(store.exportLog({ format })),
    (pieces) => pieces.map((piece) => decoder.decode(piece)).join("")
  )

/** The part of an export that is about one queue, without line ends. */
const exportedOf = (store: Store, recipientId: RecipientId) =>
  Effect.map(exported(store), (text) => text.split("\n").filter((line) => line.includes(`"${recipientId}"`)))

/** Bytes in pieces of this size, so that lines are cut anywhere. */
const inPieces = (text: string | Uint8Array, size: number): Stream.Stream<Uint8Array> => {
  const all = typeof text === "string" ? bytes(text) : text
  return Stream.fromIterable(times(Math.ceil(all.length / size), (i) => all.subarray(i * size, (i + 1) * size)))
}

/** Imports a text that arrives in uneven pieces. */
const importText = <E = never, R = never>(store: Store, text: string, options?: MessageLog.ImportOptions<E, R>) =>
  store.importLog(inPieces(text, 1_013), options)

/** A log of these lines; a record is printed, anything else is a line as it is. */
const log = (
  lines: ReadonlyArray<MsgStoreDriver.LogRecord | string>,
  format: MessageLog.Format = "restante"
): string => {
  const printed = lines.map((line) => typeof line === "string" ? line : printLine(line, format) ?? "")
  const framed = format === "restante" ? [header, ...printed, end(0, printed.length)] : printed
  return framed.map((line) => `${line}\n`).join("")
}

type Ids = { readonly recipientId: RecipientId; readonly senderId: SenderId }

const newIds = (): Ids => ({ recipientId: RecipientId.randomUnsafe(), senderId: SenderId.randomUnsafe() })

const queueLine = (
  { recipientId, senderId }: Ids,
  queue: Partial<Omit<MsgStoreDriver.LogQueue, "recipientId" | "senderId">> = {}
): MsgStoreDriver.LogRecord => ({
  _tag: "Queue",
  queue: {
    recipientId,
    senderId,
    quota: undefined,
    status: "active",
    createdAt: 1_000,
    updatedAt: 2_000,
    nextSequence: 1n,
    ...queue
  }
})

const entryLine = ({ recipientId }: { readonly recipientId: RecipientId }, entry: Message.Entry) =>
  ({ _tag: "Entry", recipientId, entry }) as const

/** A report in which all counts but these are 0. */
const report = (
  counts: Partial<Omit<MessageLog.ImportReport, "rejected" | "rejections">>,
  rejections: ReadonlyArray<readonly [line: number, reason: MessageLog.RejectionReason]> = []
): MessageLog.ImportReport => {
  const of = (reason: MessageLog.RejectionReason) => rejections.filter((rejection) => rejection[1] === reason).length
  return {
    lines: 0,
    queuesCreated: 0,
    queuesExisting: 0,
    messages: 0,
    duplicates: 0,
    latchedQueues: 0,
    ...counts,
    rejected: {
      Malformed: of("Malformed"),
      LineTooLong: of("LineTooLong"),
      BodyTooLarge: of("BodyTooLarge"),
      QueueNotFound: of("QueueNotFound"),
      QueueConflict: of("QueueConflict"),
      CountMismatch: of("CountMismatch")
    },
    rejections: rejections.map(([line, reason]) => ({ line, reason }))
  }
}

const rejectedWith = (expected: MessageLog.ImportReport) => ({ _tag: "ImportRejected", report: expected })

/** A sink that remembers what it was given, as texts. */
const remembering = () => {
  const lines: Array<readonly [line: number, reason: string, raw: string]> = []
  return {
    lines,
    rejects: ({ line, raw, reason }: MessageLog.RejectedLine) =>
      Effect.sync(() => {
        lines.push([line, reason, decoder.decode(raw)])
      })
  }
}

/** A queue of a log, and the calls on it once it is there. */
const logged = (store: Store, ids: Ids = newIds()) => queueUnderTest(store, ids.recipientId, ids.senderId)

/**
 * The line of a message whose id and body are the same text, without building it from a record: there are many of them.
 * Neither text needs padding.
 */
const numberedLine = (format: MessageLog.Format, recipientId: RecipientId, sequence: bigint, text: MessageId): string =>
  format === "simplex-v3"
    ? `v3 ${recipientId} ${text} 1 flags=F ${text}`
    : `{"t":"message","recipientId":"${recipientId}","sequence":"${sequence}","id":"${text}","timestamp":1000,` +
      `"notify":false,"body":"${text}"}`

/** The value of a field of a printed line whose values are texts of digits. */
const numberIn = (line: string | undefined, field: string): number =>
  Number(new RegExp(`"${field}":"(\\d+)"`).exec(line ?? "")?.[1])

/** Three messages of a queue. */
const three = (queue: Ids) => names(3).map((name, i) => entryLine(queue, entry(name, BigInt(i + 1))))

/** A store with something of everything: what an export has to carry. */
const fill = Effect.fnUntraced(function*(store: Store) {
  const latched = yield* freshQueue(store, { quota: 3, holding: names(4) })
  yield* latched.acknowledgeThrough("M2")
  yield* freshQueue(store, { quota: 0, holding: ["M1"] })
  const drained = yield* freshQueue(store, { holding: names(5) })
  yield* drained.acknowledgeThrough("M5")
  const suspended = yield* freshQueue(store, { holding: names(2), quota: 2_147_483_647 })
  yield* suspended.setStatus("suspended")
  const bodies = yield* freshQueue(store, { quota: 400 })
  for (const size of [0, 1, 2, 3, 255]) yield* bodies.write(`B${size}`, { body: filled(size, size), notify: true })
  yield* bodies.write("all bytes", { body: Uint8Array.from(times(256, (i) => i)), timestamp: 9_007_199_254_740_991 })
  yield* bodies.write("first time", { timestamp: 0 })
  const deleted = yield* freshQueue(store, { holding: names(3) })
  yield* deleted.delete
  // The order of ids is that of their bytes, not of their texts; the shortest and the longest are among them.
  for (const first of [0, 65, 105, 200, 211, 248, 255]) {
    for (const length of [1, 2, 64]) {
      const name = new Uint8Array(length).fill(first)
      const recipientId = Result.getOrThrow(RecipientId.fromBytes(name))
      const { senderId } = yield* store.createQueue({ recipientId })
      yield* store.write({ senderId }, message("M1"))
    }
  }
})

const wholeLogs = group("K Export and import", [
  test("an export imported into an empty store is exported as the same bytes", [
    "88",
    "8.2",
    "8.3",
    "54"
  ], function*({ openEmpty }) {
    const first = yield* Effect.scoped(Effect.gen(function*() {
      const store = yield* openEmpty({})
      yield* fill(store)
      return yield* exported(store)
    }))
    yield* Effect.scoped(Effect.gen(function*() {
      const store = yield* openEmpty({})
      const lines = first.split("\n").length - 1
      Expect.same(
        "the report",
        yield* importText(store, first, { mode: "strict" }),
        report({ lines, queuesCreated: 26, messages: 31, latchedQueues: 2 })
      )
      Expect.same("the second export", yield* exported(store), first)
      const stats = yield* store.stats
      Expect.same("a deleted queue left no trace", [stats.queues, stats.tombstones], [26, 0])
    }))
    const ids = first.split("\n").filter((line) => line.startsWith(`{"t":"queue"`)).map((line) =>
      Array.from(
        RecipientId.toBytes(Result.getOrThrow(RecipientId.parse(line.split(`"`)[7] ?? ""))),
        (byte) => byte.toString(16).padStart(2, "0")
      ).join("")
    )
    Expect.same("queues are in the order of their recipient ids", ids, ids.toSorted())
  }, ownStore),

  test("the lossless format is written field by field as it is specified", ["88", "8.1"], function*({ openEmpty }) {
    const store = yield* openEmpty({})
    Expect.same("an empty store", yield* exported(store), `${header}\n${end(0, 0)}\n`)
    Expect.same("an empty store in the other format", yield* exported(store, "simplex-v3"), "")
    const queue = logged(store, { recipientId: RecipientId.named("r"), senderId: SenderId.named("s") })
    const text = [
      `{"t":"header","format":"restante","version":1}`,
      `{"t":"queue","recipientId":"cg","senderId":"cw","quota":2,"status":"suspended","createdAt":10,"updatedAt":20,"nextSequence":"12"}`,
      `{"t":"message","recipientId":"cg","sequence":"5","id":"TTE","timestamp":1999,"notify":true,"body":"TTE"}`,
      `{"t":"message","recipientId":"cg","sequence":"8","id":"TTI","timestamp":2000,"notify":false,"body":""}`,
      `{"t":"quota","recipientId":"cg","sequence":"9","id":"TTM","timestamp":3}`,
      `{"t":"end","queues":1,"entries":3}`,
      ""
    ].join("\n")
    Expect.same(
      "the report",
      yield* importText(store, text, { mode: "strict" }),
      report({ lines: 6, queuesCreated: 1, messages: 2, latchedQueues: 1 })
    )
    Expect.same("the record", yield* queue.record, {
      recipientId: queue.recipientId,
      senderId: queue.senderId,
      quota: 2,
      status: "suspended",
      size: 3,
      latched: true,
      firstSequence: 5n,
      nextSequence: 12n,
      createdAt: 10,
      updatedAt: 20
    })
    Expect.same("the entries", yield* queue.entries, [
      entry("M1", 5n, { timestamp: 1_999, notify: true }),
      entry("M2", 8n, { timestamp: 2_000, body: filled(0) }),
      marker("M3", 9n, 3)
    ])
    Expect.same("the export", yield* exported(store), text)
    Expect.same(
      "the export in the other format, whose seconds are rounded down",
      yield* exported(store, "simplex-v3"),
      "v3 cg== TTE= 1 flags=T TTE=\nv3 cg== TTI= 2 flags=F \nv3 cg== TTM= 0 quota\n"
    )
  }, ownStore),

  test("logs of any number of entries come back without loss, duplicate or reordering, in both formats", [
    "89",
    "8.8"
  ], function*({ openEmpty }) {
    const store = yield* openEmpty({ maxBatchBytes: 65_536 })
    const texts = times(2_001, (i) => id(`M${i}`.padEnd(6)))
    for (const count of [0, 1, 999, 1_000, 1_001, 2_000, 2_001]) {
      for (const spread of [1, 7]) {
        const ids = times(spread, newIds)
        for (const { recipientId, senderId } of ids) yield* store.createQueue({ recipientId, senderId, quota: 5_000 })
        for (const format of formats) {
          // A queue that was emptied gives the next sequences, in which the other format has none of its own.
          const empty = yield* Effect.forEach(ids, ({ recipientId }) => store.getQueue({ recipientId }))
          const entries = times(count, (i) => {
            const { nextSequence, recipientId } = Arr.getUnsafe(empty, i % spread)
            const sequence = nextSequence + BigInt(Math.floor(i / spread))
            const text = Arr.getUnsafe(texts, i)
            return { recipientId, sequence, line: numberedLine(format, recipientId, sequence, text) }
          })
          Expect.same(
            `${format}: the report of ${count} entries over ${spread} queues`,
            yield* importText(store, log(entries.map(({ line }) => line), format), { format, mode: "strict" }),
            report({ lines: count + (format === "restante" ? 2 : 0), messages: count })
          )
          const text = yield* exported(store, format)
          for (const { recipientId } of ids) {
            const own = entries.filter((line) => line.recipientId === recipientId)
            const section = own.map(({ line }) => `${line}\n`).join("")
            const name = format === "restante" ? `:"${recipientId}"` : recipientId
            Expect.holds(`${format}: the ${own.length} lines of a queue are exported together`, text.includes(section))
            Expect.same(
              `${format}: how often an export of ${count} entries names a queue`,
              text.split(name).length - 1,
              own.length + (format === "restante" ? 1 : 0)
            )
            Expect.same(`${format}: the size`, yield* store.size(recipientId), own.length)
            yield* store.acknowledgeThrough(recipientId, { sequence: own.at(-1)?.sequence ?? 0n })
          }
        }
        for (const { recipientId } of ids) yield* store.deleteQueue(recipientId)
      }
    }
  }, ownStore),

  test("the log of a SimpleX server is imported with whole seconds and exported as the same bytes", [
    "91",
    "8.1"
  ], function*({ openEmpty }) {
    const store = yield* openEmpty({})
    const [a, b] = [RecipientId.named("recipient a"), RecipientId.named("recipient b, longer")]
    for (const recipientId of [a, b]) yield* store.createQueue({ recipientId, quota: 2 })
    const text = [
      "v3 cmVjaXBpZW50IGE= bTE= 1700000000 flags=T aGVsbG8=",
      "v3 cmVjaXBpZW50IGE= bTI= 1699999999 flags=F AP_-",
      "v3 cmVjaXBpZW50IGE= bTM= 1700000001 quota",
      "v3 cmVjaXBpZW50IGIsIGxvbmdlcg== bTE= 0 flags=F _w==",
      ""
    ].join("\n")
    Expect.same(
      "the report",
      yield* importText(store, text, { format: "simplex-v3", mode: "strict" }),
      report({ lines: 4, messages: 3, latchedQueues: 1 })
    )
    Expect.same("the entries", yield* allEntries(store, a), [
      { kind: "message", id: id("m1"), timestamp: 1_700_000_000_000, notify: true, body: bytes("hello"), sequence: 1n },
      {
        kind: "message",
        id: id("m2"),
        timestamp: 1_699_999_999_000,
        notify: false,
        body: Uint8Array.of(0, 255, 254),
        sequence: 2n
      },
      marker("m3", 3n, 1_700_000_001_000)
    ])
    Expect.same("the export", yield* exported(store, "simplex-v3"), text)
  }, ownStore),

  test("an export during writes shows each queue at one instant", ["102", "8.2"], function*({ openEmpty }) {
    const store = yield* openEmpty({ defaultQuota: 100_000 })
    const queues = yield* Effect.forEach(names(6), () => freshQueue(store))
    const stop = yield* Deferred.make<void>()
    const writer = yield* Effect.forkChild(Effect.forEach(queues, (queue) => {
      const step = (i: number): Effect.Effect<void, unknown> =>
        Effect.flatMap(Deferred.isDone(stop), (done) =>
          done ? Effect.void : queue.write(`M${i}`).pipe(
            Effect.andThen(i % 3 === 0 ? queue.acknowledgeThrough({ sequence: BigInt(i - 1) }) : Effect.void),
            Effect.andThen(Effect.yieldNow),
            Effect.andThen(Effect.suspend(() => step(i + 1)))
          ))
      return step(1)
    }, { concurrency: "unbounded", discard: true }))
    let seen = 0
    for (let round = 0; round < 20 || (seen === 0 && round < 2_000); round++) {
      const text = yield* exported(store)
      for (const { recipientId } of queues) {
        const lines = text.split("\n").filter((line) => line.includes(`"${recipientId}"`))
        const sequences = lines.slice(1).map((line) => numberIn(line, "sequence"))
        const next = numberIn(lines[0], "nextSequence")
        seen += sequences.length
        Expect.same(
          `round ${round}: the sequences of one queue`,
          sequences,
          sequences.map((_, i) => next - sequences.length + i)
        )
      }
    }
    yield* Deferred.succeed(stop, undefined)
    yield* Fiber.join(writer)
    Expect.holds("entries were seen", seen > 0)
  }, ownStore),

  test("zero bytes are a valid log of the one format and not of the other", ["98", "8.4"], function*({ openEmpty }) {
    const store = yield* openEmpty({})
    Expect.same(
      "simplex-v3",
      yield* store.importLog(Stream.empty, { format: "simplex-v3", mode: "strict" }),
      report({})
    )
    for (const mode of ["tolerant", "strict"] as const) {
      yield* Expect.failsWith(
        `restante, ${mode}`,
        store.importLog(Stream.empty, { mode }),
        rejectedWith(report({}, [[1, "Malformed"]]))
      )
      yield* Expect.failsWith(
        `empty lines, ${mode}`,
        importText(store, "\n\n", { mode }),
        rejectedWith(report({ lines: 2 }, [[2, "Malformed"]]))
      )
    }
    Expect.same("the store", yield* exported(store), `${header}\n${end(0, 0)}\n`)
  }, ownStore)
])

const merging = group("K Export and import", [
  test("a restored latch holds until the queue has been emptied", ["93", "8.5"], function*({ store }) {
    const queue = logged(store)
    const file = log([
      queueLine(queue, { nextSequence: 9n }),
      entryLine(queue, entry("M1", 1n)),
      entryLine(queue, marker("M2", 2n))
    ])
    yield* importText(store, file)
    Expect.same("a write", yield* queue.write("M3"), quotaExceeded)
    Expect.same("the id of the marker again", yield* queue.write("M2"), quotaReached)
    Expect.same("the id of the message again", yield* queue.write("M1"), alreadyStored(1n))
    Expect.same("the message goes", yield* queue.remove("M1"), "M1")
    Expect.same("a write with only the marker left", yield* queue.write("M3"), quotaExceeded)
    Expect.same("the marker goes", yield* queue.remove("M2"), "Q(M2)")
    Expect.same("a write when empty", yield* queue.write("M3"), acceptedFirst(9n))
  }),

  test("of several markers in a file the last one is kept, at the tail", ["93", "8.5"], function*({ store }) {
    const queue = logged(store)
    const file = log([
      queueLine(queue),
      entryLine(queue, marker("Q1", 1n)),
      entryLine(queue, entry("M1", 2n)),
      entryLine(queue, marker("Q3", 6n, 77)),
      entryLine(queue, marker("Q2", 3n)),
      entryLine(queue, entry("M2", 8n))
    ])
    Expect.same(
      "the report",
      yield* importText(store, file),
      report({ lines: 8, queuesCreated: 1, messages: 2, latchedQueues: 1 })
    )
    Expect.same("the entries", yield* queue.entries, [entry("M1", 2n), entry("M2", 8n), marker("Q3", 9n, 77)])
    Expect.same("the record", (yield* queue.record).nextSequence, 10n)
  }),

  test("five rounds of export and import add nothing", ["93", "97", "8.6"], function*({ store }) {
    const queue = yield* freshQueue(store, { quota: 2, holding: names(3) })
    const first = yield* exportedOf(store, queue.recipientId)
    for (const round of names(5, "round ")) {
      const again = yield* importText(store, log(yield* exportedOf(store, queue.recipientId)), { mode: "strict" })
      Expect.same(round, again, report({ lines: 6, queuesExisting: 1, duplicates: 2, latchedQueues: 1 }))
      Expect.same(`${round}: the export`, yield* exportedOf(store, queue.recipientId), first)
    }
  }),

  test("more messages than the quota are all kept, and a derived marker latches the queue", [
    "94",
    "8.5"
  ], function*({ openEmpty }) {
    const store = yield* openEmpty({})
    // Worked out by another program: SHA-256 of the label, the recipient id and the id of the last message.
    const recipientId = RecipientId.named("recipient")
    const derived = Result.getOrThrow(MessageId.parse("Xl0dkQAnM2Fi6jMheaAmMP10g0VIYk6I"))
    const queue = logged(store, { recipientId, senderId: SenderId.randomUnsafe() })
    const lines = ["M1", "M2", "M3"].map((name, i) =>
      entryLine(queue, entry(name, BigInt(i + 4), { timestamp: 10 + i }))
    )
    Expect.same(
      "the report",
      yield* importText(store, log([queueLine(queue, { quota: 2 }), ...lines])),
      report({ lines: 6, queuesCreated: 1, messages: 3, latchedQueues: 1 })
    )
    Expect.same("the entries", yield* queue.entries, [
      ...lines.map((line) => line.entry),
      { ...marker("any", 7n, 12), id: derived }
    ])
    Expect.same("a write", yield* queue.write("M4"), quotaExceeded)
    Expect.same(
      "the id of the marker",
      yield* store.write(queue.writer, { id: derived, body: filled(1) }),
      quotaReached
    )
  }, ownStore),

  test("the quota that counts is the queue's own, else the default of the importing store", [
    "94",
    "8.5"
  ], function*({ open }) {
    const store = yield* open({ defaultQuota: 2 })
    const [own, following, full] = [logged(store), logged(store), logged(store)]
    yield* importText(
      store,
      log([
        queueLine(own, { quota: 3 }),
        ...three(own),
        queueLine(following),
        ...three(following),
        queueLine(full),
        ...three(full).slice(0, 2)
      ])
    )
    Expect.same("its own", (yield* own.record).latched, false)
    Expect.same("a write over it", yield* own.write("M4"), quotaReached)
    Expect.same("the default", (yield* following.record).latched, true)
    Expect.same("exactly full", (yield* full.record).latched, false)
  }),

  test("a marker whose id a message has gets the derived id and keeps its time", ["8.5", "2.11"], function*({ store }) {
    const queue = logged(store)
    yield* importText(
      store,
      log([queueLine(queue), entryLine(queue, entry("M1", 1n)), entryLine(queue, marker("M1", 2n, 77))])
    )
    const [first, second, ...rest] = yield* queue.entries
    Expect.same("the message", first, entry("M1", 1n))
    Expect.same("the marker", second === undefined ? undefined : { ...second, id: id("M1") }, marker("M1", 2n, 77))
    Expect.holds("its id is another", second?.id !== id("M1"))
    Expect.same("no more", rest, [])
    Expect.same("the message is found by its id", yield* queue.write("M1"), alreadyStored(1n))

    // The other way round: a file has a message with the id of the marker that is there.
    const latched = yield* freshQueue(store, { quota: 1, holding: ["M1", "M2"] })
    yield* importText(store, log([entryLine(latched, entry("M2", 1n))]))
    Expect.same("the messages", (yield* latched.entries).slice(0, 2), [entry("M1", 1n), entry("M2", 3n)])
    Expect.same(
      "the sequence of the marker",
      (yield* latched.entries).slice(2).map((entry) => [entry.kind, entry.sequence]),
      [
        ["quota", 4n]
      ]
    )
    Expect.same("the message that took its id", yield* latched.write("M2"), alreadyStored(3n))
  }),

  test("what is stored already is a duplicate, and importing the same file again changes nothing", [
    "97",
    "8.5",
    "8.6"
  ], function*({ store }) {
    const queue = yield* freshQueue(store, { holding: ["M1", "M2"] })
    const file = log([
      queueLine(queue, { quota: 1, status: "suspended", nextSequence: 50n }),
      entryLine(queue, entry("M2", 1n, { body: bytes("another body") })),
      entryLine(queue, entry("M3", 2n)),
      entryLine(queue, entry("M4", 20n)),
      entryLine(queue, entry("M3", 21n))
    ])
    const before = yield* queue.record
    Expect.same(
      "the first report",
      yield* importText(store, file),
      report({ lines: 7, queuesExisting: 1, messages: 2, duplicates: 2 })
    )
    Expect.same("the entries", yield* queue.entries, [
      entry("M1", 1n),
      entry("M2", 2n),
      entry("M3", 3n),
      entry("M4", 20n)
    ])
    Expect.same("the record", yield* queue.record, { ...before, size: 4, nextSequence: 21n })
    const state = yield* queue.state
    Expect.same(
      "the second report",
      yield* importText(store, file),
      report({ lines: 7, queuesExisting: 1, duplicates: 4 })
    )
    Expect.same("the queue", yield* queue.state, state)
  }),

  test("entries are taken in the order of their sequences, and without sequences in that of the file", [
    "8.5"
  ], function*({ store }) {
    const queue = logged(store)
    yield* importText(
      store,
      log([
        queueLine(queue),
        entryLine(queue, entry("M5", 9n)),
        entryLine(queue, entry("M1", 1n)),
        entryLine(queue, entry("M3", 4n)),
        entryLine(queue, entry("M2", 2n)),
        entryLine(queue, entry("M4", 4n))
      ])
    )
    Expect.same("by sequence", (yield* queue.entries).map((entry) => [label(entry), entry.sequence]), [
      ["M1", 1n],
      ["M2", 2n],
      ["M3", 4n],
      ["M4", 5n],
      ["M5", 9n]
    ])
    const other = yield* freshQueue(store, { holding: ["A"] })
    const lines = ["C", "B", "D"].map((name, i) => entryLine(other, entry(name, BigInt(9 - i), { timestamp: 1_000 })))
    yield* importText(store, log(lines, "simplex-v3"), { format: "simplex-v3" })
    Expect.same("by line", (yield* other.entries).map((entry) => [label(entry), entry.sequence]), [
      ["A", 1n],
      ["C", 2n],
      ["B", 3n],
      ["D", 4n]
    ])
  }),

  test("the marker of a latched queue moves behind what is appended, and stays when nothing is", [
    "8.5",
    "I2"
  ], function*({ store }) {
    const queue = yield* freshQueue(store, { quota: 1, holding: ["M1", "M2"] })
    yield* importText(store, log([entryLine(queue, entry("M1", 1n)), entryLine(queue, marker("Q9", 9n, 9))]))
    Expect.same("nothing appended", yield* queue.entries, [entry("M1", 1n), marker("M2", 2n)])
    yield* importText(store, log([entryLine(queue, entry("M3", 1n))]))
    Expect.same("one appended", yield* queue.entries, [entry("M1", 1n), entry("M3", 3n), marker("M2", 4n)])
    yield* importText(store, log([entryLine(queue, entry("M4", 1n)), entryLine(queue, marker("Q9", 9n, 9))]))
    Expect.same("one appended, with a marker in the file", yield* queue.entries, [
      entry("M1", 1n),
      entry("M3", 3n),
      entry("M4", 5n),
      marker("Q9", 9n, 9)
    ])
  }),

  test("a marker in the file latches a queue that was not, even an empty one", ["8.5", "I3"], function*({ store }) {
    const queue = yield* freshQueue(store, { quota: 5, holding: ["M1"] })
    yield* importText(store, log([entryLine(queue, marker("Q", 1n))]))
    Expect.same("the entries", yield* queue.labels, ["M1", "Q(Q)"])
    Expect.same("a write", yield* queue.write("M2"), quotaExceeded)
    const empty = yield* freshQueue(store)
    yield* importText(store, log([entryLine(empty, marker("Q", 7n))]))
    Expect.same("the marker", yield* empty.entries, [marker("Q", 7n)])
  }),

  test("an import ignores the status, expires nothing and takes bodies that could not be written", [
    "8.5",
    "101"
  ], function*({ open }) {
    const store = yield* open({ maxBodyBytes: 10, maxBatchBytes: 64 })
    const queue = yield* freshQueue(store, { status: "suspended" })
    const large = filled(300_000, 200)
    yield* importText(
      store,
      log([entryLine(queue, entry("M1", 1n, { timestamp: 0 })), entryLine(queue, entry("M2", 2n, { body: large }))])
    )
    Expect.same("the first", yield* queue.peek, Option.some(entry("M1", 1n, { timestamp: 0 })))
    yield* queue.acknowledge("M1")
    Expect.same("the large one", yield* queue.peek, Option.some(entry("M2", 2n, { body: large })))
  })
])

const rejecting = group("K Export and import", [
  test("a bad line is left out of a tolerant import, fails a strict one, and is handed to the sink as it was", [
    "95",
    "8.4",
    "8.7"
  ], function*({ store }) {
    for (const format of formats) {
      const queue = yield* freshQueue(store)
      const good = [entryLine(queue, entry("M1", 1n)), entryLine(queue, entry("M2", 2n))]
      const cut = (printLine(entryLine(queue, entry("M3", 3n)), format) ?? "").slice(0, 40)
      const text = log(["nonsense first", ...good, cut], format)
      const first = format === "restante" ? 2 : 1
      const lines = format === "restante" ? 6 : 4
      const rejections = [[first, "Malformed"], [first + 3, "Malformed"]] as const
      const sink = remembering()
      yield* Expect.failsWith(
        `${format}, strict`,
        importText(store, text, { format, mode: "strict", rejects: sink.rejects }),
        rejectedWith(report({ lines }, rejections))
      )
      Expect.same(`${format}: nothing was applied`, yield* queue.entries, [])
      const raws = [[first, "Malformed", "nonsense first"], [first + 3, "Malformed", cut]]
      Expect.same(`${format}: the sink`, sink.lines, raws)
      const again = remembering()
      Expect.same(
        `${format}, tolerant`,
        yield* importText(store, text, { format, rejects: again.rejects }),
        report({ lines, messages: 2 }, rejections)
      )
      Expect.same(`${format}: the sink again`, again.lines, raws)
      Expect.same(`${format}: the rest was applied`, yield* queue.labels, ["M1", "M2"])
    }
  }),

  test("entries of an unknown queue are rejected one by one, and other queues are imported", [
    "96",
    "8.4"
  ], function*({ store }) {
    const [known, unknown, later] = [yield* freshQueue(store), unknownQueue(store), logged(store)]
    const gone = yield* freshQueue(store)
    yield* gone.delete
    const sink = remembering()
    const foreign = entryLine(unknown, entry("M1", 1n))
    const file = log([
      foreign,
      entryLine(known, entry("M1", 1n)),
      entryLine(gone, entry("M1", 1n)),
      entryLine(later, entry("M1", 1n)),
      queueLine(later),
      entryLine(later, entry("M2", 2n)),
      entryLine(unknown, marker("M1", 1n))
    ])
    const rejections = [2, 4, 5, 8].map((line) => [line, "QueueNotFound"] as const)
    yield* Expect.failsWith(
      "strict",
      importText(store, file, { mode: "strict" }),
      rejectedWith(report({ lines: 9 }, rejections))
    )
    Expect.same(
      "the report",
      yield* importText(store, file, { rejects: sink.rejects }),
      report({ lines: 9, queuesCreated: 1, messages: 2 }, rejections)
    )
    Expect.same("the first rejected line", sink.lines[0], [2, "QueueNotFound", printLine(foreign, "restante")])
    Expect.same("the queue that was there", yield* known.labels, ["M1"])
    Expect.same("the queue whose line came later", yield* later.labels, ["M2"])
    yield* Expect.failsWith("the unknown queue", unknown.peek, { _tag: "QueueNotFound", target: unknown.reader })
  }),

  test("a queue whose ids are bound differently is rejected with everything that follows for it", [
    "8.4",
    "4.7"
  ], function*({ store }) {
    const [there, other] = [yield* freshQueue(store), yield* freshQueue(store)]
    const gone = yield* freshQueue(store)
    yield* gone.delete
    const fresh = logged(store)
    const mixed = logged(store, { recipientId: RecipientId.randomUnsafe(), senderId: other.senderId })
    const twice = logged(store, { recipientId: RecipientId.randomUnsafe(), senderId: fresh.senderId })
    const file = log([
      entryLine(there, entry("M1", 1n)),
      queueLine({ recipientId: there.recipientId, senderId: SenderId.randomUnsafe() }),
      entryLine(there, entry("M2", 2n)),
      queueLine(mixed),
      entryLine(mixed, entry("M1", 1n)),
      queueLine(gone),
      queueLine({ recipientId: RecipientId.randomUnsafe(), senderId: gone.senderId }),
      queueLine(fresh),
      queueLine(twice),
      queueLine({ recipientId: fresh.recipientId, senderId: SenderId.randomUnsafe() }),
      queueLine(other),
      queueLine(other),
      entryLine(fresh, entry("M1", 1n))
    ])
    Expect.same(
      "the report",
      yield* importText(store, file),
      report({ lines: 15, queuesCreated: 1, queuesExisting: 2, messages: 1 }, [
        [3, "QueueConflict"],
        [4, "QueueNotFound"],
        [5, "QueueConflict"],
        [6, "QueueNotFound"],
        [7, "QueueConflict"],
        [8, "QueueConflict"],
        [10, "QueueConflict"],
        [11, "QueueConflict"],
        [14, "QueueNotFound"]
      ])
    )
    Expect.same("what came before the conflict", yield* there.labels, ["M1"])
    Expect.same("the binding", yield* store.getQueue(fresh.reader), {
      recipientId: fresh.recipientId,
      senderId: fresh.senderId,
      status: "active",
      size: 0,
      latched: false,
      nextSequence: 1n,
      createdAt: 1_000,
      updatedAt: 2_000
    })
    yield* Expect.failsWith("the other one", mixed.peek, { _tag: "QueueNotFound", target: mixed.reader })
  }),

  test("a log without the right first line is rejected as a whole in either mode", ["98", "8.4"], function*({ store }) {
    const queue = logged(store)
    const right = log([queueLine(queue)]).split("\n").slice(1)
    for (
      const first of [
        `{"t":"header","format":"restante","version":2}`,
        `{"t":"header","format":"restante","version":"1"}`,
        `{"t":"header","format":"other","version":1}`,
        `{"t":"header","format":"restante"}`,
        "\uFEFF" + header,
        "v3 AAAA AAAA 1 flags=T AAAA",
        printLine(queueLine(queue), "restante") ?? ""
      ]
    ) {
      for (const mode of ["tolerant", "strict"] as const) {
        const sink = remembering()
        yield* Expect.failsWith(
          `${first}, ${mode}`,
          importText(store, ["", first, ...right].join("\n"), { mode, rejects: sink.rejects }),
          rejectedWith(report({ lines: 2 }, [[2, "Malformed"]]))
        )
        Expect.same(`${first}, ${mode}: the sink`, sink.lines, [[2, "Malformed", first]])
      }
    }
    yield* Expect.failsWith("the queue", queue.peek, { _tag: "QueueNotFound", target: queue.reader })
  }),

  test("a missing end line, wrong totals and lines behind the end are noticed", ["99", "8.4"], function*({ store }) {
    const queue = yield* freshQueue(store)
    const line = printLine(entryLine(queue, entry("M1", 1n)), "restante") ?? ""
    const attempt = Effect.fnUntraced(function*(
      what: string,
      lines: ReadonlyArray<string>,
      rejections: ReadonlyArray<readonly [line: number, reason: MessageLog.RejectionReason]>
    ) {
      const text = lines.join("\n")
      const expected = (counts: Partial<MessageLog.ImportReport>) =>
        report({ lines: lines.length, ...counts }, rejections)
      const strict = importText(store, text, { mode: "strict" })
      if (rejections.length > 0) yield* Expect.failsWith(`${what}, strict`, strict, rejectedWith(expected({})))
      Expect.same(what, yield* importText(store, text), expected({ messages: 1 }))
      yield* queue.acknowledge("M1")
    })
    yield* attempt("right", [header, "", line, "", end(0, 1)], [])
    yield* attempt("only the sum counts", [header, line, "x", end(2, 0)], [[3, "Malformed"]])
    yield* attempt("no end", [header, line], [[2, "CountMismatch"]])
    yield* attempt("too few", [header, line, end(0, 0)], [[3, "CountMismatch"]])
    yield* attempt("too many", [header, line, "", end(1, 1)], [[4, "CountMismatch"]])
    yield* attempt("an end that is cut off", [header, line, end(0, 1).slice(0, -3)], [[3, "Malformed"], [
      3,
      "CountMismatch"
    ]])
    yield* attempt("lines behind the end", [header, line, end(0, 1), line, header], [[4, "Malformed"], [
      5,
      "Malformed"
    ]])
    yield* attempt("a header within", [header, header, line, end(0, 2)], [[2, "Malformed"]])
  }),

  test("a file that is cut off keeps everything up to there, however large the last records are", [
    "99",
    "8.8"
  ], function*({ open }) {
    const store = yield* open({ maxBodyBytes: 8, maxBatchBytes: 8 })
    const queue = yield* freshQueue(store)
    const entries = names(4).map((name, i) => entry(name, BigInt(i + 1), { body: filled(i % 2 === 0 ? 8 : 20, i) }))
    const text = log(entries.map((entry) => entryLine(queue, entry))).split("\n").slice(0, 5).join("\n")
    Expect.same(
      "the report",
      yield* importText(store, text),
      report({ lines: 5, messages: 4 }, [[5, "CountMismatch"]])
    )
    Expect.same("the entries", yield* queue.all, entries)
  }),

  test("an import that is interrupted, or whose source or sink fails, leaves the store as it was", [
    "100",
    "8.4",
    "7.1"
  ], function*({ open }) {
    // Small pages, so that some have been handed on by then.
    const store = yield* open({ maxBodyBytes: 8, maxBatchBytes: 8 })
    const queue = yield* freshQueue(store, { holding: ["M1"] })
    const created = logged(store)
    const before = yield* queue.state
    const lines = [
      queueLine(created),
      ...names(20, "N").flatMap((name, i) => [
        entryLine(queue, entry(name, BigInt(i + 2))),
        entryLine(created, entry(name, BigInt(i + 1)))
      ])
    ]
    const start = inPieces(log(lines), 100)
    const untouched = Effect.fnUntraced(function*(what: string) {
      Expect.same(`${what}: the queue that is there`, yield* queue.state, before)
      yield* Expect.failsWith(`${what}: the new queue`, created.size, { _tag: "QueueNotFound", target: created.reader })
    })

    const reached = yield* Deferred.make<void>()
    const waits = Stream.fromEffectDrain(Effect.andThen(Deferred.succeed(reached, undefined), Effect.never))
    const importing = yield* Effect.forkChild(store.importLog(Stream.concat(start, waits)))
    yield* Effect.raceFirst(
      Deferred.await(reached),
      Effect.andThen(Fiber.join(importing), Effect.sync(() => Expect.unmet("an import ended before its source did")))
    )
    yield* Fiber.interrupt(importing)
    yield* untouched("interrupted")

    yield* Expect.failsWith(
      "a source that fails",
      store.importLog(Stream.concat(start, Stream.fail({ _tag: "SourceFailed" }))),
      { _tag: "SourceFailed" }
    )
    yield* untouched("a source that failed")

    yield* Expect.failsWith(
      "a sink that fails",
      importText(store, log([...lines, "nonsense"]), { rejects: () => Effect.fail({ _tag: "SinkFailed" }) }),
      { _tag: "SinkFailed" }
    )
    yield* untouched("a sink that failed")
    Expect.same(
      "in the end",
      yield* importText(store, log(lines)),
      report({ lines: 43, queuesCreated: 1, messages: 40 })
    )
  }),

  test("a queue whose id somebody takes while it is imported is not lost without a word", [
    "100",
    "8.4",
    "4.7"
  ], function*({ open }) {
    // Small pages, so that the queue's line has been handed on by then.
    const store = yield* open({ maxBodyBytes: 8, maxBatchBytes: 8 })
    const queue = logged(store)
    const other = logged(store)
    const text = log([queueLine(queue), ...names(20).map((name, i) => entryLine(queue, entry(name, BigInt(i + 1))))])
    const half = Math.floor(text.length / 2)
    // On a thread of its own, because a store may let it wait for the import.
    const creation = yield* Deferred.make<Fiber.Fiber<unknown, unknown>>()
    const taking = Effect.flatMap(
      Effect.forkScoped(store.createQueue({ ...other.reader, ...queue.writer }), { startImmediately: true }),
      (fiber) => Effect.andThen(Effect.yieldNow, Deferred.succeed(creation, fiber))
    )
    const imported = yield* Effect.exit(store.importLog(
      Stream.make(bytes(text.slice(0, half))).pipe(
        Stream.concat(Stream.fromEffectDrain(taking)),
        Stream.concat(Stream.make(bytes(text.slice(half))))
      ),
      { mode: "strict" }
    ))
    const created = yield* Fiber.await(yield* Deferred.await(creation))
    Expect.holds("one of the two has the id", Exit.isSuccess(imported) !== Exit.isSuccess(created))
    if (Exit.isSuccess(imported)) Expect.same("the import", yield* queue.size, 20)
  }),

  test("a line that is too long and a body that is too large are rejected, and their neighbours imported", [
    "101",
    "8.4"
  ], function*({ store }) {
    const queue = yield* freshQueue(store)
    const before = printLine(entryLine(queue, entry("M1", 1n)), "restante") ?? ""
    const after = printLine(entryLine(queue, entry("M2", 2n)), "restante") ?? ""
    const [opening = "", closing = ""] =
      (printLine(entryLine(queue, entry("L", 3n, { body: filled(0) })), "restante") ?? "")
        .split(`""`)
    const sink = remembering()
    const mebibyte = "A".repeat(1_048_576)
    const file = Stream.succeed(bytes(`${header}\n${before}\n${opening}"`)).pipe(
      Stream.concat(Stream.map(Stream.range(1, 12), () => bytes(mebibyte))),
      Stream.concat(Stream.succeed(bytes(`"${closing}\n${opening}"`))),
      // 8,388,609 bytes.
      Stream.concat(Stream.map(Stream.range(1, 10), () => bytes(mebibyte))),
      Stream.concat(Stream.succeed(bytes(`${mebibyte.slice(0, 699_052)}"${closing}\n${after}\n${end(4, 0)}\n`)))
    )
    Expect.same(
      "the report",
      yield* store.importLog(file, { rejects: sink.rejects }),
      report({ lines: 6, messages: 2 }, [[3, "LineTooLong"], [4, "BodyTooLarge"]])
    )
    Expect.same("the messages", yield* queue.labels, ["M1", "M2"])
    Expect.same("what is shown of the long line", sink.lines[0]?.[2], (opening + `"` + mebibyte).slice(0, 1_024))
    Expect.same("the large one is shown whole", sink.lines[1]?.[2].length, opening.length + closing.length + 11_184_814)
  }),

  test("a report has all counts and the first 100 rejections", ["8.7"], function*({ store }) {
    const queue = yield* freshQueue(store)
    const lines = times(250, (i) => i % 2 === 0 ? "nonsense" : entryLine(queue, entry(`M${i}`, BigInt(i))))
    const sink = remembering()
    const answer = yield* importText(store, log(lines), { rejects: sink.rejects })
    Expect.same("the counts", [answer.messages, answer.rejected.Malformed], [125, 125])
    Expect.same("the rejections", answer.rejections.map(({ line }) => line), times(100, (i) => i * 2 + 2))
    Expect.same("the sink", sink.lines.map(([line]) => line), times(125, (i) => i * 2 + 2))
  }),

  test("lines without flags, with more than flags and without a body are read", ["92", "8.9"], function*({ store }) {
    const queue = yield* freshQueue(store)
    const ids = (name: string) => `v3 ${queue.recipientId} ${id(name)}`
    const text = [
      `${ids("M1")} 1 TTE=`,
      `${ids("M2")} 1 flags=Tand:more TTI`,
      `${ids("M3")} 1 flags=F `,
      `${ids("M4")} 1 `,
      `${ids("M5")} 1 flags=T TTU=`
    ].join("\n")
    yield* importText(store, text, { format: "simplex-v3", mode: "strict" })
    Expect.same("the entries", yield* queue.entries, [
      entry("M1", 1n),
      entry("M2", 2n, { notify: true }),
      entry("M3", 3n, { body: filled(0) }),
      entry("M4", 4n, { body: filled(0) }),
      entry("M5", 5n, { notify: true })
    ])
  }),

  test("options out of bounds are refused before anything is read", ["8.1", "8.4"], function*({ store }) {
    const unread = Stream.fromEffectDrain(Effect.die("the source was read"))
    const refuses = Effect.fnUntraced(function*<A, E>(field: string, call: Effect.Effect<A, E>) {
      const failure = yield* Expect.failsWithTag(field, call, "InvalidArgument")
      Expect.same("the field", Expect.fieldOf(failure), field)
    })
    yield* refuses("format", store.importLog(unread, { format: unchecked("v3") }))
    yield* refuses("mode", store.importLog(unread, { mode: unchecked("lenient") }))
    yield* refuses("rejects", store.importLog(unread, { rejects: unchecked(1) }))
    yield* refuses("onProgress", store.importLog(unread, { onProgress: unchecked(1) }))
    yield* refuses("options", store.importLog(unread, unchecked<MessageLog.ImportOptions>("strict")))
    yield* refuses("bytes", store.importLog(unchecked<Stream.Stream<Uint8Array>>(bytes("x"))))
    yield* refuses("bytes", store.importLog(unchecked<Stream.Stream<Uint8Array>>(Stream.make("a text"))))
    yield* refuses("format", Stream.runDrain(store.exportLog({ format: unchecked("json") })))
  }),

  test("progress is told after each page, and counts everything in the end", ["8.8"], function*({ open }) {
    const store = yield* open({ maxBodyBytes: 8, maxBatchBytes: 8 })
    const queue = logged(store)
    const entries = names(9).map((name, i) => entryLine(queue, entry(name, BigInt(i + 1), { body: filled(4) })))
    const imported: Array<MessageLog.ImportProgress> = []
    yield* importText(store, log([queueLine(queue), ...entries, "nonsense"]), {
      onProgress: (progress) => Effect.sync(() => imported.push(progress))
    })
    Expect.holds("there were several pages", imported.length >= 5, imported.length)
    Expect.same("in the end", imported.at(-1), { lines: 13, queues: 1, entries: 9, rejected: 1 })
    Expect.same(
      "it only grows",
      imported.map(({ entries, lines }) => [lines, entries]),
      imported.map(({ entries, lines }) => [lines, entries]).toSorted(([a = 0], [b = 0]) => a - b)
    )
    const told: Array<MessageLog.ExportProgress> = []
    yield* Stream.runDrain(store.exportLog({ onProgress: (progress) => Effect.sync(() => told.push(progress)) }))
    Expect.holds(
      "an export tells too",
      (told.at(-1)?.entries ?? 0) >= 9 && (told.at(-1)?.queues ?? 0) >= 1,
      told.at(-1)
    )
  })
])

export const logs = [...wholeLogs, ...merging, ...rejecting]

/**
 * Random histories: sequences of operations on a few queues, played on a store and on the model at the same times, with
 * every answer compared. The pools of ids, sizes and times are small, so that repeats, overflows and expiry happen often.
 */
import { Arbitrary, Array as Arr, Cause, Effect, Exit, Option, Result, Schema, Stream } from "effect"
import * as TestClock from "effect/testing/TestClock"
import type { Maintenance, Message, MessageId, MessageLog, MsgStore, MsgStoreError, Queue } from "restante"
import { RecipientId, SenderId } from "restante"
import type { ModelAnswer, ModelItem, ModelMessage } from "../../MsgStoreModel.ts"
import { derivedMarkerId, MsgStoreModel } from "../../MsgStoreModel.ts"
import type { Store } from "./case.ts"
import { difference, print, unmet } from "./expectation.ts"
import { allEntries, filled, id } from "./fixture.ts"
import { end, header, printLine } from "./logText.ts"

/** How many histories are compared, and which. */
export interface HistoryOptions {
  /** Number of histories, about 50 operations each. Default 600, which is more than 20,000 operations. */
  readonly histories?: number | undefined
  /** Makes the histories the same in each run. Absent: others in each run. */
  readonly seed?: string | number | undefined
  /** The token that a failure printed: plays that history alone, shrunk as it was. */
  readonly replay?: string | undefined
}

/** Small limits, so that bodies, batches and answers meet them. */
export const historyLimits = { defaultQuota: 2, maxBodyBytes: 8, maxBatchItems: 4, maxBatchBytes: 10 }

const queueNames = ["q1", "q2", "q3", "q4"] as const
const messageNames = ["m1", "m2", "m3", "m4", "m5"] as const
/** In logs there are messages too that have the id of a marker which is derived from m1, and the one derived from that. */
const forgedNames = ["derived from m1", "derived twice from m1"] as const
/** The queues that exist when a history starts; the fourth comes to be by an operation, or never. */
const createdFirst = 3
/** Far from the timestamps that messages are given, so that those without one are fresh for most cut-offs. */
const startTime = 1_000

type QueueName = (typeof queueNames)[number]
type MessageName = (typeof messageNames)[number]
type ForgedName = (typeof forgedNames)[number]

interface Draft {
  readonly name: MessageName | ForgedName
  readonly timestamp: number | undefined
  readonly notify: boolean
  readonly size: number
}

interface Address {
  readonly queue: QueueName
  readonly by: "sender" | "recipient"
}

interface DraftItem extends Address {
  readonly message: Draft
}

/** A line of a log. Whatever is not one of a record stands for itself. */
type DraftLine =
  | {
    readonly line: "queue"
    readonly queue: QueueName
    readonly sender: QueueName
    readonly quota: number | undefined
    readonly status: Queue.QueueStatus
    readonly nextSequence: bigint
  }
  | { readonly line: "message"; readonly queue: QueueName; readonly message: Draft; readonly sequence: bigint }
  | { readonly line: "quota"; readonly queue: QueueName; readonly message: Draft; readonly sequence: bigint }
  | { readonly line: "other"; readonly text: string }

interface DraftLog {
  readonly format: MessageLog.Format
  readonly mode: "tolerant" | "strict"
  readonly lines: ReadonlyArray<DraftLine>
  readonly frame: "right" | "no header" | "no end" | "wrong counts"
  readonly lineEnd: "\n" | "\r\n"
  /** Whether the last line has an end too. */
  readonly isEnded: boolean
  /** How many bytes arrive together. */
  readonly pieces: number
}

type Operation =
  | {
    readonly op: "createQueue"
    readonly queue: QueueName
    readonly sender: QueueName
    readonly quota: number | undefined
    readonly status: Queue.QueueStatus
  }
  | { readonly op: "getQueue" } & Address
  | { readonly op: "setQueueStatus"; readonly queue: QueueName; readonly status: Queue.QueueStatus }
  | { readonly op: "setQuota"; readonly queue: QueueName; readonly quota: number | undefined }
  | { readonly op: "deleteQueue"; readonly queue: QueueName }
  | { readonly op: "write" } & DraftItem
  | { readonly op: "writeMany"; readonly items: ReadonlyArray<DraftItem> }
  | { readonly op: "peek"; readonly queue: QueueName }
  | { readonly op: "peekBatch"; readonly queue: QueueName; readonly limit: number; readonly after: bigint | undefined }
  | { readonly op: "acknowledge"; readonly queue: QueueName; readonly name: MessageName | "head" }
  | { readonly op: "acknowledgeAndPeek"; readonly queue: QueueName; readonly name: MessageName | "head" }
  | { readonly op: "acknowledgeThrough"; readonly queue: QueueName; readonly through: MessageName | bigint }
  | { readonly op: "size"; readonly queue: QueueName }
  | { readonly op: "deleteExpired"; readonly queue: QueueName; readonly before: number }
  | { readonly op: "importLog" } & DraftLog
  | WholeOperation

/** Operations that answer for all queues, in histories that have a store to themselves. */
type WholeOperation =
  | { readonly op: "expireAll"; readonly before: number; readonly batchSize: number }
  | { readonly op: "compactDeleted"; readonly before: number | "the last deletion"; readonly batchSize: number }
  | { readonly op: "stats" }
  | { readonly op: "recount"; readonly batchSize: number }

/** What happens, after queues with these quotas have been created. */
export interface History {
  readonly quotas: ReadonlyArray<number | undefined>
  readonly operations: ReadonlyArray<Operation>
}

/** One of the values. A value that is named twice comes twice as often. */
export const oneOf = <A>(...values: readonly [A, ...ReadonlyArray<A>]): Arbitrary.Arbitrary<A> =>
  Arbitrary.map(Arbitrary.schema(Schema.Literals(values.map((_, i) => i))), (i) => Arr.getUnsafe(values, i))

// Most operations meet on the first queue, so that something happens there in a short history too.
const queue = oneOf<QueueName>("q1", "q1", "q1", "q1", "q2", "q2", "q3", "q4")
const name = oneOf(...messageNames)
const quota = oneOf(undefined, 0, 1, 2, 3, 3)
const status = oneOf<Queue.QueueStatus>("active", "active", "suspended")
const by = oneOf<Address["by"]>("sender", "sender", "recipient")
const draft = (
  size: Arbitrary.Arbitrary<number>,
  names: Arbitrary.Arbitrary<Draft["name"]> = name
): Arbitrary.Arbitrary<Draft> =>
  Arbitrary.all({
    name: names,
    timestamp: oneOf(undefined, 10, 20, 30, 40, 10, 20, 30, 40),
    notify: oneOf(false, true),
    size
  })
/** Large enough that two together often pass the limit of a batch that is read. */
const single = draft(oneOf(5, 0, 1, 5, 8, 8, 8, 9))
/** Small enough that a batch is not refused more often than not. */
const batched = draft(oneOf(1, 0, 1, 1, 5, 5, 8, 9))
// Acknowledging is by the right id more often than not.
const acknowledged = oneOf<MessageName | "head">("head", "head", "head", "head", "head", ...messageNames)

/** Small, so that the pages of an import hold several: each page is a conversation with a server. */
const logged = draft(oneOf(0, 0, 1, 1, 1, 2, 20), oneOf(...messageNames, ...messageNames, ...forgedNames))
const sequence = oneOf(1n, 2n, 3n, 4n, 4n, 5n, 6n, 8n, 40n, 2n ** 62n)
// The fourth may be created by an import.
const loggedQueue = oneOf<QueueName>("q1", "q1", "q1", "q4", "q4", "q4", "q2", "q3")
const line = Arbitrary.flatMap(
  oneOf<DraftLine["line"]>("queue", "message", "message", "message", "message", "quota", "other"),
  (kind): Arbitrary.Arbitrary<DraftLine> => {
    switch (kind) {
      case "queue":
        return Arbitrary.flatMap(loggedQueue, (name) =>
          Arbitrary.all({
            line: oneOf("queue" as const),
            queue: oneOf(name),
            sender: oneOf(name, name, name, name, name, ...queueNames),
            quota,
            status,
            nextSequence: oneOf(1n, 6n, 20n, 60n)
          }))
      case "message":
        return Arbitrary.all({ line: oneOf("message" as const), queue: loggedQueue, message: logged, sequence })
      case "quota":
        return Arbitrary.all({ line: oneOf("quota" as const), queue: loggedQueue, message: logged, sequence })
      case "other":
        return Arbitrary.all({
          line: oneOf("other" as const),
          text: oneOf("", "", "nonsense", "{}", header, end(0, 0), `{"t":"message"`, "v3 AAAA", "v3 AAAA AAAA 1 AAAA")
        })
    }
  }
)

const generators: { readonly [Op in Operation["op"]]: Arbitrary.Arbitrary<Extract<Operation, { readonly op: Op }>> } = {
  // The fourth queue is the only one whose creation can be refused and succeed later.
  createQueue: Arbitrary.flatMap(
    oneOf<QueueName>("q4", "q4", "q4", "q1", "q2", "q3"),
    (name) =>
      Arbitrary.all({
        op: oneOf("createQueue" as const),
        queue: oneOf(name),
        sender: oneOf(name, name, ...queueNames),
        quota,
        status
      })
  ),
  getQueue: Arbitrary.all({ op: oneOf("getQueue" as const), queue, by }),
  setQueueStatus: Arbitrary.all({ op: oneOf("setQueueStatus" as const), queue, status }),
  setQuota: Arbitrary.all({ op: oneOf("setQuota" as const), queue, quota }),
  deleteQueue: Arbitrary.all({ op: oneOf("deleteQueue" as const), queue }),
  write: Arbitrary.all({ op: oneOf("write" as const), queue, by, message: single }),
  writeMany: Arbitrary.all({
    op: oneOf("writeMany" as const),
    items: Arbitrary.array(Arbitrary.all({ queue, by, message: batched }), {
      maxLength: historyLimits.maxBatchItems + 1
    })
  }),
  peek: Arbitrary.all({ op: oneOf("peek" as const), queue }),
  peekBatch: Arbitrary.all({
    op: oneOf("peekBatch" as const),
    queue,
    limit: oneOf(1, 2, 3, 4),
    after: oneOf(undefined, 0n, 1n, 3n, 6n)
  }),
  acknowledge: Arbitrary.all({ op: oneOf("acknowledge" as const), queue, name: acknowledged }),
  acknowledgeAndPeek: Arbitrary.all({ op: oneOf("acknowledgeAndPeek" as const), queue, name: acknowledged }),
  acknowledgeThrough: Arbitrary.all({
    op: oneOf("acknowledgeThrough" as const),
    queue,
    through: oneOf<MessageName | bigint>(...messageNames, 0n, 1n, 2n, 4n, 8n)
  }),
  size: Arbitrary.all({ op: oneOf("size" as const), queue }),
  deleteExpired: Arbitrary.all({ op: oneOf("deleteExpired" as const), queue, before: oneOf(0, 11, 20, 35, 1_010) }),
  importLog: Arbitrary.all({
    op: oneOf("importLog" as const),
    format: oneOf<MessageLog.Format>("restante", "restante", "simplex-v3"),
    mode: oneOf<DraftLog["mode"]>("tolerant", "tolerant", "tolerant", "strict"),
    lines: Arbitrary.array(line, { maxLength: 10 }),
    frame: oneOf<DraftLog["frame"]>("right", "right", "right", "right", "right", "no header", "no end", "wrong counts"),
    lineEnd: oneOf<DraftLog["lineEnd"]>("\n", "\n", "\r\n"),
    isEnded: oneOf(true, true, false),
    pieces: oneOf(1, 7, 64, 100_000)
  }),
  expireAll: Arbitrary.all({
    op: oneOf("expireAll" as const),
    before: oneOf(0, 20, 35, 2_000, 2_000),
    batchSize: oneOf(1, 1, 1, 2, 100)
  }),
  // Some are earlier than most deletions, some later.
  compactDeleted: Arbitrary.all({
    op: oneOf("compactDeleted" as const),
    before: oneOf<number | "the last deletion">(1_000, 1_025, 2_000, 2_000, "the last deletion"),
    batchSize: oneOf(1, 1, 2, 100)
  }),
  stats: Arbitrary.all({ op: oneOf("stats" as const) }),
  recount: Arbitrary.all({ op: oneOf("recount" as const), batchSize: oneOf(1, 2, 3, 100) })
}

type Weights = { readonly [Op in Operation["op"]]: number }

/** How often each operation comes, in parts of their sum. */
const weights: Weights = {
  write: 30,
  writeMany: 10,
  acknowledge: 14,
  acknowledgeAndPeek: 14,
  acknowledgeThrough: 6,
  deleteExpired: 6,
  peek: 3,
  peekBatch: 5,
  size: 2,
  getQueue: 2,
  setQuota: 4,
  setQueueStatus: 5,
  createQueue: 3,
  deleteQueue: 1,
  importLog: 1,
  expireAll: 0,
  compactDeleted: 0,
  stats: 0,
  recount: 0
}

/** The same for histories that have a store to themselves: queues come and go more often. */
const wholeWeights: Weights = {
  ...weights,
  deleteExpired: 2,
  setQueueStatus: 8,
  createQueue: 14,
  deleteQueue: 7,
  expireAll: 8,
  compactDeleted: 8,
  stats: 5,
  recount: 1
}

const isOperation = (text: string): text is Operation["op"] => Object.hasOwn(weights, text)

const historiesOf = (weights: Weights): Arbitrary.Arbitrary<History> => {
  const kinds = Object.keys(weights).filter(isOperation).flatMap((kind) =>
    Array.from({ length: weights[kind] }, () => kind)
  )
  return Arbitrary.all({
    quotas: Arbitrary.all(Arr.makeBy(createdFirst, () => quota)),
    operations: Arbitrary.array(
      Arbitrary.flatMap(
        oneOf<Operation["op"]>("write", ...kinds),
        (kind): Arbitrary.Arbitrary<Operation> => generators[kind]
      ),
      { maxLength: 200 }
    )
  })
}

interface Ids {
  readonly recipientId: RecipientId
  readonly senderId: SenderId
}
type AllIds = { readonly [Name in QueueName]: Ids }

const drawIds = (): Ids => ({ recipientId: RecipientId.randomUnsafe(), senderId: SenderId.randomUnsafe() })

const targetOf = (ids: AllIds, { by, queue }: Address): MsgStoreError.Target =>
  by === "sender" ? { senderId: ids[queue].senderId } : { recipientId: ids[queue].recipientId }

/** The body tells which call wrote it, so that a repeated write that replaced it would show. */
const body = (draft: Draft, step: number, place: number) => filled(draft.size, (step * 8 + place) % 256)

const newMessage = (draft: Draft, step: number, place: number): Message.NewMessage => ({
  id: id(draft.name),
  timestamp: draft.timestamp,
  notify: draft.notify,
  body: body(draft, step, place)
})

const modelMessage = (draft: Draft, step: number, place: number, now: number): ModelMessage => ({
  id: id(draft.name),
  timestamp: draft.timestamp ?? now,
  notify: draft.notify,
  body: body(draft, step, place)
})

const encoder = new TextEncoder()

/** A text as bytes that arrive in pieces. */
const inPieces = (text: string, size: number): Stream.Stream<Uint8Array> => {
  const bytes = encoder.encode(text)
  const count = Math.ceil(bytes.length / size)
  return Stream.fromIterable(Array.from({ length: count }, (_, i) => bytes.subarray(i * size, (i + 1) * size)))
}

/** The lines of an export that are wanted: other histories have queues in the same store at the same time. */
const exportedLines = (store: Store, isWanted: (line: string) => boolean) =>
  store.exportLog().pipe(
    Stream.decodeText,
    Stream.splitLines,
    Stream.filter(isWanted),
    Stream.runCollect
  )

/** The id of a message in a queue. */
const idOf = (name: Draft["name"], recipientId: RecipientId): MessageId => {
  const forged = derivedMarkerId(recipientId, id("m1"))
  if (name === "derived from m1") return forged
  return name === "derived twice from m1" ? derivedMarkerId(recipientId, forged) : id(name)
}

const lineText = (ids: AllIds, draft: DraftLine, format: MessageLog.Format, bodyByte: number): string | undefined => {
  if (draft.line === "other") return draft.text
  const { recipientId } = ids[draft.queue]
  if (draft.line === "queue") {
    const { nextSequence, quota, status } = draft
    const { senderId } = ids[draft.sender]
    const queue = { recipientId, senderId, quota, status, createdAt: 7, updatedAt: 9, nextSequence }
    return printLine({ _tag: "Queue", queue }, format)
  }
  const { name, notify, size, timestamp = 50 } = draft.message
  // Seconds are all that the other format has.
  const stored = {
    id: idOf(name, recipientId),
    timestamp: format === "restante" ? timestamp : timestamp * 1_000,
    sequence: draft.sequence
  }
  const entry: Message.Entry = draft.line === "quota"
    ? { ...stored, kind: "quota", notify: false, body: filled(0) }
    : { ...stored, kind: "message", notify, body: filled(size, bodyByte) }
  return printLine({ _tag: "Entry", recipientId, entry }, format)
}

/** The log as it is written in a file. */
const logText = (ids: AllIds, log: DraftLog, step: number): string => {
  const { format, frame, isEnded, lineEnd } = log
  const lines = log.lines
    .map((line, place) => lineText(ids, line, format, (step * 16 + place) % 256))
    .filter((line) => line !== undefined)
  const count = lines.filter((line) => line !== "").length + (frame === "wrong counts" ? 1 : 0)
  const framed = format === "simplex-v3" ? lines : [
    ...(frame === "no header" ? [] : [header]),
    ...lines,
    ...(frame === "no end" ? [] : [end(Math.min(count, 1), Math.max(count - 1, 0))])
  ]
  return framed.join(lineEnd) + (isEnded ? lineEnd : "")
}

/** `head` becomes the id that the model has at the head, so that both are asked the same. */
const named = (model: MsgStoreModel, recipientId: RecipientId, name: MessageName | "head") =>
  name === "head" ? model.find({ recipientId })?.entries[0]?.id ?? id("m1") : id(name)

/** What the model answers, the call that must answer the same, and which kinds of answers these are. */
interface Step {
  readonly expected: ModelAnswer<unknown>
  readonly call: Effect.Effect<unknown, unknown>
  readonly outcomes?: ReadonlyArray<string> | undefined
}

const wholeOperations: ReadonlyArray<Operation["op"]> = ["expireAll", "compactDeleted", "stats", "recount"]

const isWhole = (operation: Operation): operation is WholeOperation => wholeOperations.includes(operation.op)

/** Plays one step over all queues on the model and prepares it for the store. */
const onWhole = (store: Store, model: MsgStoreModel, operation: WholeOperation): Step => {
  switch (operation.op) {
    case "expireAll": {
      const { batchSize, before } = operation
      let counts: Maintenance.ExpiryCounts = { visited: 0, expired: 0, skipped: 0, failed: 0 }
      const expected: Array<Maintenance.ExpiryCounts> = []
      for (const batch of model.expireAll(before, batchSize)) {
        counts = { ...counts, visited: counts.visited + batch.visited, expired: counts.expired + batch.expired }
        expected.push(counts)
      }
      return {
        expected: { success: { counts, reports: expected } },
        outcomes: [`expireAll: ${counts.visited === 0 ? "0" : "above 0"}`],
        call: Effect.suspend(() => {
          const reports: Array<Maintenance.ExpiryCounts> = []
          const onProgress = (report: Maintenance.ExpiryCounts) => Effect.sync(() => reports.push(report))
          return Effect.map(store.expireAll({ before, batchSize, onProgress }), (counts) => ({ counts, reports }))
        })
      }
    }
    case "compactDeleted": {
      const before = operation.before === "the last deletion"
        ? Math.max(0, ...model.queues.map((queue) => queue.deletedAt ?? 0))
        : operation.before
      return {
        expected: { success: model.compactDeleted(before) },
        call: store.compactDeleted({ before, batchSize: operation.batchSize })
      }
    }
    case "stats":
      return { expected: { success: model.stats() }, outcomes: [], call: store.stats }
    case "recount":
      return {
        expected: { success: model.recount() },
        outcomes: [],
        call: store.recount({ batchSize: operation.batchSize })
      }
  }
}

/** Plays one step on the model and prepares it for the store. */
const onBoth = (
  store: Store,
  model: MsgStoreModel,
  ids: AllIds,
  operation: Operation,
  step: number,
  now: number
): Step => {
  if (operation.op === "writeMany") {
    const items = operation.items.map((item, place): MsgStore.WriteItem => ({
      target: targetOf(ids, item),
      message: newMessage(item.message, step, place)
    }))
    const modelItems = operation.items.map((item, place): ModelItem => ({
      target: targetOf(ids, item),
      message: modelMessage(item.message, step, place, now)
    }))
    const expected = model.writeMany(modelItems)
    const perItem = "success" in expected ? expected.success.map((item) => outcomeOf("item", item, false)) : []
    return {
      expected,
      outcomes: [outcomeOf("writeMany", expected, false), ...perItem],
      call: Effect.map(store.writeMany(items), (results) => results.map(ofResult))
    }
  }
  if (operation.op === "importLog") {
    const { format, mode, pieces } = operation
    const text = logText(ids, operation, step)
    const expected = model.importLog(text, { format, mode })
    return {
      expected,
      outcomes: importOutcomes(expected),
      call: store.importLog(inPieces(text, pieces), { format, mode })
    }
  }
  if (isWhole(operation)) return onWhole(store, model, operation)
  const { recipientId } = ids[operation.queue]
  switch (operation.op) {
    case "createQueue": {
      const { quota, status } = operation
      const queue = { recipientId, senderId: ids[operation.sender].senderId, quota, status }
      return { expected: model.createQueue(queue, now), call: store.createQueue(queue) }
    }
    case "getQueue": {
      const { senderId } = ids[operation.queue]
      return operation.by === "sender"
        ? { expected: model.getQueue({ senderId }), call: store.getQueue({ senderId }) }
        : { expected: model.getQueue({ recipientId }), call: store.getQueue({ recipientId }) }
    }
    case "setQueueStatus":
      return {
        expected: model.setQueueStatus(recipientId, operation.status, now),
        call: store.setQueueStatus(recipientId, operation.status)
      }
    case "setQuota":
      return {
        expected: model.setQuota(recipientId, operation.quota, now),
        call: store.setQuota(recipientId, operation.quota)
      }
    case "deleteQueue":
      return { expected: model.deleteQueue(recipientId, now), call: store.deleteQueue(recipientId) }
    case "write": {
      const target = targetOf(ids, operation)
      return {
        expected: model.write(target, modelMessage(operation.message, step, 0, now)),
        call: store.write(target, newMessage(operation.message, step, 0))
      }
    }
    case "peek":
      return { expected: model.peek(recipientId), call: Effect.map(store.peek(recipientId), Option.getOrUndefined) }
    case "peekBatch": {
      const { after, limit } = operation
      return {
        expected: model.peekBatch(recipientId, { limit, after }),
        call: store.peekBatch(recipientId, { limit, after })
      }
    }
    case "acknowledge": {
      const messageId = named(model, recipientId, operation.name)
      return {
        expected: model.acknowledge(recipientId, messageId),
        call: Effect.map(store.acknowledge(recipientId, messageId), Option.getOrUndefined)
      }
    }
    case "acknowledgeAndPeek": {
      const messageId = named(model, recipientId, operation.name)
      const expected = model.acknowledgeAndPeek(recipientId, messageId)
      const { acknowledged, next } = "success" in expected ? expected.success : {}
      return {
        expected,
        outcomes: "success" in expected
          ? [`acknowledgeAndPeek: ${kindOf(acknowledged)}, next ${kindOf(next)}`]
          : undefined,
        call: Effect.map(store.acknowledgeAndPeek(recipientId, messageId), ({ acknowledged, next }) => ({
          acknowledged: Option.getOrUndefined(acknowledged),
          next: Option.getOrUndefined(next)
        }))
      }
    }
    case "acknowledgeThrough": {
      const { through } = operation
      const bound = typeof through === "bigint" ? { sequence: through } : id(through)
      return {
        expected: model.acknowledgeThrough(recipientId, bound),
        call: store.acknowledgeThrough(recipientId, bound)
      }
    }
    case "size":
      return { expected: model.size(recipientId), call: store.size(recipientId) }
    case "deleteExpired": {
      const expected = model.deleteExpired(recipientId, operation.before)
      const removed = "success" in expected && expected.success > 0
      const markerStays = removed && model.find({ recipientId })?.entries[0]?.kind === "quota"
      return {
        expected,
        outcomes: [
          outcomeOf("deleteExpired", expected, false),
          ...(markerStays ? ["deleteExpired: only the marker stays"] : [])
        ],
        call: store.deleteExpired(recipientId, operation.before)
      }
    }
  }
}

/** What kinds of things an import did. */
const importOutcomes = (expected: ModelAnswer<MessageLog.ImportReport>): ReadonlyArray<string> => {
  if ("failure" in expected) return [outcomeOf("importLog", expected, false)]
  const { duplicates, latchedQueues, messages, queuesCreated, queuesExisting, rejected } = expected.success
  const counts = { duplicates, latchedQueues, messages, queuesCreated, queuesExisting, ...rejected }
  return Object.entries(counts).filter(([, count]) => count > 0).map(([what]) => `importLog: ${what}`)
}

/** A failure of a store in the form that the model gives: of `InvalidArgument` only the field is fixed by the contract. */
const plainFailure = (failure: unknown): unknown => {
  const isInvalid = Schema.is(Schema.Struct({ _tag: Schema.tag("InvalidArgument"), field: Schema.String }))
  return isInvalid(failure) ? { _tag: failure._tag, field: failure.field } : failure
}

const ofResult = (result: Result.Result<unknown, unknown>) =>
  Result.isSuccess(result) ? { success: result.success } : { failure: plainFailure(result.failure) }

/** How a call ended, in the form that the model gives. A defect is an answer too, and a wrong one. */
const answerOf = (call: Effect.Effect<unknown, unknown>): Effect.Effect<unknown> =>
  Effect.map(Effect.exit(call), (exit) => {
    if (Exit.isSuccess(exit)) return { success: exit.value }
    const failure = Exit.findErrorOption(exit)
    return Option.isSome(failure) ? { failure: plainFailure(failure.value) } : { defect: Cause.pretty(exit.cause) }
  })

/** What kinds of answers came, and how often. */
export type Tally = Map<string, number>

/**
 * Every kind of answer that the contract has for these operations. Histories that do not meet all of them would not
 * compare what they are meant to compare.
 */
const everyOutcome: ReadonlyArray<string> = [
  "write: Accepted into an empty queue",
  "write: Accepted",
  "write: AlreadyStored",
  "write: QuotaReached",
  "write: QuotaReached again",
  "write: QuotaExceeded",
  "write: QueueSuspended",
  "write: QueueNotFound",
  "write: MessageTooLarge",
  "writeMany: none",
  "writeMany: InvalidArgument",
  "item: Accepted",
  "item: Accepted into an empty queue",
  "item: AlreadyStored",
  "item: QuotaReached",
  "item: QuotaExceeded",
  "item: QueueSuspended",
  "item: QueueNotFound",
  "item: MessageTooLarge",
  "createQueue: a queue",
  "createQueue: QueueIdTaken recipientId",
  "createQueue: QueueIdTaken senderId",
  "getQueue: a queue",
  "getQueue: a sender's view",
  "getQueue: QueueNotFound",
  "setQueueStatus: a queue",
  "setQueueStatus: QueueNotFound",
  "setQuota: a queue",
  "setQuota: QueueNotFound",
  "deleteQueue: 0",
  "deleteQueue: above 0",
  "deleteQueue: QueueNotFound",
  "peek: none",
  "peek: message",
  "peek: quota",
  "peek: QueueNotFound",
  "peekBatch: none",
  "peekBatch: some",
  "peekBatch: QueueNotFound",
  "acknowledge: none",
  "acknowledge: message",
  "acknowledge: quota",
  "acknowledge: QueueNotFound",
  "acknowledgeAndPeek: none, next none",
  "acknowledgeAndPeek: none, next message",
  "acknowledgeAndPeek: none, next quota",
  "acknowledgeAndPeek: message, next none",
  "acknowledgeAndPeek: message, next message",
  "acknowledgeAndPeek: message, next quota",
  "acknowledgeAndPeek: quota, next none",
  "acknowledgeAndPeek: QueueNotFound",
  "acknowledgeThrough: 0",
  "acknowledgeThrough: above 0",
  "acknowledgeThrough: SequenceNotAssigned",
  "acknowledgeThrough: QueueNotFound",
  "size: 0",
  "size: above 0",
  "size: QueueNotFound",
  "deleteExpired: 0",
  "deleteExpired: above 0",
  "deleteExpired: only the marker stays",
  "deleteExpired: QueueNotFound",
  "importLog: duplicates",
  "importLog: latchedQueues",
  "importLog: messages",
  "importLog: queuesCreated",
  "importLog: queuesExisting",
  "importLog: Malformed",
  "importLog: QueueNotFound",
  "importLog: QueueConflict",
  "importLog: CountMismatch",
  "importLog: ImportRejected"
]

/** What histories with a store to themselves meet besides. */
const everyWholeOutcome: ReadonlyArray<string> = [
  "expireAll: 0",
  "expireAll: above 0",
  "compactDeleted: 0",
  "compactDeleted: above 0"
]

const kindOf = (entry: Message.Entry | undefined): string => entry === undefined ? "none" : entry.kind

const isEntry = (value: unknown): value is Message.Entry =>
  typeof value === "object" && value !== null && "kind" in value && "sequence" in value

/** What kind of answer this is. `latched` tells whether the queue was latched before. */
const outcomeOf = (op: string, answer: ModelAnswer<unknown>, latched: boolean): string => {
  if ("failure" in answer) {
    const { failure } = answer
    return `${op}: ${failure._tag}${failure._tag === "QueueIdTaken" ? ` ${failure.field}` : ""}`
  }
  const { success } = answer
  if (success === undefined) return `${op}: none`
  if (typeof success === "number") return `${op}: ${success === 0 ? "0" : "above 0"}`
  if (Array.isArray(success)) return `${op}: ${success.length === 0 ? "none" : "some"}`
  if (isEntry(success)) return `${op}: ${success.kind}`
  if (typeof success !== "object" || success === null) return `${op}: ${print(success)}`
  if ("wasEmpty" in success) return `${op}: Accepted${success.wasEmpty === true ? " into an empty queue" : ""}`
  if ("_tag" in success) {
    return `${op}: ${String(success._tag)}${success._tag === "QuotaReached" && latched ? " again" : ""}`
  }
  return `${op}: ${"recipientId" in success ? "a queue" : "a sender's view"}`
}

const record = (tally: Tally, outcome: string): void => {
  tally.set(outcome, (tally.get(outcome) ?? 0) + 1)
}

const quotaText = (quota: number | undefined): string => quota === undefined ? "default quota" : `quota ${quota}`

const draftText = ({ name, notify, size, timestamp }: Draft): string =>
  `${name}${timestamp === undefined ? "" : ` @${timestamp}`}, ${size} bytes${notify ? ", notify" : ""}`

const addressText = ({ by, queue }: Address): string => by === "sender" ? queue : `${queue} (by recipient id)`

const draftLineText = (draft: DraftLine): string => {
  if (draft.line === "other") return draft.text
  if (draft.line === "queue") {
    const { nextSequence, queue, quota, sender, status } = draft
    return `${queue}${sender === queue ? "" : ` with the sender id of ${sender}`}, ${
      quotaText(quota)
    }, ${status}, next ${nextSequence}`
  }
  return `${draft.queue} ${draft.line} ${draftText(draft.message)}, sequence ${draft.sequence}`
}

/** The operation as one line of a script. */
const operationText = (operation: Operation): string => {
  switch (operation.op) {
    case "writeMany":
      return `writeMany [${
        operation.items.map((item) => `${addressText(item)} ${draftText(item.message)}`).join("; ")
      }]`
    case "write":
      return `write ${addressText(operation)} ${draftText(operation.message)}`
    case "createQueue": {
      const { queue, quota, sender, status } = operation
      return `createQueue ${queue}${sender === queue ? "" : ` with the sender id of ${sender}`}, ${
        quotaText(quota)
      }, ${status}`
    }
    case "getQueue":
      return `getQueue ${operation.queue} by ${operation.by} id`
    case "setQueueStatus":
      return `setQueueStatus ${operation.queue} ${operation.status}`
    case "setQuota":
      return `setQuota ${operation.queue} to ${quotaText(operation.quota)}`
    case "peekBatch":
      return `peekBatch ${operation.queue}, limit ${operation.limit}${
        operation.after === undefined ? "" : `, after ${operation.after}`
      }`
    case "acknowledge":
    case "acknowledgeAndPeek":
      return `${operation.op} ${operation.queue} ${operation.name === "head" ? "its head" : operation.name}`
    case "acknowledgeThrough":
      return `acknowledgeThrough ${operation.queue} ${
        typeof operation.through === "bigint" ? `sequence ${operation.through}` : operation.through
      }`
    case "deleteExpired":
      return `deleteExpired ${operation.queue} before ${operation.before}`
    case "expireAll":
    case "compactDeleted":
      return `${operation.op} before ${operation.before}, ${operation.batchSize} at a time`
    case "stats":
      return "stats"
    case "recount":
      return `recount, ${operation.batchSize} at a time`
    case "importLog":
      return `importLog, ${operation.mode}, ${operation.format}, ${operation.frame} frame, in pieces of ${operation.pieces} bytes [${
        operation.lines.map(draftLineText).join("; ")
      }]`
    default:
      return `${operation.op} ${operation.queue}`
  }
}

/** Replaces the ids in a text by the names of this history. */
const withNames = (text: string, ids: AllIds): string => {
  let named = text
  for (const name of queueNames) {
    named = named.replaceAll(ids[name].recipientId, `${name}.recipient`).replaceAll(
      ids[name].senderId,
      `${name}.sender`
    )
  }
  for (const name of messageNames) named = named.replaceAll(`"${id(name)}"`, name)
  return named
}

/** A history on which store and model disagree, up to the step where they do. */
class Disagreement {
  readonly _tag = "Disagreement"
  readonly script: string
  constructor(script: string) {
    this.script = script
  }
}

/**
 * Plays one history, and fails at the first answer that differs. After each step the record of the queue is compared too,
 * which shows size, latch and sequences; at the end all entries of all queues.
 */
const play = Effect.fnUntraced(function*(store: Store, history: History, ids: AllIds, tally: Tally) {
  const model = new MsgStoreModel(historyLimits)
  const script: Array<string> = []

  const compare = (what: string, actual: unknown, expected: unknown) => {
    const where = difference(actual, expected)
    if (where === undefined) {
      script.push(`${what} -> ${answerText(expected)}`)
      return Effect.void
    }
    const last = `${what} -> expected ${answerText(expected)}, got ${answerText(actual)}   (differs at ${where})`
    return Effect.fail(new Disagreement(withNames([...script, last].join("\n"), ids)))
  }

  const compareRecord = Effect.fnUntraced(function*(after: string, recipientId: RecipientId) {
    const actual = yield* answerOf(store.getQueue({ recipientId }))
    const expected = model.getQueue({ recipientId })
    if (difference(actual, expected) !== undefined) yield* compare(`the record after ${after}`, actual, expected)
  })

  yield* TestClock.setTime(startTime)
  for (const [i, quota] of history.quotas.entries()) {
    const name = Arr.getUnsafe(queueNames, i)
    const queue = { ...ids[name], quota }
    const answer = yield* answerOf(store.createQueue(queue))
    yield* compare(`createQueue ${name}, ${quotaText(quota)}`, answer, model.createQueue(queue, startTime))
  }

  for (const [step, operation] of history.operations.entries()) {
    const now = startTime + step + 1
    yield* TestClock.setTime(now)
    const latched = operation.op === "write" && model.find(targetOf(ids, operation))?.latched === true
    const { call, expected, outcomes } = onBoth(store, model, ids, operation, step, now)
    for (const outcome of outcomes ?? [outcomeOf(operation.op, expected, latched)]) record(tally, outcome)
    // Entries are objects of the model and may change in later steps, so the script is written at once.
    const text = operationText(operation)
    yield* compare(text, yield* answerOf(call), expected)
    const touched = operation.op === "writeMany"
      ? operation.items.map((item) => item.queue)
      : operation.op === "importLog" || isWhole(operation)
      ? queueNames
      : [operation.queue]
    for (const name of new Set(touched)) yield* compareRecord(text, ids[name].recipientId)
  }

  for (const name of queueNames) {
    const { recipientId } = ids[name]
    yield* compareRecord("all steps", recipientId)
    const entries = yield* answerOf(allEntries(store, recipientId))
    const queue = model.find({ recipientId })
    const expected = queue === undefined
      ? { failure: { _tag: "QueueNotFound", target: { recipientId } } }
      : { success: queue.entries }
    yield* compare(`all entries of ${name} at the end`, entries, expected)
  }
  const own = queueNames.map((name) => `"${ids[name].recipientId}"`)
  const exported = yield* answerOf(exportedLines(store, (line) => own.some((id) => line.includes(id))))
  yield* compare("the export at the end", exported, { success: model.exportLog("restante").slice(1, -1) })
  return true
}, Effect.provide(TestClock.layer()))

/**
 * Deletes the queues of a history: another one would have to read past them in its export. A history that had the store to
 * itself leaves no tombstones either, whose ids are those of others in a store that is shared.
 */
const clear = (store: Store, ids: AllIds, alone: boolean) =>
  Effect.andThen(
    Effect.forEach(queueNames, (name) => Effect.ignore(store.deleteQueue(ids[name].recipientId)), { discard: true }),
    alone ? Effect.ignore(store.compactDeleted({ before: Number.MAX_SAFE_INTEGER })) : Effect.void
  )

/** An answer without the wrapping that is the same for all. */
const answerText = (answer: unknown): string => {
  if (typeof answer !== "object" || answer === null) return print(answer)
  if ("success" in answer) return print(answer.success)
  return "failure" in answer ? print(answer.failure) : print(answer)
}

/** The fewest operations that this many histories have; they have about 50 each, and few of them may have fewer. */
const fewestPerHistory = 34
const fewestPerHistoryAlone = 20

/**
 * Compares many histories, and throws the shortest disagreement that shrinking finds, as a script with the token that
 * plays it again. Also throws when the histories did not do what they are for: too few operations, or an answer of the
 * contract that never came.
 *
 * With `alone`, nobody else uses the store, and operations over all queues are among those compared; the histories follow
 * each other and are a tenth as many, but 40 where there are as many.
 */
export const compareHistories = Effect.fnUntraced(function*(store: Store, options: HistoryOptions, alone = false) {
  const wanted = options.histories ?? 600
  const runs = alone ? Math.min(wanted, Math.max(40, Math.ceil(wanted / 10))) : wanted
  const tally: Tally = new Map()
  let operations = 0
  const result = yield* Arbitrary.checkEffect(
    historiesOf(alone ? wholeWeights : weights),
    (history) => {
      const ids: AllIds = { q1: drawIds(), q2: drawIds(), q3: drawIds(), q4: drawIds() }
      return play(store, history, ids, tally).pipe(
        Effect.ensuring(clear(store, ids, alone)),
        Effect.map((agreed) => {
          operations += history.operations.length
          return agreed
        })
      )
    },
    {
      runs,
      size: 200,
      concurrency: alone ? 1 : 4,
      maxShrinks: alone ? 500 : 2_000,
      seed: options.seed,
      replay: options.replay
    }
  )
  if (result._tag === "Falsified") {
    const failure = result.failure
    const script = failure._tag === "PropertyError" ? failure.error.script : "the property answered false"
    return unmet(
      `the store and the model disagree on this history (found after ${result.runs} histories, shrunk ${result.shrinks} times):\n` +
        `${script}\nreplay: ${result.replay}`
    )
  }
  if (result._tag !== "Passed") return unmet(`the histories were not all played: ${print(result)}`)
  if (options.replay !== undefined) return { operations, tally }
  if (operations < runs * (alone ? fewestPerHistoryAlone : fewestPerHistory)) {
    return unmet(`only ${operations} operations in ${runs} histories were compared`)
  }
  const missing = (alone ? everyWholeOutcome : everyOutcome).filter((outcome) => !tally.has(outcome))
  // Few histories need not meet everything.
  if (runs >= (alone ? 40 : 200) && missing.length > 0) {
    return unmet(`answers that never came in ${operations} operations: ${missing.join("; ")}`)
  }
  return { operations, tally }
})

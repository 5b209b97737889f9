/**
 * Random histories: sequences of operations on a few queues, played on a store and on the model at the same times, with
 * every answer compared. The pools of ids, sizes and times are small, so that repeats, overflows and expiry happen often.
 */
import { Arbitrary, Array as Arr, Cause, Effect, Exit, Option, Result, Schema } from "effect"
import * as TestClock from "effect/testing/TestClock"
import type { Message, MsgStore, MsgStoreError, Queue } from "restante"
import { RecipientId, SenderId } from "restante"
import type { ModelAnswer, ModelItem, ModelMessage } from "../../MsgStoreModel.ts"
import { MsgStoreModel } from "../../MsgStoreModel.ts"
import type { Store } from "./case.ts"
import { difference, print, unmet } from "./expectation.ts"
import { allEntries, filled, id } from "./fixture.ts"

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
/** The queues that exist when a history starts; the fourth comes to be by an operation, or never. */
const createdFirst = 3
/** Far from the timestamps that messages are given, so that those without one are fresh for most cut-offs. */
const startTime = 1_000

type QueueName = (typeof queueNames)[number]
type MessageName = (typeof messageNames)[number]

interface Draft {
  readonly name: MessageName
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

/** What happens, after queues with these quotas have been created. */
export interface History {
  readonly quotas: ReadonlyArray<number | undefined>
  readonly operations: ReadonlyArray<Operation>
}

/** One of the values. A value that is named twice comes twice as often. */
const oneOf = <A>(...values: readonly [A, ...ReadonlyArray<A>]): Arbitrary.Arbitrary<A> =>
  Arbitrary.map(Arbitrary.schema(Schema.Literals(values.map((_, i) => i))), (i) => Arr.getUnsafe(values, i))

// Most operations meet on the first queue, so that something happens there in a short history too.
const queue = oneOf<QueueName>("q1", "q1", "q1", "q1", "q2", "q2", "q3", "q4")
const name = oneOf(...messageNames)
const quota = oneOf(undefined, 0, 1, 2, 3, 3)
const status = oneOf<Queue.QueueStatus>("active", "active", "suspended")
const by = oneOf<Address["by"]>("sender", "sender", "recipient")
const draft = (size: Arbitrary.Arbitrary<number>): Arbitrary.Arbitrary<Draft> =>
  Arbitrary.all({
    name,
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
  deleteExpired: Arbitrary.all({ op: oneOf("deleteExpired" as const), queue, before: oneOf(0, 11, 20, 35, 1_010) })
}

/** How often each operation comes, in parts of their sum. */
const weights: { readonly [Op in Operation["op"]]: number } = {
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
  deleteQueue: 1
}

const isOperation = (text: string): text is Operation["op"] => Object.hasOwn(weights, text)
const kinds = Object.keys(weights).filter(isOperation).flatMap((kind) => Arr.makeBy(weights[kind], () => kind))

const histories: Arbitrary.Arbitrary<History> = Arbitrary.all({
  quotas: Arbitrary.all(Arr.makeBy(createdFirst, () => quota)),
  operations: Arbitrary.array(
    Arbitrary.flatMap(
      oneOf<Operation["op"]>("write", ...kinds),
      (kind): Arbitrary.Arbitrary<Operation> => generators[kind]
    ),
    { maxLength: 200 }
  )
})

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

/** `head` becomes the id that the model has at the head, so that both are asked the same. */
const named = (model: MsgStoreModel, recipientId: RecipientId, name: MessageName | "head") =>
  name === "head" ? model.find({ recipientId })?.entries[0]?.id ?? id("m1") : id(name)

/** What the model answers, the call that must answer the same, and which kinds of answers these are. */
interface Step {
  readonly expected: ModelAnswer<unknown>
  readonly call: Effect.Effect<unknown, unknown>
  readonly outcomes?: ReadonlyArray<string> | undefined
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
      return { expected: model.deleteQueue(recipientId), call: store.deleteQueue(recipientId) }
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
  "deleteExpired: QueueNotFound"
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
const play = Effect.fnUntraced(function*(store: Store, history: History, tally: Tally) {
  const model = new MsgStoreModel(historyLimits)
  const ids: AllIds = { q1: drawIds(), q2: drawIds(), q3: drawIds(), q4: drawIds() }
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
    const touched = operation.op === "writeMany" ? operation.items.map((item) => item.queue) : [operation.queue]
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
  return true
}, Effect.provide(TestClock.layer()))

/** An answer without the wrapping that is the same for all. */
const answerText = (answer: unknown): string => {
  if (typeof answer !== "object" || answer === null) return print(answer)
  if ("success" in answer) return print(answer.success)
  return "failure" in answer ? print(answer.failure) : print(answer)
}

/** The fewest operations that this many histories have; they have about 50 each. */
const fewestPerHistory = 34

/**
 * Compares many histories, and throws the shortest disagreement that shrinking finds, as a script with the token that
 * plays it again. Also throws when the histories did not do what they are for: too few operations, or an answer of the
 * contract that never came.
 */
export const compareHistories = Effect.fnUntraced(function*(store: Store, options: HistoryOptions) {
  const runs = options.histories ?? 600
  const tally: Tally = new Map()
  let operations = 0
  const result = yield* Arbitrary.checkEffect(
    histories,
    (history) =>
      Effect.map(play(store, history, tally), (agreed) => {
        operations += history.operations.length
        return agreed
      }),
    { runs, size: 200, concurrency: 4, maxShrinks: 2_000, seed: options.seed, replay: options.replay }
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
  if (operations < runs * fewestPerHistory) {
    return unmet(`only ${operations} operations in ${runs} histories were compared`)
  }
  const missing = everyOutcome.filter((outcome) => !tally.has(outcome))
  // Few histories need not meet everything.
  if (runs >= 200 && missing.length > 0) {
    return unmet(`answers that never came in ${operations} operations: ${missing.join("; ")}`)
  }
  return { operations, tally }
})

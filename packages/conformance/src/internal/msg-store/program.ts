/**
 * Random concurrent programs: what several workers do at the same time, each one call after another, on a few queues. The
 * pools of queues, ids, quotas and times are small, so that calls meet: on one message, on the last free place, on the latch.
 *
 * Programs and their calls are data without classes, so that they can be handed to another process as JSON.
 */
import { Arbitrary, Array as Arr, Schema } from "effect"
import { RecipientId, SenderId } from "restante"
import { oneOf } from "./history.ts"

/** The place of a queue in its program. */
const QueueIndex = Schema.Int.check(Schema.isGreaterThanOrEqualTo(0))

/** A message and the queue it goes to. The body names the step that writes it, so that entries tell who wrote them. */
const Item = Schema.Struct({
  queue: QueueIndex,
  by: Schema.Literals(["sender", "recipient"]),
  id: Schema.String,
  timestamp: Schema.Int,
  notify: Schema.Boolean,
  body: Schema.String
})
export type Item = typeof Item.Type

const onQueue = { queue: QueueIndex }
/** Names a message; in a program `seen` is whatever this worker last saw at a head. */
const onMessage = { queue: QueueIndex, id: Schema.String }

/** One call of a store. */
export const Operation = Schema.TaggedUnion({
  write: Item.fields,
  writeMany: { items: Schema.Array(Item) },
  peek: onQueue,
  peekBatch: { ...onQueue, limit: Schema.Int },
  acknowledge: onMessage,
  acknowledgeAndPeek: onMessage,
  acknowledgeThrough: onMessage,
  acknowledgeThroughSequence: { ...onQueue, sequence: Schema.Int },
  size: onQueue,
  deleteExpired: { ...onQueue, before: Schema.Int },
  getQueue: onQueue,
  setQuota: { ...onQueue, quota: Schema.Int },
  setQueueStatus: { ...onQueue, status: Schema.Literals(["active", "suspended"]) },
  deleteQueue: onQueue
})
export type Operation = typeof Operation.Type

/** One call of a worker. */
const Step = Schema.Struct({
  operation: Operation,
  /** How often the worker lets others run before it. */
  pauses: Schema.Int,
  /** Absent: the call is left alone. Otherwise it is interrupted after others have been let run this often. */
  interruptedAfter: Schema.optionalKey(Schema.Int)
})
type Step = typeof Step.Type

/** What one worker does, one call after another. */
export const Worker = Schema.Struct({
  name: Schema.String,
  /** After how many steps of the runtime it lets others run, in the middle of a call too. */
  budget: Schema.Int,
  steps: Schema.Array(Step)
})
export type Worker = typeof Worker.Type

/** Queues as they are at first, and workers who start at the same time. */
export interface Program {
  readonly queues: ReadonlyArray<{ readonly quota: number; readonly holding: number }>
  readonly workers: ReadonlyArray<Worker>
}

/** The ids of one queue of a program. */
export const QueueIds = Schema.Struct({ recipientId: RecipientId.schema, senderId: SenderId.schema })
export type QueueIds = typeof QueueIds.Type

/** What programs look like. */
export interface Shape {
  /** At most this many workers, 2 to 16; each program has 2 or more. Absent: other numbers in each program, up to 16. */
  readonly workers?: number | undefined
  /** Exactly this many queues. Absent: 1 to 3. */
  readonly queues?: number | undefined
  /** Whether some calls are interrupted. Default false. */
  readonly interruptions?: boolean | undefined
}

const messageIds = ["m1", "m2", "m3", "m4"] as const
/** How many calls the workers of a program make together, about. */
const callsTogether = 22

const item = (queue: Arbitrary.Arbitrary<number>): Arbitrary.Arbitrary<Item> =>
  Arbitrary.all({
    queue,
    by: oneOf<Item["by"]>("sender", "sender", "recipient"),
    id: oneOf(...messageIds),
    timestamp: oneOf(10, 20, 30, 40),
    notify: oneOf(false, true),
    body: oneOf("")
  })

/** How often each operation comes, in parts of their sum. */
const weights: { readonly [Tag in Operation["_tag"]]: number } = {
  write: 28,
  writeMany: 10,
  peek: 8,
  peekBatch: 4,
  acknowledge: 10,
  acknowledgeAndPeek: 12,
  acknowledgeThrough: 4,
  acknowledgeThroughSequence: 4,
  size: 5,
  deleteExpired: 5,
  getQueue: 4,
  setQuota: 2,
  setQueueStatus: 3,
  deleteQueue: 1
}

const isTag = (text: string): text is Operation["_tag"] => Object.hasOwn(weights, text)
const tags = Object.keys(weights).filter(isTag).flatMap((tag) => Arr.makeBy(weights[tag], () => tag))

const operation = (queues: number): Arbitrary.Arbitrary<Operation> => {
  const queue = oneOf<number>(0, ...Arr.makeBy(queues, (i) => i))
  const acknowledged = oneOf("seen", "seen", "seen", "seen", ...messageIds)
  const generators: {
    readonly [Tag in Operation["_tag"]]: Arbitrary.Arbitrary<Extract<Operation, { readonly _tag: Tag }>>
  } = {
    write: Arbitrary.map(item(queue), (item) => ({ _tag: "write", ...item })),
    writeMany: Arbitrary.all({
      _tag: oneOf("writeMany" as const),
      items: Arbitrary.array(item(queue), { minLength: 2, maxLength: 4 })
    }),
    peek: Arbitrary.all({ _tag: oneOf("peek" as const), queue }),
    peekBatch: Arbitrary.all({ _tag: oneOf("peekBatch" as const), queue, limit: oneOf(2, 3, 9) }),
    acknowledge: Arbitrary.all({ _tag: oneOf("acknowledge" as const), queue, id: acknowledged }),
    acknowledgeAndPeek: Arbitrary.all({ _tag: oneOf("acknowledgeAndPeek" as const), queue, id: acknowledged }),
    acknowledgeThrough: Arbitrary.all({ _tag: oneOf("acknowledgeThrough" as const), queue, id: acknowledged }),
    acknowledgeThroughSequence: Arbitrary.all({
      _tag: oneOf("acknowledgeThroughSequence" as const),
      queue,
      sequence: oneOf(1, 2, 3, 5, 8)
    }),
    size: Arbitrary.all({ _tag: oneOf("size" as const), queue }),
    deleteExpired: Arbitrary.all({ _tag: oneOf("deleteExpired" as const), queue, before: oneOf(15, 25, 35, 100) }),
    getQueue: Arbitrary.all({ _tag: oneOf("getQueue" as const), queue }),
    setQuota: Arbitrary.all({ _tag: oneOf("setQuota" as const), queue, quota: oneOf(0, 1, 2, 5) }),
    setQueueStatus: Arbitrary.all({
      _tag: oneOf("setQueueStatus" as const),
      queue,
      status: oneOf("active" as const, "active" as const, "suspended" as const)
    }),
    deleteQueue: Arbitrary.all({ _tag: oneOf("deleteQueue" as const), queue })
  }
  return Arbitrary.flatMap(
    oneOf<Operation["_tag"]>("write", ...tags),
    (tag): Arbitrary.Arbitrary<Operation> => generators[tag]
  )
}

const step = (queues: number, interruptions: boolean): Arbitrary.Arbitrary<Step> => {
  const pauses = oneOf(0, 0, 0, 1, 2, 4)
  const drawn = operation(queues)
  const left = Arbitrary.all({ operation: drawn, pauses })
  const interrupted = Arbitrary.all({
    operation: drawn,
    pauses,
    interruptedAfter: oneOf(0, 1, 2, 3, 5, 8, 13, 21, 40, 80)
  })
  return interruptions
    ? Arbitrary.flatMap(oneOf<Arbitrary.Arbitrary<Step>>(left, left, interrupted), (step) => step)
    : left
}

/** The operation with bodies that name the step which writes it. */
const signed = (operation: Operation, step: string): Operation => {
  if (operation._tag === "write") return { ...operation, body: step }
  if (operation._tag !== "writeMany") return operation
  return { ...operation, items: operation.items.map((item, place) => ({ ...item, body: `${step}.${place + 1}` })) }
}

const workers = (
  most: number,
  queues: number,
  interruptions: boolean
): Arbitrary.Arbitrary<ReadonlyArray<Worker>> =>
  Arbitrary.map(
    Arbitrary.array(
      Arbitrary.all({
        // A call of the store in memory takes about 40 steps. Trap: with a budget of 2 a fiber yields for ever.
        budget: oneOf(2_048, 4, 5, 7, 9, 12, 17, 25, 40),
        steps: Arbitrary.array(step(queues, interruptions), {
          minLength: 1,
          // Half of it on average, for a number of workers between 2 and the most.
          maxLength: Math.max(2, Math.round(4 * callsTogether / (most + 2)))
        })
      }),
      { minLength: 2, maxLength: most }
    ),
    (drawn) =>
      drawn.map(({ budget, steps }, i) => {
        const name = `w${i + 1}`
        return {
          name,
          budget,
          steps: steps.map((step, place) => ({
            ...step,
            operation: signed(step.operation, `${name}.${place + 1}`)
          }))
        }
      })
  )

const mostWorkers = [2, 3, 4, 6, 8, 12, 16] as const
const queueCounts = [1, 1, 2, 3] as const

const programsOf = (most: number, count: number, interruptions: boolean): Arbitrary.Arbitrary<Program> =>
  Arbitrary.all({
    queues: Arbitrary.all(
      Arr.makeBy(count, () => Arbitrary.all({ quota: oneOf(0, 1, 2, 3, 5), holding: oneOf(0, 0, 1, 2, 3) }))
    ),
    workers: workers(most, count, interruptions)
  })

/** Programs of a shape. */
export const programs = (shape: Shape): Arbitrary.Arbitrary<Program> => {
  const { interruptions = false, queues, workers } = shape
  const sizes: Arr.NonEmptyReadonlyArray<number> = workers === undefined ? mostWorkers : [workers]
  const counts: Arr.NonEmptyReadonlyArray<number> = queues === undefined ? queueCounts : [queues]
  // Made once for each size: making a generator takes longer than drawing from it.
  const made = Arr.flatMap(sizes, (most) => Arr.map(counts, (count) => programsOf(most, count, interruptions)))
  return Arbitrary.flatMap(oneOf(...made), (programs) => programs)
}

/** How many calls the longest program may draw: no collection is limited by less. */
export const programSize = 4 * callsTogether

/** The messages that a queue holds at first, as somebody wrote them. */
export const holding = (queue: number, count: number): ReadonlyArray<Operation> =>
  messageIds.slice(0, count).map((id, i) => ({
    _tag: "write",
    queue,
    by: "sender",
    id,
    timestamp: 10 * (i + 1),
    notify: false,
    body: `before.${i + 1}`
  }))

/** The queues that an operation names, each once. */
export const queuesOf = (operation: Operation): ReadonlyArray<number> =>
  operation._tag === "writeMany" ? [...new Set(operation.items.map((item) => item.queue))] : [operation.queue]

const observing: ReadonlySet<Operation["_tag"]> = new Set(["peek", "peekBatch", "size", "getQueue"])

/** Whether an operation changes nothing in any state. */
export const observes = (operation: Operation): boolean => observing.has(operation._tag)

export const queueName = (queue: number): string => `q${queue + 1}`

const itemText = ({ body, by, id, notify, queue, timestamp }: Item): string =>
  `${queueName(queue)}${by === "recipient" ? " (by recipient id)" : ""} ${id} @${timestamp}${
    notify ? " notify" : ""
  } "${body}"`

/** The operation as a person writes it. */
export const operationText = (operation: Operation): string => {
  switch (operation._tag) {
    case "write":
      return `write ${itemText(operation)}`
    case "writeMany":
      return `writeMany [${operation.items.map(itemText).join("; ")}]`
    case "peekBatch":
      return `peekBatch ${queueName(operation.queue)}, limit ${operation.limit}`
    case "acknowledge":
    case "acknowledgeAndPeek":
    case "acknowledgeThrough":
      return `${operation._tag} ${queueName(operation.queue)} ${operation.id}`
    case "acknowledgeThroughSequence":
      return `acknowledgeThrough ${queueName(operation.queue)} sequence ${operation.sequence}`
    case "deleteExpired":
      return `deleteExpired ${queueName(operation.queue)} before ${operation.before}`
    case "setQuota":
      return `setQuota ${queueName(operation.queue)} to ${operation.quota}`
    case "setQueueStatus":
      return `setQueueStatus ${queueName(operation.queue)} ${operation.status}`
    default:
      return `${operation._tag} ${queueName(operation.queue)}`
  }
}

/**
 * Deliberately wrong stores. Each file beside this one is a store with exactly one mistake, and says which cases have to
 * catch it. `WrongStores.test.ts` runs the suite against all of them: they prove that the suite can fail.
 */
import type { MsgStoreCases, MsgStoreModel } from "@restante/conformance"
import { Array as Arr, Context, Effect, Layer, Option, Schedule, Stream } from "effect"
import type { Message } from "restante"
import { MsgStore, MsgStoreDriver, MsgStoreError } from "restante"

/** A store with one mistake. */
export interface WrongStore {
  /** What it does wrong, said of the store. */
  readonly mistake: string
  /** Numbers of section 12 and of rules; for each of them a case that covers it has to fail. */
  readonly caughtBy: ReadonlyArray<string>
  /** Whether random histories compared with the model catch it, without any other case. */
  readonly caughtByHistories: boolean
  readonly layer: MsgStoreCases.Constructor
}

/** Where a store that is made of a model departs from taking each call as one step on copies. */
export interface Handling {
  /** Entries are handed out as they are, not as copies. */
  readonly sharesBodies?: boolean
  /** Operations that are replaced. */
  readonly replaces?: (
    driver: MsgStoreDriver.MsgStoreDriver,
    model: MsgStoreModel.MsgStoreModel
  ) => Partial<MsgStoreDriver.MsgStoreDriver>
}

const never = (failure: { readonly _tag: string }) => Effect.die(new Error(`the model answered ${failure._tag} here`))

/** The answer of an operation that can only fail with `QueueNotFound`. */
const orNotFound = <A>(
  answer: MsgStoreModel.ModelAnswer<A>
): Effect.Effect<A, MsgStoreError.QueueNotFound> => {
  if ("success" in answer) return Effect.succeed(answer.success)
  const { failure } = answer
  return failure._tag === "QueueNotFound"
    ? Effect.fail(new MsgStoreError.QueueNotFound({ target: failure.target }))
    : never(failure)
}

/** The answer of a write that fits. */
const written = (
  answer: MsgStoreModel.ModelAnswer<MsgStore.WriteOutcome>
): Effect.Effect<MsgStore.WriteOutcome, MsgStoreError.QueueNotFound | MsgStoreError.QueueSuspended> =>
  "failure" in answer && answer.failure._tag === "QueueSuspended"
    ? Effect.fail(new MsgStoreError.QueueSuspended())
    : orNotFound(answer)

const overtaken = new MsgStoreError.MsgStoreError({
  operation: "importLog",
  reason: new MsgStoreError.Unavailable()
})

/** The driver of a model: one step of it for each call. */
export const driverOf = (
  model: MsgStoreModel.MsgStoreModel,
  { replaces, sharesBodies = false }: Handling
): MsgStoreDriver.MsgStoreDriver => {
  const handOut = (entry: Message.Entry): Message.Entry =>
    sharesBodies ? entry : { ...entry, body: new Uint8Array(entry.body) }
  const handOutHead = (entry: Message.Entry | undefined) => Option.map(Option.fromUndefinedOr(entry), handOut)
  const driver: MsgStoreDriver.MsgStoreDriver = {
    createQueue: (queue, now) =>
      Effect.suspend(() => {
        const answer = model.createQueue(queue, now)
        if ("success" in answer) return Effect.succeed(answer.success)
        const { failure } = answer
        return failure._tag === "QueueIdTaken"
          ? Effect.fail(new MsgStoreError.QueueIdTaken({ field: failure.field }))
          : never(failure)
      }),
    getQueue: (recipientId) =>
      Effect.flatMap(
        Effect.suspend(() => orNotFound(model.getQueue({ recipientId }))),
        (record) => "recipientId" in record ? Effect.succeed(record) : never({ _tag: "a sender's view" })
      ),
    getSender: (senderId) => Effect.suspend(() => orNotFound(model.getQueue({ senderId }))),
    setQueueStatus: (recipientId, status, now) =>
      Effect.suspend(() => orNotFound(model.setQueueStatus(recipientId, status, now))),
    setQuota: (recipientId, quota, now) => Effect.suspend(() => orNotFound(model.setQuota(recipientId, quota, now))),
    deleteQueue: (recipientId, now) => Effect.suspend(() => orNotFound(model.deleteQueue(recipientId, now))),
    write: ({ message, target }) => Effect.suspend(() => written(model.write(target, message))),
    writeMany: (items) =>
      Effect.suspend(() => {
        const answer = model.writeMany(items)
        return "success" in answer
          ? Effect.forEach(answer.success, (item) => Effect.result(written(item)))
          : never(answer.failure)
      }),
    peek: (recipientId) => Effect.suspend(() => Effect.map(orNotFound(model.peek(recipientId)), handOutHead)),
    peekBatch: (recipientId, { after, limit }) =>
      Effect.suspend(() =>
        Effect.map(orNotFound(model.peekBatch(recipientId, { after, limit })), (entries) => entries.map(handOut))
      ),
    acknowledge: (recipientId, messageId) =>
      Effect.suspend(() => Effect.map(orNotFound(model.acknowledge(recipientId, messageId)), handOutHead)),
    acknowledgeAndPeek: (recipientId, messageId) =>
      Effect.suspend(() =>
        Effect.map(orNotFound(model.acknowledgeAndPeek(recipientId, messageId)), ({ acknowledged, next }) => ({
          acknowledged: handOutHead(acknowledged),
          next: handOutHead(next)
        }))
      ),
    acknowledgeThroughMessage: (recipientId, messageId) =>
      Effect.suspend(() => orNotFound(model.acknowledgeThrough(recipientId, messageId))),
    acknowledgeThroughSequence: (recipientId, sequence) =>
      Effect.suspend((): Effect.Effect<number, MsgStoreError.QueueNotFound | MsgStoreError.SequenceNotAssigned> => {
        const answer = model.acknowledgeThrough(recipientId, { sequence })
        return "failure" in answer && answer.failure._tag === "SequenceNotAssigned"
          ? Effect.fail(new MsgStoreError.SequenceNotAssigned({ next: answer.failure.next }))
          : orNotFound(answer)
      }),
    size: (recipientId) => Effect.suspend(() => orNotFound(model.size(recipientId))),
    deleteExpired: (recipientId, before) => Effect.suspend(() => orNotFound(model.deleteExpired(recipientId, before))),
    // One element at a time: each is a batch that is applied when it is asked for.
    expireAll: (before, batchSize) =>
      Stream.suspend(() => Stream.fromIterable(model.expireAll(before, batchSize), { chunkSize: 1 })),
    compactDeleted: (before) => Stream.sync(() => model.compactDeleted(before)),
    stats: Effect.sync(() => model.stats()),
    recount: () => Stream.sync(() => model.recount()),
    exportLog: ({ limit }) =>
      Stream.suspend(() => Stream.fromIterable(Arr.chunksOf(model.exportRecords(), limit), { chunkSize: 1 })),
    importLog: (use) =>
      Effect.suspend(() => {
        const staged: MsgStoreModel.ModelImport = { accepted: [], present: [], refused: [] }
        return use({
          stage: (records) =>
            Effect.sync(() =>
              Effect.succeed(records.flatMap((record, index) => {
                const reason = model.stage(staged, structuredClone(record))
                return reason === undefined ? [] : [{ index, reason }]
              }))
            ),
          merge: () =>
            Effect.suspend(() =>
              model.isOvertaken(staged) ? Effect.fail(overtaken) : Effect.succeed(model.merge(staged))
            )
        })
      }),
    watch: (recipientId) =>
      Effect.succeed((from) =>
        // Nothing tells when the model changes, so it is looked at again and again.
        Effect.asVoid(Effect.repeat(Effect.sync(() => model.mayHaveArrived(recipientId, from)), {
          until: (arrived) => arrived,
          schedule: Schedule.spaced("2 millis")
        }))
      )
  }
  return replaces === undefined ? driver : { ...driver, ...replaces(driver, model) }
}

/** A store that is made of a model, usually of one with a mistake. */
export const ofModel = (
  Model: new(limits: MsgStore.Limits) => MsgStoreModel.MsgStoreModel,
  handling: Handling = {}
): MsgStoreCases.Constructor =>
(limits) =>
  Layer.effect(
    MsgStore.MsgStore,
    Effect.suspend(() => MsgStoreDriver.makeStore(driverOf(new Model(limits), handling), limits))
  )

/** The memory store with some operations replaced. */
export const ofMemory = (
  replaces: (store: MsgStoreCases.Store) => Partial<MsgStoreCases.Store>
): MsgStoreCases.Constructor =>
(limits) =>
  Layer.effect(
    MsgStore.MsgStore,
    Effect.map(Layer.build(MsgStore.layerMemory(limits)), (context) => {
      const store = Context.get(context, MsgStore.MsgStore)
      return { ...store, ...replaces(store) }
    })
  )

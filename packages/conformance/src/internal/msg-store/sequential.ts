/**
 * What each operation of a program is on a store and on the reference model, with the answers of both as the same texts.
 * An answer as text can be compared, read, and handed to another process. It has everything of the answer but the times
 * of a record, which belong to the clock.
 */
import { Effect, Option, Predicate, Result } from "effect"
import type { Message, MsgStore, MsgStoreError, Queue } from "restante"
import { RecipientId, SenderId } from "restante"
import type { SequentialModel } from "../../Linearizability.ts"
import type { ModelAnswer, ModelItem, ModelMessage, ModelQueue } from "../../MsgStoreModel.ts"
import { MsgStoreModel } from "../../MsgStoreModel.ts"
import type { Store } from "./case.ts"
import { print } from "./expectation.ts"
import { bytes, id, label, nameOf } from "./fixture.ts"
import type { Item, Operation, Program, QueueIds } from "./program.ts"
import { observes, queueName } from "./program.ts"

/** What a store answered: the text, and the head that the answer showed. */
interface StoreAnswer {
  readonly text: string
  readonly head: string | undefined
}

interface Meaning {
  readonly onModel: (model: MsgStoreModel) => string
  readonly onStore: (store: Store) => Effect.Effect<StoreAnswer, unknown>
}

/** The failure as text, with the names of the queues instead of their ids. */
export const failureText = (failure: unknown, ids: ReadonlyArray<QueueIds>): string => {
  let text = Predicate.hasProperty(failure, "_tag") ? print(failure) : `failed with ${String(failure)}`
  for (const [i, { recipientId, senderId }] of ids.entries()) {
    text = text.replaceAll(recipientId, `${queueName(i)}, recipient`).replaceAll(senderId, `${queueName(i)}, sender`)
  }
  return text
}

const decoder = new TextDecoder()

/** Entries do not change once they are stored, so their texts are kept. */
const entryTexts = new WeakMap<Message.Entry, string>()

const entryText = (entry: Message.Entry): string => {
  const known = entryTexts.get(entry)
  if (known !== undefined) return known
  const { body, notify, sequence, timestamp } = entry
  const text = `${label(entry)} #${sequence} @${timestamp}${notify ? " notify" : ""} "${decoder.decode(body)}"`
  entryTexts.set(entry, text)
  return text
}

const itself = (entry: Message.Entry | undefined) => entry

const headText = (entry: Message.Entry | undefined): string => entry === undefined ? "none" : entryText(entry)

const outcomeText = (outcome: MsgStore.WriteOutcome): string => {
  switch (outcome._tag) {
    case "Accepted":
      return `Accepted #${outcome.sequence}${outcome.wasEmpty ? " into an empty queue" : ""}`
    case "AlreadyStored":
      return `AlreadyStored #${outcome.sequence}`
    default:
      return outcome._tag
  }
}

/** One operation on both. `text` is given what either answers, and `head` finds the head in it. */
const both = <A>(
  ids: ReadonlyArray<QueueIds>,
  onModel: (model: MsgStoreModel) => ModelAnswer<A>,
  onStore: (store: Store) => Effect.Effect<A, unknown>,
  text: (answer: A) => string,
  head: (answer: A) => Message.Entry | undefined = () => undefined
): Meaning => ({
  onModel: (model) => {
    const answer = onModel(model)
    return "success" in answer ? text(answer.success) : failureText(answer.failure, ids)
  },
  onStore: (store) =>
    Effect.map(onStore(store), (answer) => {
      const seen = head(answer)
      return { text: text(answer), head: seen === undefined ? undefined : nameOf(seen.id) }
    })
})

const message = ({ body, id: name, notify, timestamp }: Item): ModelMessage => ({
  id: id(name),
  timestamp,
  notify,
  body: bytes(body)
})

/** What an operation is, on queues with these ids. */
export const meaningOf = (operation: Operation, ids: ReadonlyArray<QueueIds>): Meaning => {
  const idsOf = (queue: number): QueueIds => {
    const found = ids[queue]
    if (found === undefined) throw new RangeError(`there is no queue ${queue} among ${ids.length}`)
    return found
  }
  const targetOf = ({ by, queue }: Item): MsgStoreError.Target =>
    by === "sender" ? { senderId: idsOf(queue).senderId } : { recipientId: idsOf(queue).recipientId }

  if (operation._tag === "writeMany") {
    const items = operation.items.map((item): ModelItem => ({ target: targetOf(item), message: message(item) }))
    return both<ReadonlyArray<ModelAnswer<MsgStore.WriteOutcome> | Result.Result<MsgStore.WriteOutcome, unknown>>>(
      ids,
      (model) => model.writeMany(items),
      (store) => store.writeMany(items),
      (answers) =>
        answers.map((answer) => {
          if (Result.isResult(answer)) {
            return Result.isSuccess(answer) ? outcomeText(answer.success) : failureText(answer.failure, ids)
          }
          return "success" in answer ? outcomeText(answer.success) : failureText(answer.failure, ids)
        }).join("; ")
    )
  }

  const { recipientId, senderId } = idsOf(operation.queue)
  const recordText = (record: Queue.QueueRecord | Queue.SenderView): string => {
    if (!("recipientId" in record) || record.recipientId !== recipientId || record.senderId !== senderId) {
      return "the record of another queue"
    }
    const { firstSequence, latched, nextSequence, quota, size, status } = record
    return `${status}, quota ${quota}, size ${size}${
      latched ? ", latched" : ""
    }, first #${firstSequence}, next #${nextSequence}`
  }
  switch (operation._tag) {
    case "write": {
      const target = targetOf(operation)
      const written = message(operation)
      return both(ids, (model) => model.write(target, written), (store) => store.write(target, written), outcomeText)
    }
    case "peek":
      return both(
        ids,
        (model) => model.peek(recipientId),
        (store) => Effect.map(store.peek(recipientId), Option.getOrUndefined),
        headText,
        itself
      )
    case "peekBatch": {
      const { limit } = operation
      return both(
        ids,
        (model) => model.peekBatch(recipientId, { limit }),
        (store) => store.peekBatch(recipientId, { limit }),
        (entries) => `[${entries.map(entryText).join(", ")}]`,
        (entries) => entries[0]
      )
    }
    case "acknowledge": {
      const messageId = id(operation.id)
      return both(
        ids,
        (model) => model.acknowledge(recipientId, messageId),
        (store) => Effect.map(store.acknowledge(recipientId, messageId), Option.getOrUndefined),
        headText
      )
    }
    case "acknowledgeAndPeek": {
      const messageId = id(operation.id)
      return both(
        ids,
        (model) => model.acknowledgeAndPeek(recipientId, messageId),
        (store) =>
          Effect.map(store.acknowledgeAndPeek(recipientId, messageId), ({ acknowledged, next }) => ({
            acknowledged: Option.getOrUndefined(acknowledged),
            next: Option.getOrUndefined(next)
          })),
        ({ acknowledged, next }) => `${headText(acknowledged)}, next ${headText(next)}`,
        ({ next }) => next
      )
    }
    case "acknowledgeThrough": {
      const messageId = id(operation.id)
      return both(
        ids,
        (model) => model.acknowledgeThrough(recipientId, messageId),
        (store) => store.acknowledgeThrough(recipientId, messageId),
        String
      )
    }
    case "acknowledgeThroughSequence": {
      const through = { sequence: BigInt(operation.sequence) }
      return both(
        ids,
        (model) => model.acknowledgeThrough(recipientId, through),
        (store) => store.acknowledgeThrough(recipientId, through),
        String
      )
    }
    case "size":
      return both(ids, (model) => model.size(recipientId), (store) => store.size(recipientId), String)
    case "deleteExpired": {
      const { before } = operation
      return both(
        ids,
        (model) => model.deleteExpired(recipientId, before),
        (store) => store.deleteExpired(recipientId, before),
        String
      )
    }
    case "getQueue":
      return both<Queue.QueueRecord | Queue.SenderView>(
        ids,
        (model) => model.getQueue({ recipientId }),
        (store) => store.getQueue({ recipientId }),
        recordText
      )
    case "setQuota": {
      const { quota } = operation
      return both(
        ids,
        (model) => model.setQuota(recipientId, quota, 0),
        (store) => store.setQuota(recipientId, quota),
        recordText
      )
    }
    case "setQueueStatus": {
      const { status } = operation
      return both(
        ids,
        (model) => model.setQueueStatus(recipientId, status, 0),
        (store) => store.setQueueStatus(recipientId, status),
        recordText
      )
    }
    case "deleteQueue":
      return both(
        ids,
        (model) => model.deleteQueue(recipientId),
        (store) => store.deleteQueue(recipientId),
        String
      )
  }
}

/** The queues of the model; a state is not changed once it is made. */
export type State = ReadonlyArray<ModelQueue>

const queueKey = ({ deleted, entries, latched, nextSequence, quota, status }: ModelQueue): string =>
  deleted ? "deleted" : `${status} ${quota} ${latched} ${nextSequence} ${entries.map(entryText).join()}`

/** The reference model of the queues of a program, as something that the checker can run forwards and backwards. */
export const sequential = (queues: Program["queues"]): SequentialModel<State, Operation, string> => {
  const ids = queues.map((_, i) => ({
    recipientId: RecipientId.named(`reader ${i}`),
    senderId: SenderId.named(`writer ${i}`)
  }))
  const first = new MsgStoreModel()
  for (const [i, { quota }] of queues.entries()) {
    const own = ids[i]
    if (own !== undefined) first.createQueue({ ...own, quota }, 0)
  }
  const meanings = new Map<Operation, Meaning>()
  const meaning = (operation: Operation): Meaning => {
    const known = meanings.get(operation)
    if (known !== undefined) return known
    const found = meaningOf(operation, ids)
    meanings.set(operation, found)
    return found
  }
  return {
    initial: first.queues,
    // The model changes its queues in place, so it is given copies.
    step: (state, operation) => {
      const model = new MsgStoreModel()
      for (const queue of state) model.queues.push({ ...queue, entries: [...queue.entries] })
      return [meaning(operation).onModel(model), model.queues]
    },
    key: (state) => state.map(queueKey).join("; "),
    same: (expected, actual) => expected === actual,
    observes
  }
}

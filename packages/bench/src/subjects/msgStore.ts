/**
 * The loops of `MsgStore`, the same for every store of it. Everything that is handed out is checked: messages come in order,
 * each once, and at the end the store holds what is left.
 */
import { Effect, Option, Result, Stream } from "effect"
import type { MessageId, MsgStore } from "restante"
import * as Fleet from "../Fleet.ts"
import { bodies } from "../Payload.ts"
import type { Run, Work } from "../Subject.ts"
import type * as Workers from "../Workers.ts"

/** So many queues are made one by one. */
const remembered = 2_000

type Store = MsgStore.MsgStore["Service"]

/** Which numbers were there already. */
class Seen {
  #bits = new Uint8Array(1 << 16)

  /** False if it was there. */
  add(number: number): boolean {
    const at = number >>> 3
    if (at >= this.#bits.length) {
      const larger = new Uint8Array(Math.max(at + 1, this.#bits.length * 2))
      larger.set(this.#bits)
      this.#bits = larger
    }
    const bit = 1 << (number & 7)
    const before = this.#bits[at] ?? 0
    this.#bits[at] = before | bit
    return (before & bit) === 0
  }
}

export interface Loops {
  readonly operations: (run: Run) => Record<Work, Workers.Operation>
  readonly prepare: (messages: number) => Effect.Effect<void, unknown>
  readonly clear: Effect.Effect<void, unknown>
  readonly check: Effect.Effect<string | undefined, unknown>
}

/** Creates the queues first. */
export const make = Effect.fnUntraced(function*(
  store: Store,
  addresses: ReadonlyArray<Fleet.Address>,
  bodyBytes: number
): Effect.fn.Return<Loops, unknown> {
  const body = bodies(bodyBytes)
  const seen = new Seen()
  /** The number of the next message. */
  let next = 0
  let stored = 0
  let problem: string | undefined
  /** The messages that readers hold: taken, and not yet acknowledged. By queue. */
  const held: Array<MessageId | undefined> = []
  /** The last sequence that was removed, by queue. */
  const removed: Array<bigint> = []

  const wrong = (what: string): void => {
    problem ??= what
  }

  const addressOf = (queue: number): Fleet.Address => {
    const address = addresses[queue]
    if (address === undefined) throw new Error("there is no such queue")
    return address
  }

  const prepare = (messages: number): Effect.Effect<void, unknown> =>
    Effect.suspend(() => {
      const first = next
      next += messages
      const log = Fleet.log({ addresses, messages, bodyBytes, first })
      return Effect.map(store.importLog(Stream.fromIterable(log)), (report) => {
        stored += report.messages
        if (report.messages !== messages) wrong(`${report.messages} of ${messages} messages were imported`)
      })
    })

  const write = (queue: number) => {
    const number = next++
    const id = Fleet.idOf(number)
    return Effect.map(store.write({ senderId: addressOf(queue).senderId }, { id, body: body(number) }), (outcome) => {
      if (outcome._tag === "Accepted") stored++
      else wrong(`a write was answered ${outcome._tag}`)
      return id
    })
  }

  const removedFrom = (queue: number, id: MessageId, sequence: bigint): void => {
    stored--
    if (!seen.add(Fleet.numberOf(id))) wrong("a message came twice")
    if (sequence <= (removed[queue] ?? 0n)) wrong("messages came out of order")
    removed[queue] = sequence
  }

  /** The reader of a queue acknowledges what it holds and is handed what follows; at first it only looks. */
  const read = (queue: number) => {
    const { recipientId } = addressOf(queue)
    const last = held[queue]
    const head = last === undefined
      ? store.peek(recipientId)
      : Effect.map(store.acknowledgeAndPeek(recipientId, last), ({ acknowledged, next }) => {
        if (Option.isSome(acknowledged) && acknowledged.value.id === last) {
          removedFrom(queue, last, acknowledged.value.sequence)
        } else wrong("a message that was taken is not there any more")
        return next
      })
    return Effect.map(head, (entry) => held[queue] = Option.getOrUndefined(entry)?.id)
  }

  const cycle: Workers.Operation = (own) => {
    const queue = own.queue()
    if (queue === undefined) return Effect.succeed(0)
    own.move()
    return Effect.flatMap(write(queue), (id) =>
      Effect.map(read(queue), (head) => {
        if (head !== id) wrong("a message is lost, or another one is in front of it")
        return 1
      }))
  }

  const takeOne: Workers.Operation = (own) => {
    const queue = own.queue()
    if (queue === undefined) return Effect.succeed(0)
    const before = held[queue]
    return Effect.flatMap(read(queue), (head) => {
      if (head === undefined) own.leave()
      else if (before !== undefined) own.move()
      return before === undefined ? takeOne(own) : Effect.succeed(1)
    })
  }

  const takeMany = (limit: number): Workers.Operation => {
    const take: Workers.Operation = (own) => {
      const queue = own.queue()
      if (queue === undefined) return Effect.succeed(0)
      const { recipientId } = addressOf(queue)
      return Effect.flatMap(store.peekBatch(recipientId, { limit }), (entries) => {
        const last = entries.at(-1)
        if (last === undefined) {
          own.leave()
          return take(own)
        }
        own.move()
        return Effect.map(store.acknowledgeThrough(recipientId, { sequence: last.sequence }), (count) => {
          if (count !== entries.length) wrong(`${count} messages were removed instead of ${entries.length}`)
          for (const { id, sequence } of entries) removedFrom(queue, id, sequence)
          return count
        })
      })
    }
    return take
  }

  const operations = ({ batch }: Run): Record<Work, Workers.Operation> => {
    let turn = 0
    const nextQueue = () => turn++ % addresses.length
    return {
      send: () => Effect.as(write(nextQueue()), 1),
      sendMany: () => {
        const items = Array.from({ length: batch }, () => {
          const number = next++
          const { senderId } = addressOf(nextQueue())
          return { target: { senderId }, message: { id: Fleet.idOf(number), body: body(number) } }
        })
        return Effect.map(store.writeMany(items), (results) => {
          for (const result of results) {
            if (Result.isSuccess(result) && result.success._tag === "Accepted") stored++
            else wrong("a message of a batch was not accepted")
          }
          return batch
        })
      },
      cycle,
      take: batch === 1 ? takeOne : takeMany(batch),
      peek: () =>
        Effect.map(store.peek(addressOf(nextQueue()).recipientId), (head) => {
          if (Option.isNone(head)) wrong("a queue that was filled is empty")
          return 1
        })
    }
  }

  const empty = ({ recipientId }: Fleet.Address) =>
    Effect.flatMap(store.getQueue({ recipientId }), ({ nextSequence }) =>
      nextSequence === 1n
        ? Effect.void
        : Effect.map(store.acknowledgeThrough(recipientId, { sequence: nextSequence - 1n }), (count) => {
          stored -= count
        }))

  // Whoever creates a queue knows whose it is, and need not ask at its first write: so a run does not begin with a thousand
  // questions. More queues than a client remembers are made in the fastest way.
  if (addresses.length > remembered) yield* prepare(0)
  else yield* Effect.forEach(addresses, (ids) => store.createQueue(ids), { concurrency: 64, discard: true })
  return {
    operations,
    prepare,
    clear: Effect.suspend(() => {
      held.length = 0
      return stored === 0 ? Effect.void : Effect.forEach(addresses, empty, { concurrency: 64, discard: true })
    }),
    check: Effect.map(
      store.stats,
      ({ messages }) =>
        problem ?? (messages === stored ? undefined : `${messages} messages are stored, and should be ${stored}`)
    )
  }
})

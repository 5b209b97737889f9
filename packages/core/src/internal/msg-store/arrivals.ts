/**
 * `arrivals` and `receive`, the same for every backend: a reader registers, looks, and waits where there is nothing. The
 * driver's `watch` is told too often rather than too seldom, so whether a queue has something is always looked up.
 */
import { Effect, Exit, Latch, Option, Stream } from "effect"
import type { InvalidArgument } from "../../InvalidArgument.ts"
import type { Entry } from "../../Message.ts"
import type { MsgStore, Received } from "../../MsgStore.ts"
import type { MsgStoreDriver } from "../../MsgStoreDriver.ts"
import type { MsgStoreError } from "../../MsgStoreError.ts"
import { QueueNotFound } from "../../MsgStoreError.ts"
import type { RecipientId } from "../../QueueId.ts"

/**
 * One element for a queue that holds something, and one for each time that it has been emptied since and holds something
 * again: whatever makes an empty queue hold something has at least the sequence that was the next one when it was not yet.
 */
export const arrivals = (
  driver: Pick<MsgStoreDriver, "getQueue" | "watch">,
  recipientId: RecipientId
): Stream.Stream<void, QueueNotFound | MsgStoreError> =>
  Stream.unwrap(Effect.map(driver.watch(recipientId), (wait) => {
    let seen = 0n
    let createdAt: number | undefined
    const next: Effect.Effect<void, QueueNotFound | MsgStoreError> = Effect.flatMap(
      driver.getQueue(recipientId),
      (record) => {
        createdAt ??= record.createdAt
        // The queue was deleted, and by now there is another of this id, whose sequences began again.
        if (record.createdAt !== createdAt || record.nextSequence < seen) {
          return Effect.fail(new QueueNotFound({ target: { recipientId } }))
        }
        if (record.firstSequence === undefined || record.firstSequence < seen) return Effect.andThen(wait(seen), next)
        seen = record.nextSequence
        return Effect.void
      }
    )
    return Stream.fromEffectRepeat(next)
  }))

type Operations = Pick<MsgStore["Service"], "acknowledge" | "acknowledgeThrough" | "peek">

type Failure = QueueNotFound | InvalidArgument | MsgStoreError

/** A message that was handed out, until its scope has closed. */
class Delivery {
  readonly #entry: Entry
  readonly #acknowledge: Effect.Effect<unknown, Failure>
  /** Open when the message has been in a scope and is in none any more. */
  readonly #settled = Latch.makeUnsafe(false)
  #scopes = 0
  #unacknowledged = false

  constructor(entry: Entry, acknowledge: Effect.Effect<unknown, Failure>) {
    this.#entry = entry
    this.#acknowledge = acknowledge
  }

  /** It may be run again, by somebody who tries again: then it waits for that scope as well. */
  readonly received: Received = Effect.acquireRelease(
    Effect.sync(() => {
      this.#scopes++
      this.#settled.closeUnsafe()
      return this.#entry
    }),
    (_, exit) =>
      Effect.ensuring(
        Exit.isSuccess(exit)
          ? Effect.map(Effect.exit(this.#acknowledge), (acknowledged) => {
            this.#unacknowledged = Exit.isFailure(acknowledged)
          })
          : Effect.void,
        Effect.sync(() => {
          this.#scopes--
          if (this.#scopes === 0) this.#settled.openUnsafe()
        })
      )
  )

  /** Waits for the message's scope, and tries once more to acknowledge if that has failed. */
  readonly settled: Effect.Effect<void, Failure> = Effect.suspend(() =>
    Effect.andThen(
      this.#settled.await,
      Effect.suspend(() => this.#unacknowledged ? Effect.asVoid(this.#acknowledge) : Effect.void)
    )
  )
}

/**
 * One message at a time. The next one waits until the last has been in a scope that has closed, also if nobody has run it
 * yet: a buffer would otherwise fill with the same message over and over.
 */
export const receive = (
  driver: Pick<MsgStoreDriver, "watch">,
  { acknowledge, acknowledgeThrough, peek }: Operations,
  recipientId: RecipientId
): Stream.Stream<Received, Failure> =>
  Stream.unwrap(Effect.map(driver.watch(recipientId), (wait) => {
    let last: Delivery | undefined
    const settled = Effect.suspend(() => last === undefined ? Effect.void : last.settled)
    const head: Effect.Effect<Entry, Failure> = Effect.flatMap(
      peek(recipientId),
      (found) => Option.isSome(found) ? Effect.succeed(found.value) : Effect.andThen(wait(0n), head)
    )
    // A message by its id, and only as the head, so that a queue of this id that was created anew meanwhile keeps what nobody
    // has read. The marker by its sequence: its id is the one that writers write again (see `acknowledge`).
    const removal = (entry: Entry): Effect.Effect<unknown, Failure> =>
      entry.kind === "message"
        ? acknowledge(recipientId, entry.id)
        : Effect.catchTag(
          acknowledgeThrough(recipientId, { sequence: entry.sequence }),
          "SequenceNotAssigned",
          // Only another queue of this id, whose sequences began again, has not given it out.
          () => Effect.fail(new QueueNotFound({ target: { recipientId } }))
        )
    return Stream.fromEffectRepeat(Effect.map(Effect.andThen(settled, head), (entry) => {
      last = new Delivery(entry, removal(entry))
      return last.received
    }))
  }))

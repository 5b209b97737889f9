/**
 * What is waiting for one subscriber: a bounded queue of notifications, and gaps at their places in it.
 *
 * At most one gap of each kind waits. That is enough: a gap asks its reader to look at the present, and the present is the
 * same for two of them. A `connected` or `reconnected` gap keeps its place between the notifications before and after the
 * connection was lost. An `overflow` gap comes before what is left, because what was dropped is older. No gap is ever
 * dropped. Every operation takes constant time.
 */
import { Clock, Effect, type Exit, Latch, MutableList, Option } from "effect"
import type { Event, Gap, Notification } from "./event.ts"
import type { ListenerError } from "./ListenerError.ts"

const gap = (reason: Gap["reason"], dropped = 0): Gap => ({ _tag: "Gap", reason, dropped })

export class Mailbox {
  readonly #capacity: number
  readonly #notifications = MutableList.make<Notification>()
  /** `behind`: how many notifications are to be taken before it. */
  #connection: { readonly reason: "connected" | "reconnected"; behind: number } | undefined
  /** Dropped since the last `overflow` gap was taken. */
  #missing = 0
  #dropped = 0
  #end: Exit.Exit<never, ListenerError> | undefined
  /** Closed only by those who have found nothing. */
  readonly #arrived = Latch.makeUnsafe(false)

  constructor(capacity: number) {
    this.#capacity = capacity
  }

  get dropped(): number {
    return this.#dropped
  }

  /** Answers how many notifications were dropped for it. */
  add(notification: Notification): number {
    if (this.#end !== undefined) return 0
    MutableList.append(this.#notifications, notification)
    const full = this.#notifications.length > this.#capacity
    if (full) {
      MutableList.take(this.#notifications)
      this.#missing++
      this.#dropped++
      if (this.#connection !== undefined && this.#connection.behind > 0) this.#connection.behind--
    }
    return full ? 1 : 0
  }

  interrupted(reason: "connected" | "reconnected"): void {
    if (this.#end !== undefined) return
    this.#connection ??= { reason, behind: this.#notifications.length }
  }

  /** Nothing is added from now on; what is there can still be taken. The first end counts. */
  end(exit: Exit.Exit<never, ListenerError>): void {
    this.#end ??= exit
  }

  /**
   * Wakes those who wait. To be called after each change, and after the changes of all mailboxes.
   *
   * Trap: they run at once, inside this call, and may close what the caller is about to change.
   */
  wake(): void {
    this.#arrived.openUnsafe()
  }

  #next(): Event | undefined {
    const connection = this.#connection
    if (connection?.behind === 0 && (connection.reason === "connected" || this.#missing === 0)) {
      this.#connection = undefined
      return gap(connection.reason)
    }
    if (this.#missing > 0) {
      const dropped = this.#missing
      this.#missing = 0
      return gap("overflow", dropped)
    }
    const notification = MutableList.take(this.#notifications)
    if (notification === MutableList.Empty) return undefined
    if (connection !== undefined) connection.behind--
    return notification
  }

  /**
   * To be waited for after nothing was found. It takes nothing, so interrupting it loses nothing.
   *
   * Trap: call it in the same synchronous step as `#next`. Closing the latch later could shut out what came in between.
   */
  #arrival(): Effect.Effect<void> {
    this.#arrived.closeUnsafe()
    return this.#arrived.await
  }

  readonly take: Effect.Effect<Event, ListenerError> = Effect.suspend(() => {
    const event = this.#next()
    if (event !== undefined) return Effect.succeed(event)
    return this.#end ?? Effect.andThen(this.#arrival(), this.take)
  })

  readonly takeAll: Effect.Effect<ReadonlyArray<Event>, ListenerError> = Effect.suspend(() => {
    const events: Array<Event> = []
    for (let event = this.#next(); event !== undefined; event = this.#next()) events.push(event)
    return events.length === 0 && this.#end !== undefined ? this.#end : Effect.succeed(events)
  })

  /**
   * Trap: `Effect.timeoutOption(take, ...)` would lose an event that is taken at the moment at which the time is up. Only
   * the waiting is raced here.
   */
  takeBefore(deadline: number): Effect.Effect<Option.Option<Event>, ListenerError> {
    return Effect.flatMap(Clock.currentTimeMillis, (now) => {
      const event = this.#next()
      if (event !== undefined) return Effect.succeedSome(event)
      if (this.#end !== undefined) return this.#end
      if (now >= deadline) return Effect.succeedNone
      return Effect.andThen(
        Effect.timeoutOption(this.#arrival(), deadline - now),
        this.takeBefore(deadline)
      )
    })
  }
}

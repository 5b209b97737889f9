/**
 * The last notices of all sessions, for any number of readers who may be slow.
 */
import { Effect, Latch, Stream } from "effect"

const kept = 256

export class Notices<A> {
  readonly #ring: Array<A> = []
  /** How many there have been; the ring holds the last of them. */
  #count = 0
  /** How many somebody has read. */
  #read = 0
  #dropped = 0
  #arrived = Latch.makeUnsafe(false)
  readonly #onDropped: () => void

  constructor(onDropped: () => void) {
    this.#onDropped = onDropped
  }

  add(notice: A): void {
    if (this.#count - kept >= this.#read) {
      this.#dropped++
      this.#onDropped()
    }
    this.#ring[this.#count % kept] = notice
    this.#count++
    const arrived = this.#arrived
    this.#arrived = Latch.makeUnsafe(false)
    arrived.openUnsafe()
  }

  /** How many were overwritten before anybody had read them. */
  get dropped(): number {
    return this.#dropped
  }

  /** Begins with those that are kept. A reader that falls behind misses the oldest. */
  readonly stream: Stream.Stream<A> = Stream.suspend(() => {
    let next = 0
    const take = Effect.gen({ self: this }, function*() {
      while (next === this.#count) yield* this.#arrived.await
      next = Math.max(next, this.#count - kept)
      const notices: Array<A> = []
      for (; next < this.#count; next++) {
        const notice = this.#ring[next % kept]
        if (notice !== undefined) notices.push(notice)
      }
      this.#read = Math.max(this.#read, next)
      return notices
    })
    return Stream.flattenIterable(Stream.fromEffectRepeat(take))
  })
}

/**
 * The last notices of all sessions, for any number of readers who may be slow.
 */
import { Effect, Latch, Metric, Stream } from "effect"
import * as Metrics from "../metrics.ts"

const kept = 256

export class Notices<A> {
  readonly #ring: Array<A> = []
  /** How many there have been; the ring holds the last of them. */
  #count = 0
  #missed = 0
  #arrived = Latch.makeUnsafe(false)

  add(notice: A): void {
    this.#ring[this.#count % kept] = notice
    this.#count++
    const arrived = this.#arrived
    this.#arrived = Latch.makeUnsafe(false)
    arrived.openUnsafe()
  }

  get missed(): number {
    return this.#missed
  }

  /** Begins with those that are kept. A reader that falls behind misses the oldest. */
  readonly stream: Stream.Stream<A> = Stream.suspend(() => {
    let next = Math.max(0, this.#count - kept)
    const take = Effect.gen({ self: this }, function*() {
      while (next === this.#count) yield* this.#arrived.await
      const oldest = this.#count - kept
      if (next < oldest) {
        this.#missed += oldest - next
        yield* Metric.update(Metrics.droppedNotices, oldest - next)
        next = oldest
      }
      const notices: Array<A> = []
      for (; next < this.#count; next++) {
        const notice = this.#ring[next % kept]
        if (notice !== undefined) notices.push(notice)
      }
      return notices
    })
    return Stream.flattenIterable(Stream.fromEffectRepeat(take))
  })
}

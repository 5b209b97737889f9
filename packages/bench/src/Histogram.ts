/**
 * Latencies with a resolution of 1 %, in constant memory: buckets whose bounds grow by that factor.
 */

const growth = Math.log(1.01)
/** In milliseconds; what is shorter counts as this. */
const smallest = 0.001
/** Up to 1,000 seconds; what is longer counts as this. */
const buckets = Math.ceil(Math.log(1_000_000 / smallest) / growth) + 1

export class Histogram {
  readonly #counts = new Float64Array(buckets)
  #total = 0

  get total(): number {
    return this.#total
  }

  record(milliseconds: number): void {
    const index = milliseconds <= smallest ? 0 : Math.ceil(Math.log(milliseconds / smallest) / growth)
    const bucket = Math.min(index, buckets - 1)
    this.#counts[bucket] = (this.#counts[bucket] ?? 0) + 1
    this.#total++
  }

  /** The value in milliseconds that a share of what was recorded does not pass: 0.99 for p99. None if there is nothing. */
  quantile(share: number): number | undefined {
    let left = share * this.#total
    if (left <= 0) return undefined
    for (let bucket = 0; bucket < buckets; bucket++) {
      left -= this.#counts[bucket] ?? 0
      // The middle of the bucket, so that the error is half of the resolution. Sums of counts are exact.
      if (left <= 0) return bucket === 0 ? smallest : smallest * Math.exp((bucket - 0.5) * growth)
    }
    return undefined
  }
}

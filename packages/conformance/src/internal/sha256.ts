/**
 * SHA-256 as FIPS 180-4 has it, for the model: synchronous, so that an import of the model is one step, and in any program.
 */

const mask = 0xffff_ffffn

const primes = (count: number): Array<bigint> => {
  const found: Array<bigint> = []
  for (let n = 2n; found.length < count; n++) if (found.every((prime) => n % prime !== 0n)) found.push(n)
  return found
}

/** The largest whole number whose power is not larger. */
const root = (value: bigint, degree: bigint): bigint => {
  let low = 0n
  let high = value
  while (low < high) {
    const middle = (low + high + 1n) / 2n
    if (middle ** degree <= value) low = middle
    else high = middle - 1n
  }
  return low
}

/** The first 32 bits behind the point of square and cube roots of the first primes. */
const initial = primes(8).map((prime) => Number(root(prime << 64n, 2n) & mask))
const constants = primes(64).map((prime) => Number(root(prime << 96n, 3n) & mask))

const rotate = (word: number, by: number): number => word >>> by | word << (32 - by)

const at = (words: ReadonlyArray<number>, i: number): number => words[i] ?? 0

export const sha256 = (message: ReadonlyArray<number>): Array<number> => {
  const bytes = [...message, 0x80]
  while (bytes.length % 64 !== 56) bytes.push(0)
  const bits = BigInt(message.length) * 8n
  for (let shift = 56n; shift >= 0n; shift -= 8n) bytes.push(Number(bits >> shift & 0xffn))
  let hash = initial
  for (let block = 0; block < bytes.length; block += 64) {
    const schedule: Array<number> = []
    for (let i = 0; i < 16; i++) {
      const start = block + i * 4
      schedule.push(
        at(bytes, start) << 24 | at(bytes, start + 1) << 16 | at(bytes, start + 2) << 8 | at(bytes, start + 3)
      )
    }
    for (let i = 16; i < 64; i++) {
      const a = at(schedule, i - 15)
      const b = at(schedule, i - 2)
      const first = rotate(a, 7) ^ rotate(a, 18) ^ a >>> 3
      const second = rotate(b, 17) ^ rotate(b, 19) ^ b >>> 10
      schedule.push(at(schedule, i - 16) + first + at(schedule, i - 7) + second | 0)
    }
    let [a = 0, b = 0, c = 0, d = 0, e = 0, f = 0, g = 0, h = 0] = hash
    for (let i = 0; i < 64; i++) {
      const upper = rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25)
      const choice = e & f ^ ~e & g
      const first = h + upper + choice + at(constants, i) + at(schedule, i) | 0
      const lower = rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22)
      const majority = a & b ^ a & c ^ b & c
      const second = lower + majority | 0
      h = g
      g = f
      f = e
      e = d + first | 0
      d = c
      c = b
      b = a
      a = first + second | 0
    }
    hash = [a, b, c, d, e, f, g, h].map((word, i) => word + at(hash, i) | 0)
  }
  return hash.flatMap((word) => [word >>> 24, word >>> 16 & 0xff, word >>> 8 & 0xff, word & 0xff])
}

/**
 * The bodies that everybody stores: from a fixed seed, so that every run and every subject has the same bytes. They do not
 * compress, as the encrypted messages that a store is for do not.
 */

const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

/** mulberry32: short, and good enough for bytes that only have to look different. */
const generator = (seed: number) => (): number => {
  seed = (seed + 0x6d2b79f5) | 0
  let t = Math.imul(seed ^ (seed >>> 15), 1 | seed)
  t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
  return (t ^ (t >>> 14)) >>> 0
}

/** So many different bodies there are of each size. */
const variants = 16

/** A function from the number of a message to its body. */
export const bodies = (bytes: number): (index: number) => Uint8Array => {
  const random = generator(0x5eed)
  const all = Array.from({ length: variants }, () => Uint8Array.from({ length: bytes }, () => random() & 255))
  const [first = new Uint8Array(bytes)] = all
  return (index) => all[index % variants] ?? first
}

/** The same for those who take only text or JSON: as many bytes, all of them letters and digits. */
export const texts = (bytes: number): (index: number) => string => {
  const body = bodies(bytes)
  const all = Array.from({ length: variants }, (_, i) => Array.from(body(i), (byte) => alphabet[byte & 63]).join(""))
  return (index) => all[index % variants] ?? ""
}

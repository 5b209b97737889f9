/**
 * The hash of a server's certificate that binds an authentication to its TLS channel: `tls-server-end-point` of RFC 5929.
 * It is made with the hash of the certificate's own signature, which Node does not tell, so it is read from the DER here.
 */
import { createHash } from "node:crypto"

interface Element {
  readonly tag: number
  readonly content: Buffer
  /** Where the next element begins. */
  readonly end: number
}

const element = (der: Buffer, at: number): Element | undefined => {
  const tag = der[at]
  const first = der[at + 1]
  if (tag === undefined || first === undefined) return undefined
  const extra = first < 0x80 ? 0 : first & 0x7f
  if (extra > 4 || at + 2 + extra > der.length) return undefined
  const length = extra === 0 ? first : der.readUIntBE(at + 2, extra)
  const start = at + 2 + extra
  return start + length > der.length
    ? undefined
    : { tag, content: der.subarray(start, start + length), end: start + length }
}

const children = (der: Buffer): ReadonlyArray<Element> => {
  const found: Array<Element> = []
  for (let next = element(der, 0); next !== undefined; next = element(der, next.end)) found.push(next)
  return found
}

const sequence = (found: Element | undefined): ReadonlyArray<Element> =>
  found?.tag === 0x30 ? children(found.content) : []

/** An object identifier's content, as hexadecimal digits: nobody has to decode what is only compared. */
const identifier = (found: Element | undefined): string | undefined =>
  found?.tag === 0x06 ? found.content.toString("hex") : undefined

// MD5 and SHA-1 are too weak to bind anything; RFC 5929 puts SHA-256 in their place.
const hashes: Readonly<Record<string, string>> = {
  "2a864886f70d0205": "sha256", // md5
  "2b0e03021a": "sha256", // sha1
  "608648016503040201": "sha256",
  "608648016503040202": "sha384",
  "608648016503040203": "sha512",
  "608648016503040204": "sha224",
  "608648016503040205": "sha512-224",
  "608648016503040206": "sha512-256",
  "608648016503040207": "sha3-224",
  "608648016503040208": "sha3-256",
  "608648016503040209": "sha3-384",
  "60864801650304020a": "sha3-512"
}

const signatures: Readonly<Record<string, string>> = {
  // 1.2.840.113549.1.1: RSA
  "2a864886f70d010104": "sha256", // with md5
  "2a864886f70d010105": "sha256", // with sha1
  "2a864886f70d01010b": "sha256",
  "2a864886f70d01010c": "sha384",
  "2a864886f70d01010d": "sha512",
  "2a864886f70d01010e": "sha224",
  "2a864886f70d01010f": "sha512-224",
  "2a864886f70d010110": "sha512-256",
  // 1.2.840.10045.4: ECDSA
  "2a8648ce3d0401": "sha256", // with sha1
  "2a8648ce3d040301": "sha224",
  "2a8648ce3d040302": "sha256",
  "2a8648ce3d040303": "sha384",
  "2a8648ce3d040304": "sha512",
  // 2.16.840.1.101.3.4.3: ECDSA and RSA with SHA-3
  "608648016503040309": "sha3-224",
  "60864801650304030a": "sha3-256",
  "60864801650304030b": "sha3-384",
  "60864801650304030c": "sha3-512",
  "60864801650304030d": "sha3-224",
  "60864801650304030e": "sha3-256",
  "60864801650304030f": "sha3-384",
  "608648016503040310": "sha3-512"
}

const rsaPss = "2a864886f70d01010a"

/** The name of the hash, for `createHash`. Ed25519, Ed448 and whatever is not known here have none. */
const signatureHash = (certificate: Buffer): string | undefined => {
  const [, algorithm] = sequence(element(certificate, 0))
  const [name, parameters] = sequence(algorithm)
  const id = identifier(name) ?? ""
  if (id !== rsaPss) return signatures[id]
  // RSASSA-PSS-params: the hash is [0], and SHA-1 if it is not given (RFC 4055).
  const hash = sequence(parameters).find(({ tag }) => tag === 0xa0)
  if (hash === undefined) return "sha256"
  return hashes[identifier(sequence(element(hash.content, 0))[0]) ?? ""]
}

/** The binding data of a certificate given as DER, or undefined for one that has none. */
export const endPoint = (certificate: Buffer): Buffer | undefined => {
  const hash = signatureHash(certificate)
  return hash === undefined ? undefined : createHash(hash).update(certificate).digest()
}

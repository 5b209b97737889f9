/**
 * The client's side of SCRAM-SHA-256 and SCRAM-SHA-256-PLUS (RFC 5802, RFC 7677, and PostgreSQL's manual, "SASL
 * Authentication"): the texts of the exchange, without the frames around them.
 */
import { saslprep } from "@mongodb-js/saslprep"
import * as Effect from "effect/Effect"
import { createHash, createHmac, pbkdf2, randomBytes, timingSafeEqual } from "node:crypto"
import { AuthError, PgTransportError } from "../../PgTransportError.ts"

/** What the client says about channel binding, and the data it binds to. */
export type Binding =
  | { readonly header: "p=tls-server-end-point,,"; readonly data: Buffer }
  /** The client could, and thinks that the server cannot. A server that offered it knows that somebody took the offer away. */
  | { readonly header: "y,," }
  | { readonly header: "n,," }

export interface Exchange {
  readonly first: string
  /** Answers the server's first message. */
  readonly answer: (
    challenge: string,
    password: string
  ) => Effect.Effect<
    { readonly final: string; readonly verify: (final: string) => PgTransportError | undefined },
    PgTransportError
  >
}

const bad = (problem: string): PgTransportError =>
  new PgTransportError({ reason: new AuthError({ kind: "BadExchange", problem }) })

/** As PostgreSQL does it: a password that SASLprep does not take is used as it is. */
const prepare = (password: string): string => {
  try {
    return saslprep(password)
  } catch {
    return password
  }
}

const derive = (password: string, salt: Buffer, iterations: number): Effect.Effect<Buffer, PgTransportError> =>
  Effect.callback((resume) => {
    pbkdf2(
      prepare(password),
      salt,
      iterations,
      32,
      "sha256",
      (error, key) => resume(error === null ? Effect.succeed(key) : Effect.fail(bad("the key could not be derived")))
    )
  })

const hmac = (key: Buffer, text: string): Buffer => createHmac("sha256", key).update(text).digest()

const fromBase64 = (text: string): Buffer | undefined => {
  const bytes = Buffer.from(text, "base64")
  return bytes.toString("base64") === text ? bytes : undefined
}

const readChallenge = (
  challenge: string,
  nonce: string,
  bounds: { readonly min: number; readonly max: number }
): PgTransportError | { readonly nonce: string; readonly salt: Buffer; readonly iterations: number } => {
  const [, extended, saltText, count] =
    /^r=([\x21-\x2b\x2d-\x7e]+),s=([A-Za-z0-9+/=]*),i=([1-9][0-9]{0,9})(?:,.*)?$/s.exec(challenge) ?? []
  if (extended === undefined || saltText === undefined || count === undefined) {
    return bad("the server's SCRAM challenge is malformed")
  }
  if (!extended.startsWith(nonce) || extended.length === nonce.length) {
    return bad("the server's SCRAM nonce does not extend the client's")
  }
  const salt = fromBase64(saltText)
  if (salt === undefined || salt.length === 0) return bad("the server's SCRAM salt is empty or malformed")
  const iterations = Number(count)
  if (iterations < bounds.min || iterations > bounds.max) {
    return bad(`the server asks for ${iterations} SCRAM iterations; ${bounds.min} to ${bounds.max} are allowed`)
  }
  return { nonce: extended, salt, iterations }
}

const readFinal = (final: string, signature: Buffer): PgTransportError | undefined => {
  const [, error] = /^e=([\x21-\x2b\x2d-\x7e]{1,80})(?:,.*)?$/s.exec(final) ?? []
  if (error !== undefined) {
    return new PgTransportError({
      reason: new AuthError({ kind: "Rejected", problem: `the server ended the SCRAM exchange: ${error}` })
    })
  }
  const [, text] = /^v=([A-Za-z0-9+/=]+)(?:,.*)?$/s.exec(final) ?? []
  const given = text === undefined ? undefined : fromBase64(text)
  if (given === undefined) return bad("the server's last SCRAM message is malformed")
  return given.length === signature.length && timingSafeEqual(given, signature)
    ? undefined
    : new PgTransportError({
      reason: new AuthError({
        kind: "ServerNotVerified",
        problem: "the server does not know the password's verifier: it is not the one it claims to be"
      })
    })
}

export const start = (
  binding: Binding,
  bounds: { readonly min: number; readonly max: number }
): Exchange => {
  const nonce = randomBytes(18).toString("base64")
  // PostgreSQL takes the user name from the StartupMessage.
  const bare = `n=,r=${nonce}`
  const bound = Buffer.concat([Buffer.from(binding.header), "data" in binding ? binding.data : Buffer.alloc(0)])
  return {
    first: binding.header + bare,
    answer: Effect.fnUntraced(function*(challenge, password) {
      const read = readChallenge(challenge, nonce, bounds)
      if (read instanceof PgTransportError) return yield* read
      const salted = yield* derive(password, read.salt, read.iterations)
      const clientKey = hmac(salted, "Client Key")
      const withoutProof = `c=${bound.toString("base64")},r=${read.nonce}`
      const text = `${bare},${challenge},${withoutProof}`
      const clientSignature = hmac(createHash("sha256").update(clientKey).digest(), text)
      const proof = clientKey.map((byte, i) => byte ^ (clientSignature[i] ?? 0))
      const serverSignature = hmac(hmac(salted, "Server Key"), text)
      return {
        final: `${withoutProof},p=${Buffer.from(proof).toString("base64")}`,
        verify: (final) => readFinal(final, serverSignature)
      }
    })
  }
}

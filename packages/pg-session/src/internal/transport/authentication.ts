/**
 * From the StartupMessage to AuthenticationOk: which method the server may ask for, and the exchange itself (spec 2.2).
 * Nothing that is derived from the password is sent before the method is known to be allowed.
 */
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import { createHash } from "node:crypto"
import { AuthError, PgTransportError } from "../../PgTransportError.ts"
import { parse, type ServerFields } from "../serverFields.ts"
import { endPoint } from "./certificate.ts"
import { type Frame, type Line, violation } from "./line.ts"
import type { LegacyAuth, Settings } from "./options.ts"
import * as Refusal from "./refusal.ts"
import * as Scram from "./scram.ts"
import * as Tls from "./tls.ts"

export type Method = "scram-sha-256-plus" | "scram-sha-256" | "md5" | "cleartext" | "trust"

export interface Authenticated {
  readonly method: Method
  readonly bound: boolean
  /** Frames for the client: AuthenticationOk last. */
  readonly frames: ReadonlyArray<Buffer>
  readonly notices: ReadonlyArray<ServerFields>
}

export interface Client {
  readonly user: string
  readonly password: Redacted.Redacted | undefined
}

type Rules = Pick<Settings, "allowLegacyAuth" | "channelBinding" | "scramIterations" | "tls">

/** Before authentication ends the server has no reason for longer frames. */
const limit = 64 * 1024

/** All that is held until the session begins. */
export const greetingLimit = 1024 * 1024

export const sizeOf = (frames: ReadonlyArray<Buffer>): number => frames.reduce((size, { length }) => size + length, 0)

const request = { ok: 0, cleartext: 3, md5: 5, sasl: 10, saslContinue: 11, saslFinal: 12 } as const

const unsupported: Readonly<Record<number, string>> = {
  2: "Kerberos",
  6: "SCM credentials",
  7: "GSS",
  8: "GSS",
  9: "SSPI"
}

const refused = (kind: (typeof AuthError.Type)["kind"], problem: string): PgTransportError =>
  new PgTransportError({ reason: new AuthError({ kind, problem }) })

const passwordFrame = (body: Uint8Array): Buffer => {
  const frame = Buffer.allocUnsafe(body.length + 5)
  frame[0] = 0x70
  frame.writeInt32BE(body.length + 4, 1)
  frame.set(body, 5)
  return frame
}

/** Mechanism names, each ended by a NUL, and one more NUL. */
const mechanismsOf = (body: Buffer): ReadonlyArray<string> =>
  body.toString("latin1", 4).split("\0").filter((name) => name !== "")

const md5 = (...parts: ReadonlyArray<string | Uint8Array>): string => {
  const hash = createHash("md5")
  for (const part of parts) hash.update(part)
  return hash.digest("hex")
}

/** The password, for a method that is allowed. */
const passwordOf = ({ password }: Client): Effect.Effect<string, PgTransportError> =>
  password === undefined
    ? Effect.fail(refused("MethodRefused", "the server asks for a password and none is configured"))
    : Effect.succeed(Redacted.value(password))

/** Refuses a method that is not allowed, or that cannot be bound although it must. */
const permit = (
  rules: Rules,
  allowed: boolean,
  word: LegacyAuth,
  asks: string
): Effect.Effect<void, PgTransportError> =>
  !allowed
    ? Effect.fail(refused("MethodRefused", `the server ${asks}; if that is meant, put "${word}" in allowLegacyAuth`))
    : rules.channelBinding === "require"
    ? Effect.fail(refused("BindingUnavailable", `the server ${asks}, and channel binding is required`))
    : Effect.void

const chooseBinding = (
  line: Line,
  rules: Rules,
  mechanisms: ReadonlyArray<string>
): Scram.Binding | PgTransportError => {
  const tls = Tls.of(line)
  const required = rules.channelBinding === "require"
  if (tls === undefined) {
    if (required) return refused("BindingUnavailable", "channel binding is required, and there is no TLS to bind to")
    return line.isLocal || rules.allowLegacyAuth.has("remote-plaintext")
      ? { header: "n,," }
      : refused(
        "MethodRefused",
        "SCRAM without TLS, over a network, lets others guess the password; use TLS, "
          + "or put \"remote-plaintext\" in allowLegacyAuth"
      )
  }
  if (rules.channelBinding === "disable") return { header: "n,," }
  const certificate = tls.getPeerX509Certificate()
  const data = certificate === undefined ? undefined : endPoint(certificate.raw)
  if (data === undefined) {
    return required
      ? refused(
        "BindingUnavailable",
        "channel binding is required, and the server's certificate has no hash to bind to"
      )
      : { header: "n,," }
  }
  if (mechanisms.includes("SCRAM-SHA-256-PLUS")) return { header: "p=tls-server-end-point,,", data }
  return required
    ? refused("BindingUnavailable", "channel binding is required, and the server does not offer it")
    : { header: "y,," }
}

export const authenticate = Effect.fnUntraced(function*(
  line: Line,
  rules: Rules,
  client: Client
): Effect.fn.Return<Authenticated, PgTransportError> {
  const frames: Array<Buffer> = []
  const notices: Array<ServerFields> = []

  /** The next authentication request; what else may come at this time is noted and passed. */
  const next = Effect.fnUntraced(function*(): Effect.fn.Return<Frame & { readonly code: number }, PgTransportError> {
    for (;;) {
      const frame = yield* line.frame(limit)
      switch (frame.type) {
        case "R":
          if (frame.body.length < 4) return yield* violation("an authentication request of the server is cut short")
          return { ...frame, code: frame.body.readInt32BE(0) }
        case "E": {
          const fields = parse(frame.body)
          return yield* Refusal.of(line, fields, fields.message ?? "no reason given")
        }
        case "N":
          notices.push(parse(frame.body))
          frames.push(frame.bytes)
          break
        case "v": // NegotiateProtocolVersion
          frames.push(frame.bytes)
          break
        default:
          return yield* violation("the server sent something else than an authentication request")
      }
      if (sizeOf(frames) > greetingLimit) return yield* violation("the server talks without authenticating")
    }
  })

  const done = (frame: Frame, method: Method): Authenticated => ({
    method,
    bound: method === "scram-sha-256-plus",
    frames: [...frames, frame.bytes],
    notices
  })

  const expectOk = Effect.fnUntraced(function*(method: Method) {
    const frame = yield* next()
    return frame.code === request.ok
      ? done(frame, method)
      : yield* refused("BadExchange", "the server asks for another authentication after the first")
  })

  /** The text of the server's next SCRAM message. */
  const expect = Effect.fnUntraced(function*(code: number) {
    const frame = yield* next()
    if (frame.code === code) return frame.body.toString("utf8", 4)
    return yield* frame.code === request.ok
      ? refused(
        "ServerNotVerified",
        "the server ended the exchange without proving that it knows the password's verifier"
      )
      : refused("BadExchange", "the server left the SCRAM exchange")
  })

  const scram = Effect.fnUntraced(function*(mechanisms: ReadonlyArray<string>) {
    const binding = chooseBinding(line, rules, mechanisms)
    if (binding instanceof PgTransportError) return yield* binding
    const mechanism = "data" in binding ? "SCRAM-SHA-256-PLUS" : "SCRAM-SHA-256"
    if (!mechanisms.includes(mechanism)) {
      return yield* refused("MethodRefused", `the server does not offer ${mechanism}`)
    }
    const password = yield* passwordOf(client)
    const exchange = Scram.start(binding, rules.scramIterations)
    const first = Buffer.from(exchange.first)
    const size = Buffer.allocUnsafe(4)
    size.writeInt32BE(first.length)
    yield* line.write(passwordFrame(Buffer.concat([Buffer.from(`${mechanism}\0`), size, first])))
    const challenge = yield* expect(request.saslContinue)
    const { final, verify } = yield* exchange.answer(challenge, password)
    yield* line.write(passwordFrame(Buffer.from(final)))
    const problem = verify(yield* expect(request.saslFinal))
    if (problem !== undefined) return yield* problem
    return yield* expectOk("data" in binding ? "scram-sha-256-plus" : "scram-sha-256")
  })

  const asked = yield* next()
  switch (asked.code) {
    case request.ok:
      // A client certificate may have said who we are.
      yield* permit(
        rules,
        rules.tls.clientCertificate || rules.allowLegacyAuth.has("trust"),
        "trust",
        "asks for no authentication at all"
      )
      return done(asked, "trust")
    case request.cleartext: {
      yield* permit(rules, rules.allowLegacyAuth.has("cleartext"), "cleartext", "asks for the password in clear text")
      yield* line.write(passwordFrame(Buffer.from(`${yield* passwordOf(client)}\0`)))
      return yield* expectOk("cleartext")
    }
    case request.md5: {
      yield* permit(rules, rules.allowLegacyAuth.has("md5"), "md5", "asks for the password's MD5 hash")
      if (asked.body.length !== 8) return yield* refused("BadExchange", "the server's MD5 salt is not 4 bytes long")
      const password = yield* passwordOf(client)
      const answer = yield* Effect.try({
        try: () => md5(md5(password, client.user), asked.body.subarray(4)),
        catch: () => refused("BadExchange", "this system's cryptography does not provide MD5")
      })
      yield* line.write(passwordFrame(Buffer.from(`md5${answer}\0`)))
      return yield* expectOk("md5")
    }
    case request.sasl:
      return yield* scram(mechanismsOf(asked.body))
    default:
      return yield* refused(
        "MethodRefused",
        `the server asks for ${unsupported[asked.code] ?? `an unknown method (${asked.code})`}`
      )
  }
})

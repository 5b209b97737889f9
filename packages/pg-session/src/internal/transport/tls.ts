/**
 * TLS with the server, or nothing: there is no way back to plaintext from here (spec 2.1).
 */
import * as Effect from "effect/Effect"
import { isIP } from "node:net"
import { connect, type ConnectionOptions, TLSSocket } from "node:tls"
import { fromCause, PgTransportError, TlsError } from "../../PgTransportError.ts"
import { parse } from "../serverFields.ts"
import { codeOf, type Line, violation } from "./line.ts"
import type { Settings } from "./options.ts"
import * as Refusal from "./refusal.ts"

const sslRequest = Buffer.from([0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f])

const alpn = "postgresql"

const words: Readonly<Record<string, string>> = {
  DEPTH_ZERO_SELF_SIGNED_CERT: "its certificate is signed by nobody but itself",
  SELF_SIGNED_CERT_IN_CHAIN: "its certificate comes from an unknown authority",
  UNABLE_TO_GET_ISSUER_CERT: "its certificate comes from an unknown authority",
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: "its certificate comes from an unknown authority",
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: "its certificate comes from an unknown authority",
  CERT_UNTRUSTED: "its certificate is not trusted",
  CERT_SIGNATURE_FAILURE: "its certificate has a wrong signature",
  CERT_HAS_EXPIRED: "its certificate has expired",
  CERT_NOT_YET_VALID: "its certificate is not valid yet",
  CERT_REVOKED: "its certificate is revoked",
  INVALID_PURPOSE: "its certificate is not for a server",
  ERR_TLS_CERT_ALTNAME_INVALID: "its certificate is for another host name"
}

const failed = (line: Line, problem: string, cause?: unknown): PgTransportError =>
  fromCause(new TlsError({ address: line.name, problem }), cause)

const verification = {
  "verify-full": { rejectUnauthorized: true },
  "verify-ca": { rejectUnauthorized: true, checkServerIdentity: () => undefined },
  "insecure": { rejectUnauthorized: false }
} satisfies Record<Exclude<Settings["tls"]["mode"], "disable">, ConnectionOptions>

const isDisconnect = (error: unknown): boolean =>
  codeOf(error) === "ECONNRESET" || codeOf(error) === "EPIPE" || codeOf(error) === "ETIMEDOUT"

const handshake = Effect.fnUntraced(function*(line: Line, tls: Settings["tls"], mode: keyof typeof verification) {
  const direct = tls.negotiation === "direct"
  const host = "host" in line.address ? line.address.host : undefined
  const socket = connect({
    ...tls.options,
    ...verification[mode],
    ...(direct ? { ALPNProtocols: [alpn] } : {}),
    ...(host === undefined ? {} : { host }),
    // Without a name of the host there is no SNI, which must not be an address.
    ...(tls.options.servername === undefined && host !== undefined && isIP(host) === 0 ? { servername: host } : {}),
    socket: line.socket
  })
  line.replace(socket)
  yield* line.event("secureConnect", (error) => {
    const code = codeOf(error)
    if (!isDisconnect(error)) {
      return failed(line, words[code ?? ""] ?? `the handshake failed (${code ?? "unknown reason"})`, error)
    }
    // Node's own error for a connection that was closed in order: no system call failed. A server before PostgreSQL 17 does
    // that to a client that starts with TLS; it will not change its mind.
    return direct && error instanceof Error && !("syscall" in error)
      ? failed(line, "the server closed the connection; direct negotiation needs PostgreSQL 17", error)
      : line.failure(error)
  })
  if (direct && socket.alpnProtocol !== alpn) {
    return yield* failed(line, `the server did not agree to the protocol ${alpn}`)
  }
})

/** Asks for TLS. The answer is one byte; anything beside it came from somebody who wants it taken for encrypted. */
const request = Effect.fnUntraced(function*(line: Line) {
  yield* line.write(sslRequest)
  const answer = yield* line.take(1)
  switch (answer.toString("latin1")) {
    case "S":
      if (line.socket.readableLength > 0) {
        return yield* violation("the server sent more than one byte in answer to the request for TLS")
      }
      return
    case "N":
      return yield* failed(line, "the server does not offer TLS, and nothing is sent without it")
    case "E": {
      const { body } = yield* line.rest(answer, 64 * 1024)
      return yield* Refusal.of(line, parse(body), "the server answered the request for TLS with an error")
    }
    default:
      return yield* violation("the server's answer to the request for TLS makes no sense")
  }
})

/** Secures a connected line as the settings say. */
export const secure = (line: Line, tls: Settings["tls"]): Effect.Effect<void, PgTransportError> => {
  if (tls.mode === "disable") return Effect.void
  const started = handshake(line, tls, tls.mode)
  return tls.negotiation === "direct" ? started : Effect.andThen(request(line), started)
}

/** The TLS socket of a secured line. */
export const of = (line: Line): TLSSocket | undefined => line.socket instanceof TLSSocket ? line.socket : undefined

/**
 * What can go wrong between the client and the server, below SQL. Texts hold no password, no key and no SQL.
 */
import { Schema } from "effect"

/** An option or a part of the URL is unusable. Nothing was connected. */
export class ConfigError extends Schema.TaggedError<ConfigError>()("ConfigError", { problem: Schema.String }) {
  override get message(): string {
    return this.problem
  }
}

/**
 * No connection: refused, reset, unknown host, or no session within the time given. `attempts` counts the tries. `sqlstate` is
 * there if the server answered that it starts up or shuts down (57P03) or has too many clients (53300).
 */
export class Unreachable extends Schema.TaggedError<Unreachable>()("Unreachable", {
  address: Schema.String,
  problem: Schema.String,
  attempts: Schema.Int,
  sqlstate: Schema.optionalKey(Schema.String)
}) {
  override get message(): string {
    return `no connection to ${this.address}: ${this.problem} (attempts: ${this.attempts})`
  }
}

/** TLS was refused by the server, or its certificate is not one to trust. Nothing was sent in plaintext. */
export class TlsError extends Schema.TaggedError<TlsError>()("TlsError", {
  address: Schema.String,
  problem: Schema.String
}) {
  override get message(): string {
    return `no TLS with ${this.address}: ${this.problem}`
  }
}

/**
 * The server and the client did not come to terms about who they are.
 *
 * - `MethodRefused`: the server asked for a method that is not allowed here, or for a password and there is none; nothing
 *   derived from the password was sent
 * - `BindingUnavailable`: channel binding was required and is not to be had
 * - `ServerNotVerified`: the server could not prove that it knows the password's verifier
 * - `Rejected`: the server said no; `sqlstate` has its code
 * - `BadExchange`: the server's messages make no sense
 */
export class AuthError extends Schema.TaggedError<AuthError>()("AuthError", {
  kind: Schema.Literals(["MethodRefused", "BindingUnavailable", "ServerNotVerified", "Rejected", "BadExchange"]),
  problem: Schema.String,
  sqlstate: Schema.optionalKey(Schema.String)
}) {
  override get message(): string {
    return `not authenticated: ${this.problem}`
  }
}

/** Bytes that PostgreSQL's protocol does not allow where they came. The socket was closed. */
export class ProtocolViolation extends Schema.TaggedError<ProtocolViolation>()("ProtocolViolation", {
  problem: Schema.String
}) {
  override get message(): string {
    return `protocol violation: ${this.problem}`
  }
}

/** The server refused to start a session for a reason other than authentication, such as an unknown database. */
export class Refused extends Schema.TaggedError<Refused>()("Refused", {
  problem: Schema.String,
  sqlstate: Schema.String
}) {
  override get message(): string {
    return `the server refused the session: ${this.problem} (${this.sqlstate})`
  }
}

/** An established session ended: the server closed it, the network failed, or it was destroyed here. */
export class SessionLost extends Schema.TaggedError<SessionLost>()("SessionLost", { problem: Schema.String }) {
  override get message(): string {
    return `the session was lost: ${this.problem}`
  }
}

/** The transport was used in a way that cannot work. */
export class Misuse extends Schema.TaggedError<Misuse>()("Misuse", { problem: Schema.String }) {
  override get message(): string {
    return this.problem
  }
}

export const PgTransportErrorReason = Schema.Union([
  ConfigError,
  Unreachable,
  TlsError,
  AuthError,
  ProtocolViolation,
  Refused,
  SessionLost,
  Misuse
])
export type PgTransportErrorReason = typeof PgTransportErrorReason.Type

/**
 * The transport could not do its work. A statement on its session fails with a `SqlError` whose `reason.cause` is this.
 * The server's own fields, where it sent some, are in `cause`; `PgErrors.from` finds them.
 */
export class PgTransportError extends Schema.TaggedError<PgTransportError>()("PgTransportError", {
  reason: PgTransportErrorReason
}) {
  override get message(): string {
    return `PgTransport: ${this.reason.message}`
  }
}

/** An error with what caused it: kept out of the serialised form, because it may quote what the server said. */
export const fromCause = (reason: PgTransportErrorReason, cause: unknown): PgTransportError =>
  Object.defineProperty(new PgTransportError({ reason }), "cause", { value: cause, enumerable: false })

/**
 * What a listener and its subscriptions can fail with. No text contains a payload, a password or SQL: texts end up in logs.
 */
import { Schema } from "effect"

/** The scope of the subscription, or of the listener, has been closed. */
export class ListenerClosed extends Schema.TaggedError<ListenerClosed>()("ListenerClosed", {}) {
  override get message(): string {
    return "the subscription or its listener is closed; take inside the scope in which you subscribed"
  }
}

/** PostgreSQL could not use this name for a channel. Nothing was sent. */
export class BadChannel extends Schema.TaggedError<BadChannel>()("BadChannel", { problem: Schema.String }) {
  override get message(): string {
    return this.problem
  }
}

/** PostgreSQL could not carry this payload. Nothing was sent. */
export class BadPayload extends Schema.TaggedError<BadPayload>()("BadPayload", { problem: Schema.String }) {
  override get message(): string {
    return this.problem
  }
}

/** An option of the listener or of a subscription is unusable. Nothing was connected or subscribed. */
export class BadOption extends Schema.TaggedError<BadOption>()("BadOption", { problem: Schema.String }) {
  override get message(): string {
    return this.problem
  }
}

/** The call cannot work as it is meant. Nothing was sent. */
export class Misuse extends Schema.TaggedError<Misuse>()("Misuse", { problem: Schema.String }) {
  override get message(): string {
    return this.problem
  }
}

/**
 * The listener has no connection and tries no more: the server refused the session for a reason that another attempt does
 * not change, or the `backoff` schedule has ended. A new listener is needed.
 */
export class ConnectionFailed extends Schema.TaggedError<ConnectionFailed>()("ConnectionFailed", {
  problem: Schema.String,
  sqlstate: Schema.optionalKey(Schema.String)
}) {
  override get message(): string {
    return `no connection and no further attempt: ${this.problem}${
      this.sqlstate === undefined ? "" : ` (${this.sqlstate})`
    }`
  }
}

export const ListenerErrorReason = Schema.Union([
  ListenerClosed,
  BadChannel,
  BadPayload,
  BadOption,
  Misuse,
  ConnectionFailed
])
export type ListenerErrorReason = typeof ListenerErrorReason.Type

/** Match the reason with `Effect.catchReason("ListenerError", "ListenerClosed", ...)`. */
export class ListenerError extends Schema.TaggedError<ListenerError>()("ListenerError", {
  reason: ListenerErrorReason
}) {
  override get message(): string {
    return `PgListener: ${this.reason.message}`
  }
}

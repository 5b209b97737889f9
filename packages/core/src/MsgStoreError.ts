/**
 * Everything that an operation of a `MsgStore` can fail with. Outcomes that a caller should expect (an empty queue, a full
 * one) are answers, not errors. No error text contains an id, a body or SQL: texts end up in logs.
 */
import { Schema } from "effect"
import { RecipientId, SenderId } from "./QueueId.ts"

/** How a caller named a queue: by the id to write with, or by the id to read with. */
export const Target = Schema.Union([
  Schema.Struct({ senderId: SenderId.schema }),
  Schema.Struct({ recipientId: RecipientId.schema })
])
export type Target = typeof Target.Type

/**
 * No live queue has this id. `target` is the id as given. A queue that was deleted and one that never existed are not told
 * apart: whoever holds an old id learns nothing from it.
 */
export class QueueNotFound extends Schema.TaggedError<QueueNotFound>()(
  "QueueNotFound",
  { target: Target }
) {
  override get message(): string {
    return `no queue with this ${
      "senderId" in this.target ? "sender" : "recipient"
    } id: it was never created, or is deleted`
  }
}

/** The id is in use by another queue, or reserved by one that was deleted. Nothing was created. */
export class QueueIdTaken extends Schema.TaggedError<QueueIdTaken>()(
  "QueueIdTaken",
  { field: Schema.Literals(["recipientId", "senderId"]) }
) {
  override get message(): string {
    return `the ${this.field} belongs to another queue, or to a deleted one; choose another`
  }
}

/** The queue refuses writes until its status is `'active'` again. Nothing was stored. */
export class QueueSuspended extends Schema.TaggedError<QueueSuspended>()(
  "QueueSuspended",
  {}
) {
  override get message(): string {
    return "the queue is suspended; it takes messages again once its status is set to 'active'"
  }
}

/** The body has more bytes than the store accepts. Decided without asking the store; nothing was stored. */
export class MessageTooLarge extends Schema.TaggedError<MessageTooLarge>()(
  "MessageTooLarge",
  { size: Schema.Int, limit: Schema.Int }
) {
  override get message(): string {
    return `the body has ${this.size} bytes; this store accepts up to ${this.limit}`
  }
}

/** The queue has not given out this sequence yet, so nothing can be acknowledged through it. Nothing was removed. */
export class SequenceNotAssigned extends Schema.TaggedError<SequenceNotAssigned>()(
  "SequenceNotAssigned",
  { next: Schema.BigInt }
) {
  override get message(): string {
    return `this sequence has not been given out yet; the next entry of the queue gets ${this.next}`
  }
}

/** Nothing was applied: no connection, too long a wait for one, or a server that takes no work. Calling again is safe. */
export class Unavailable extends Schema.TaggedError<Unavailable>()("Unavailable", {}) {
  get isRetryable(): boolean {
    return true
  }
  override get message(): string {
    return "the store is unavailable and nothing was applied; try again"
  }
}

/**
 * A change was sent and its answer was lost, so it may or may not have been applied. Calling again is safe if the ids came
 * from the caller: see the operation's own text for what the repeated call answers. A `write` or `createQueue` whose ids
 * the store drew would be a second one.
 */
export class OutcomeUnknown extends Schema.TaggedError<OutcomeUnknown>()(
  "OutcomeUnknown",
  {}
) {
  get isRetryable(): boolean {
    return true
  }
  override get message(): string {
    return "the answer was lost, so the change may or may not have been applied; repeat the call with the same ids"
  }
}

/** A time limit of the server ended the statement, so nothing was applied. Calling again is safe. */
export class Timeout extends Schema.TaggedError<Timeout>()("Timeout", {}) {
  get isRetryable(): boolean {
    return true
  }
  override get message(): string {
    return "a time limit of the server ended the call and nothing was applied; try again, or raise the limit"
  }
}

/** Stored data violates the specification and is not handed out. Repeating the call does not help. */
export class Corrupt extends Schema.TaggedError<Corrupt>()("Corrupt", {}) {
  get isRetryable(): boolean {
    return false
  }
  override get message(): string {
    return "stored data violates the specification and was not handed out; acknowledgeThrough, deleteExpired and " +
      "deleteQueue get past a bad entry"
  }
}

/** The schema is absent, older or newer than this library expects, or may not be used by this role. `problem` says which. */
export class SchemaMismatch extends Schema.TaggedError<SchemaMismatch>()(
  "SchemaMismatch",
  { problem: Schema.String }
) {
  get isRetryable(): boolean {
    return false
  }
  override get message(): string {
    return this.problem
  }
}

export const MsgStoreErrorReason = Schema.Union([Unavailable, OutcomeUnknown, Timeout, Corrupt, SchemaMismatch])
export type MsgStoreErrorReason = typeof MsgStoreErrorReason.Type

/**
 * The store could not do its work. `reason` says whether something may have happened and whether repeating helps; match it
 * with `Effect.catchReason("MsgStoreError", "OutcomeUnknown", ...)`. The failure underneath is in `cause`, for a person
 * who debugs; it is left out of the serialised form, because a driver's error may quote SQL.
 */
export class MsgStoreError extends Schema.TaggedError<MsgStoreError>()(
  "MsgStoreError",
  { operation: Schema.String, reason: MsgStoreErrorReason }
) {
  get isRetryable(): boolean {
    return this.reason.isRetryable
  }
  override get message(): string {
    return `MsgStore.${this.operation}: ${this.reason.message}`
  }
}

/** An error with the failure that caused it. */
export const fromCause = (operation: string, reason: MsgStoreErrorReason, cause: unknown): MsgStoreError =>
  // Trap: as a schema field or an enumerable property the cause would be part of the serialised error.
  Object.defineProperty(new MsgStoreError({ operation, reason }), "cause", { value: cause, enumerable: false })

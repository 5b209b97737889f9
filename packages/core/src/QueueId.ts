import * as ByteId from "./internal/byteId.ts"

/**
 * The id with which a queue is read, emptied, changed and deleted: a capability, to be kept as one keeps a password. It
 * is 1 to 64 bytes, held as unpadded base64url text, so `===` compares it and `console.log` shows it.
 */
export type RecipientId = ByteId.ByteId<"restante/RecipientId">
export const RecipientId: ByteId.ByteIdModule<"restante/RecipientId"> = ByteId.make(
  "restante/RecipientId",
  "recipientId"
)

/**
 * The id with which a queue is written to, and nothing else. Sender ids and recipient ids are two separate spaces: the
 * same bytes may name one queue here and another there. Same form as a `RecipientId`.
 */
export type SenderId = ByteId.ByteId<"restante/SenderId">
export const SenderId: ByteId.ByteIdModule<"restante/SenderId"> = ByteId.make("restante/SenderId", "senderId")

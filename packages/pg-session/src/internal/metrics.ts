/**
 * What an operator may want to count (spec 10). No attribute holds an address, a name or a statement.
 */
import { Metric } from "effect"

const counter = (name: string, description: string) =>
  Metric.counter(`restante_pg_session_${name}`, { description, incremental: true })

export const cancels = counter("cancels", "CancelRequests sent")
export const connectRetries = counter("connect_retries", "Attempts to connect that were repeated")
export const destroyedSessions = counter(
  "destroyed_sessions",
  "Sessions closed at once because they could not be saved"
)
export const droppedNotices = counter(
  "dropped_notices",
  "Notices of servers that were overwritten before they were read"
)
export const droppedNotifications = counter(
  "dropped_notifications",
  "Notifications dropped because a subscriber was too slow"
)
export const listenerReconnects = counter("listener_reconnects", "Lost connections of listeners that were replaced")

const retries = counter("retries", "Repetitions after a failure, by where repeating may help")
export const transactionRetries = Metric.withAttributes(retries, { retry: "transaction" })
export const sessionRetries = Metric.withAttributes(retries, { retry: "session" })

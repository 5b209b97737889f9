/** What a subscriber takes. */
import type { DateTime } from "effect"

/** Somebody notified the channel, and the transaction in which that was done has committed. */
export interface Notification {
  readonly _tag: "Notification"
  readonly channel: string
  /** At most 7,999 bytes in UTF-8; empty if none was given. */
  readonly payload: string
  /** The process id of the session that notified. */
  readonly pid: number
  /** When it arrived here, by this process's Clock. */
  readonly receivedAt: DateTime.Utc
}

/**
 * Notifications may be missing at this place: look for yourself at what they tell about.
 *
 * - `connected`: the first event of every subscription. What happened before is not told
 * - `reconnected`: the connection was lost and is back, and every channel is listened to again
 * - `overflow`: the subscriber was too slow and the oldest notifications were dropped
 */
export interface Gap {
  readonly _tag: "Gap"
  readonly reason: "connected" | "reconnected" | "overflow"
  /** How many notifications were dropped since the last such gap; 0 unless the reason is `overflow`. */
  readonly dropped: number
}

export type Event = Notification | Gap

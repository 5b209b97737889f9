/**
 * What was observed on one store, counted per queue and per client.
 */
import type { Route } from "./Relay.ts"
import type { Observation, Written } from "./Witness.ts"

interface QueueTally {
  /** Answers `Accepted`. */
  accepted: number
  /** Answers `AlreadyStored`: the write had been applied and its answer was lost. */
  alreadyStored: number
  /** Answers `QuotaReached` and `QuotaExceeded`: writes to be repeated later. */
  refused: number
  /** Messages that the recipient knows to be acknowledged. */
  acknowledged: number
}

interface ClientTally {
  unavailable: number
  outcomeUnknown: number
  /** `Timeout`, and what is not worth repeating. */
  other: number
}

export interface Tally {
  readonly count: (observation: Observation) => void
  readonly queue: (route: Route) => Readonly<QueueTally>
  readonly client: (name: string) => Readonly<ClientTally>
  /** All queues together. */
  readonly sum: (key: keyof QueueTally) => number
}

export const make = (routes: ReadonlyArray<Route>): Tally => {
  const queues = new Map<Route, QueueTally>()
  const clients = new Map<string, ClientTally>()
  const queue = (route: Route): QueueTally =>
    found(queues, route, () => ({ accepted: 0, alreadyStored: 0, refused: 0, acknowledged: 0 }))
  const client = (name: string): ClientTally =>
    found(clients, name, () => ({ unavailable: 0, outcomeUnknown: 0, other: 0 }))
  return {
    queue,
    client,
    sum: (key) => routes.reduce((sum, route) => sum + queue(route)[key], 0),
    count: (observation) => {
      switch (observation._tag) {
        case "Written":
          for (const { outcome } of observation.paragraphs) queue(observation.route)[counterOf[outcome]]++
          return
        case "Acknowledged":
          queue(observation.route).acknowledged++
          return
        case "Failed":
          client(observation.client)[failureCounterOf[observation.reason]]++
          return
        case "Emptied":
      }
    }
  }
}

const counterOf = {
  Accepted: "accepted",
  AlreadyStored: "alreadyStored",
  QuotaReached: "refused",
  QuotaExceeded: "refused"
} as const satisfies Record<Written["outcome"], keyof QueueTally>

const failureCounterOf = {
  Unavailable: "unavailable",
  OutcomeUnknown: "outcomeUnknown",
  Timeout: "other",
  Corrupt: "other",
  SchemaMismatch: "other"
} as const satisfies Record<Extract<Observation, { _tag: "Failed" }>["reason"], keyof ClientTally>

const found = <K, V>(map: Map<K, V>, key: K, initial: () => V): V => {
  const present = map.get(key)
  if (present !== undefined) return present
  const made = initial()
  map.set(key, made)
  return made
}

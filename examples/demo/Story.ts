/**
 * Tells what happens on one store while it happens: the first latch in full sentences, then only how far things are.
 */
import { Clock, Console, Effect } from "effect"
import { and, count, counted, labelled } from "./Layout.ts"
import type { Route } from "./Relay.ts"
import type * as Tally from "./Tally.ts"
import type { Observation, Written } from "./Witness.ts"

export interface Story {
  /** One event, with the seconds since the story began. */
  readonly tell: (event: string) => Effect.Effect<void>
  readonly follow: (observation: Observation) => Effect.Effect<void>
}

export const make = (routes: ReadonlyArray<Route>, tally: Tally.Tally): Effect.Effect<Story> =>
  Effect.map(Clock.currentTimeMillis, (begin) => {
    const tell = (event: string) =>
      Effect.flatMap(
        Clock.currentTimeMillis,
        (now) => Console.log(labelled(`${((now - begin) / 1000).toFixed(1).padStart(6)} s  `, event))
      )

    const latch = firstLatch()
    const progress = progressOf(routes, tally)
    return {
      tell,
      follow: (observation) =>
        Effect.forEach(
          [latch(observation), progress(observation)],
          (event) => event === undefined ? Effect.void : tell(event),
          { discard: true }
        )
    }
  })

/** Follows the first call that finds its queue full, until its paragraphs are stored. */
const firstLatch = () => {
  let hero: { readonly route: Route; readonly paragraphs: ReadonlyArray<Written> } | undefined
  let read = 0
  let toldOfRoom = false
  let over = false
  return (observation: Observation): string | undefined => {
    if (over || observation._tag === "Failed") return undefined
    if (hero === undefined) {
      if (observation._tag !== "Written" || observation.paragraphs[0]?.outcome !== "QuotaReached") return undefined
      hero = observation
      return latched(observation.route, observation.paragraphs)
    }
    const { route, paragraphs: [first] } = hero
    if (observation.route !== route || first === undefined) return undefined
    const { quota, recipient, sender } = route
    switch (observation._tag) {
      case "Acknowledged":
        read++
        return undefined
      case "Emptied":
        return `${recipient.name} has read and acknowledged all ${
          count(quota)
        }, and then the marker, which says: the ` +
          "writer was stopped here. Now the queue is empty and the latch is gone."
      case "Written":
        if (observation.paragraphs[0]?.outcome === "Accepted") {
          over = true
          return `${sender.name} writes the same again, with the same ids: Accepted. From here on latches are only counted.`
        }
        if (read === 0 || toldOfRoom) return undefined
        toldOfRoom = true
        return `${recipient.name} has come and acknowledged ${counted(read, "message")}, so there is room again, but ` +
          `${sender.name} gets the same answers: a latched queue stores nothing until it is empty.`
    }
  }
}

const latched = ({ quota, recipient, sender }: Route, paragraphs: ReadonlyArray<Written>): string => {
  const [first, ...rest] = paragraphs.map(({ number }) => count(number))
  return `The queue to ${recipient.name} holds ${counted(quota, "message")}, its quota, when ${sender.name} writes ` +
    `paragraph ${
      and([first ?? "", ...rest])
    }. ${first} gets QuotaReached: in its place a marker with its id is stored, ` +
    `as the last entry, and the queue is latched.${
      rest.length === 0 ? "" : ` ${and(rest)} get QuotaExceeded: nothing is stored. ${sender.name} waits.`
    }`
}

const progressOf = (routes: ReadonlyArray<Route>, tally: Tally.Tally) => {
  const total = routes.reduce((sum, { paragraphs }) => sum + paragraphs.length, 0)
  const milestones = [25, 50, 75, 100].filter((percent) => total * percent >= 400)
  return (observation: Observation): string | undefined => {
    if (observation._tag !== "Acknowledged") return undefined
    const done = tally.sum("acknowledged")
    const passed = milestones.filter((percent) => done * 100 >= total * percent)
    const percent = passed.at(-1)
    if (percent === undefined) return undefined
    milestones.splice(0, passed.length)
    return `${String(percent).padStart(3)} % received: ${count(done)} of ${count(total)} paragraphs`
  }
}

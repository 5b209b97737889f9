/**
 * Two runs side by side: which ratios have moved. Numbers of two runs are never compared, only ratios that were made within one.
 */
import * as Goals from "./Goals.ts"
import { type Cell, keyOf, type Results } from "./Results.ts"

export interface Moved {
  readonly what: string
  readonly before: number
  readonly after: number
}

/** By more than this. */
const limit = 0.1

const hasMoved = (before: number, after: number): boolean => Math.abs(after / before - 1) > limit

/** Ratios to floors and goals, where both runs were steady. */
export const compare = (before: Results, after: Results): ReadonlyArray<Moved> => {
  const earlier = new Map(before.cells.map((cell) => [keyOf(cell), cell]))
  const cells = after.cells.flatMap((cell) => {
    const other = earlier.get(keyOf(cell))
    if (!cell.steady || other?.steady !== true || cell.ratio === null || other.ratio === null) return []
    return hasMoved(other.ratio, cell.ratio) ? [{ what: nameOf(cell), before: other.ratio, after: cell.ratio }] : []
  })
  const verdicts = new Map(Goals.judge(before).map((verdict) => [verdict.id, verdict]))
  const goals = Goals.judge(after).flatMap(({ found, id, what }) => {
    const other = verdicts.get(id)?.found
    if (found?.steady !== true || other?.steady !== true) return []
    return hasMoved(other.value, found.value)
      ? [{ what: `${id}: ${what}`, before: other.value, after: found.value }]
      : []
  })
  return [...goals, ...cells]
}

const nameOf = ({ measure, params, scenario, subject }: Cell): string =>
  [scenario, subject, ...Object.entries(params).map(([name, value]) => `${name} ${value}`), measure].join(", ")

export const render = (moved: ReadonlyArray<Moved>): string =>
  moved.length === 0
    ? "No ratio has moved by more than 10 % where both runs were steady."
    : moved.map(({ after, before, what }) => {
      const percent = Math.round((after / before - 1) * 100)
      return `${percent > 0 ? "+" : ""}${percent} %  ${what}: ${before.toPrecision(3)} → ${after.toPrecision(3)}`
    }).join("\n")

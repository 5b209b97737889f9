/**
 * A run as tables for people: goals first, then what was measured, then what a peer does better.
 */
import * as Goals from "./Goals.ts"
import { scenarios } from "./Plan.ts"
import type { Cell, Results } from "./Results.ts"

/** Three significant digits, thousands apart. */
export const number = (value: number): string =>
  Math.abs(value) >= 1_000
    ? Math.round(Number(value.toPrecision(3))).toLocaleString("en-US")
    : String(Number(value.toPrecision(3)))

/** What was set, not measured: as it is. */
export const exact = (value: number): string => value.toLocaleString("en-US")

type Row = ReadonlyArray<string>

/** Columns as wide as they need to be: the first so many from the left, numbers from the right. */
const table = (head: Row, rows: ReadonlyArray<Row>, left: number): string => {
  const widths = head.map((_, column) => Math.max(...[head, ...rows].map((row) => row[column]?.length ?? 0)))
  return [head, widths.map((width) => "─".repeat(width)), ...rows].map((row) =>
    row.map((text, column) => column < left ? text.padEnd(widths[column] ?? 0) : text.padStart(widths[column] ?? 0))
      .join("  ").trimEnd()
  ).join("\n")
}

const isCost = ({ measure }: Cell): boolean => ["client CPU", "server CPU", "WAL", "calls per batch"].includes(measure)

const paramsOf = (cell: Pick<Cell, "params">): string =>
  Object.entries(cell.params).map(([name, value]) =>
    typeof value === "string" ? value : `${name} ${exact(Number(value))}`
  )
    .join(", ")

const sameParams = (a: Cell, b: Cell): boolean => paramsOf(a) === paramsOf(b)

/** Less is better for times, more for rates. */
const isRate = ({ unit }: Cell): boolean => unit.endsWith("/s")

/** The best peer in the place of a cell. */
const peerOf = (cell: Cell, cells: ReadonlyArray<Cell>): Cell | undefined =>
  cells.filter((other) =>
    other.role === "peer" && other.scenario === cell.scenario && other.measure === cell.measure &&
    sameParams(other, cell)
  ).toSorted((a, b) => isRate(cell) ? b.median - a.median : a.median - b.median)[0]

const ratio = (value: number | null | undefined): string =>
  value === null || value === undefined ? "" : `${number(value)} ×`

const goalsTable = (results: Results): string =>
  table(
    ["goal", "what", "bound", "found", "met", ""],
    Goals.judge(results).flatMap(({ atLeast, bound, found, id, met, unit, what }) =>
      found === undefined && !id.startsWith("H") ? [] : [[
        id,
        what,
        `${atLeast ? "≥" : "≤"} ${bound} ${unit}`,
        found === undefined ? "not measured" : `${number(found.value)} ${unit}`,
        met === undefined ? "" : met ? "yes" : "NO",
        [found?.against ?? "", found?.steady === false ? "unsteady" : ""].filter((text) => text !== "").join(", ")
      ]]
    ),
    6
  )

const scenarioTable = (scenario: string, cells: ReadonlyArray<Cell>): string => {
  const mine = cells.filter((cell) => cell.scenario === scenario)
  const rows = mine.filter((cell) => !isCost(cell)).map((cell) => {
    const peer = cell.role === "ours" ? peerOf(cell, cells) : undefined
    const cost = (measure: string): string => {
      const found = cell.measure === "rate"
        ? mine.find((other) => other.measure === measure && other.subject === cell.subject && sameParams(other, cell))
        : undefined
      return found === undefined ? "" : number(found.median)
    }
    const spread = cell.samples.length > 1
      ? ` (${number(Math.min(...cell.samples))}–${number(Math.max(...cell.samples))})`
      : ""
    return [
      cell.subject,
      [paramsOf(cell), cell.measure === "rate" ? "" : cell.measure].filter((text) => text !== "").join(", "),
      `${number(cell.median)}${spread} ${cell.unit}`,
      ratio(cell.ratio),
      ratio(peer === undefined ? undefined : cell.median / peer.median),
      cost("client CPU"),
      cost("server CPU"),
      cost("WAL"),
      cost("calls per batch"),
      cell.steady ? "" : "unsteady"
    ]
  })
  const head = [
    "subject",
    "",
    "median (min–max)",
    "to floor",
    "to best peer",
    "client µs",
    "server µs",
    "WAL B",
    "calls/batch",
    ""
  ]
  // A column that says nothing is left out.
  const kept = head.map((_, column) => column < 3 || rows.some((row) => row[column] !== ""))
  const keep = (row: Row): Row => row.filter((_, column) => kept[column])
  const title = scenario === "floor" ? "Floors" : `${scenario}: ${scenarios[scenario] ?? ""}`
  return `${title}\n\n${table(keep(head), rows.map(keep), 2)}`
}

const betterPeers = (cells: ReadonlyArray<Cell>): string | undefined => {
  const lines = cells.flatMap((cell) => {
    if (cell.role !== "ours" || isCost(cell)) return []
    const peer = peerOf(cell, cells)
    if (peer === undefined) return []
    const times = isRate(cell) ? peer.median / cell.median : cell.median / peer.median
    return times > 1
      ? [`- ${cell.scenario}, ${paramsOf(cell)}, ${cell.measure}: ${peer.subject} ${number(times)} × ${cell.subject}`]
      : []
  })
  return lines.length === 0 ? undefined : `What a peer does better\n\n${lines.join("\n")}`
}

const about = ({ environment: e }: Results): string =>
  [
    `${e.date}, ${e.mode}, ${number(e.seconds)} s, commit ${e.commit}`,
    `${e.machine.processor}, ${e.machine.cores} cores, ${e.machine.memoryGiB} GiB, a flush takes ` +
    `${number(e.machine.flush)} ms; load before the start ${number(e.load)}`,
    `PostgreSQL ${e.server} on the same machine: ` +
    Object.entries(e.settings).map(([name, value]) => `${name} ${value}`).join(", "),
    `Node ${e.node}: ` + Object.entries(e.versions).map(([name, version]) => `${name} ${version}`).join(", ")
  ].join("\n")

export const render = (results: Results): string => {
  const { cells, notMeasured, violations } = results
  const order = [...Object.keys(scenarios), "floor"].filter((scenario) =>
    cells.some((cell) => cell.scenario === scenario)
  )
  const parts = [
    about(results),
    violations.length === 0
      ? undefined
      : `VIOLATIONS: this run has failed\n\n${violations.map((text) => `- ${text}`).join("\n")}`,
    goalsTable(results),
    ...order.map((scenario) => scenarioTable(scenario, cells)),
    betterPeers(cells),
    notMeasured.length === 0
      ? undefined
      : `Not measured\n\n${
        notMeasured.map(({ reason, scenario, subject }) => `- ${scenario}, ${subject}: ${reason}`).join("\n")
      }`
  ]
  return parts.filter((part) => part !== undefined).join("\n\n")
}

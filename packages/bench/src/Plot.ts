/**
 * A run as pictures: SVG with logarithmic axes, readable on light and on dark pages.
 */
import { label } from "./Plan.ts"
import { exact, number } from "./Report.ts"
import type { Cell, Results } from "./Results.ts"

interface Series {
  readonly name: string
  readonly role: Cell["role"]
  readonly points: ReadonlyArray<readonly [x: number, y: number]>
}

interface Chart {
  readonly title: string
  readonly subtitle: string
  readonly x: string
  readonly y: string
  readonly series: ReadonlyArray<Series>
}

const width = 760
const height = 440
const frame = { left: 70, right: 540, top: 62, bottom: 392 }

/** Told apart by those who do not see all colours, too: by their place, their label and their dashes. */
const colours = ["#0969da", "#8250df", "#bf3989", "#bc4c00", "#1a7f37", "#9a6700"]
const darkColours = ["#58a6ff", "#bc8cff", "#f778ba", "#f0883e", "#3fb950", "#d29922"]

const style = `
  text { font: 12px system-ui, sans-serif; fill: #1f2328 }
  .title { font-weight: 600; font-size: 15px }
  .quiet { fill: #59636e }
  .grid { stroke: #d1d9e0 }
  path { fill: none; stroke-width: 2 }
  .floor { stroke: #59636e; stroke-dasharray: 6 4 }
  text.floor { fill: #59636e; stroke: none }
  ${
  colours.map((colour, i) => `.c${i} { stroke: ${colour} } text.c${i}, circle.c${i} { fill: ${colour}; stroke: none }`)
    .join("\n  ")
}
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3 }
    .quiet { fill: #9198a1 }
    .grid { stroke: #3d444d }
    .floor { stroke: #9198a1 }
    text.floor { fill: #9198a1; stroke: none }
    ${
  darkColours.map((colour, i) =>
    `.c${i} { stroke: ${colour} } text.c${i}, circle.c${i} { fill: ${colour}; stroke: none }`
  )
    .join("\n    ")
}
  }`

const escaped = (text: string): string => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;")

/** From a value to its place on a logarithmic axis. */
const scale = (low: number, high: number, from: number, to: number) => (value: number): number =>
  high === low ? (from + to) / 2 : from + (Math.log(value / low) / Math.log(high / low)) * (to - from)

/** Powers of ten that hold the values. */
const decades = (values: ReadonlyArray<number>): ReadonlyArray<number> => {
  const low = Math.floor(Math.log10(Math.min(...values)))
  const high = Math.ceil(Math.log10(Math.max(...values)))
  return Array.from({ length: Math.max(high, low + 1) - low + 1 }, (_, i) => 10 ** (low + i))
}

/** Moves labels apart that would lie on each other, keeping their order. */
const apart = (wanted: ReadonlyArray<number>, distance: number): ReadonlyArray<number> => {
  const places = [...wanted]
  const order = wanted.map((_, i) => i).toSorted((a, b) => (wanted[a] ?? 0) - (wanted[b] ?? 0))
  for (const [i, index] of order.entries()) {
    const above = i === 0 ? -Infinity : places[order[i - 1] ?? 0] ?? 0
    places[index] = Math.max(places[index] ?? 0, above + distance)
  }
  return places
}

const text = (
  words: string,
  at: { readonly class: string; readonly x: number; readonly y: number; readonly anchor?: string }
) =>
  `<text class="${at.class}" x="${at.x.toFixed(1)}" y="${at.y.toFixed(1)}" text-anchor="${at.anchor ?? "start"}">` +
  `${escaped(words)}</text>`

/** An SVG document; none if there is nothing to draw. */
export const draw = (chart: Chart): string | undefined => {
  const series = chart.series.filter(({ points }) => points.length > 0)
  const xs = [...new Set(series.flatMap(({ points }) => points.map(([x]) => x)))].toSorted((a, b) => a - b)
  const ys = series.flatMap(({ points }) => points.map(([, y]) => y)).filter((y) => y > 0)
  const [firstX, lastX] = [xs[0], xs.at(-1)]
  if (firstX === undefined || lastX === undefined || ys.length === 0) return undefined
  const ticks = decades(ys)
  const lowest = ticks[0] ?? 1
  const x = scale(firstX, lastX, frame.left + 10, frame.right - 10)
  const toY = scale(lowest, ticks.at(-1) ?? 10, frame.bottom, frame.top)
  // What is 0 has no place on a logarithmic axis.
  const y = (value: number): number => toY(Math.max(value, lowest))
  const labels = apart(series.map(({ points }) => y(points.at(-1)?.[1] ?? lowest)), 15)
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" role="img" ` +
    `aria-label="${escaped(chart.title)}">`,
    `<style>${style}\n</style>`,
    text(chart.title, { class: "title", x: 16, y: 24 }),
    text(chart.subtitle, { class: "quiet", x: 16, y: 42 }),
    text(chart.y, { class: "quiet", x: 16, y: frame.top - 6 }),
    text(chart.x, { class: "quiet", x: frame.right, y: frame.bottom + 36, anchor: "end" }),
    ...ticks.flatMap((tick) => {
      const at = y(tick).toFixed(1)
      return [
        `<line class="grid" x1="${frame.left}" x2="${frame.right}" y1="${at}" y2="${at}"/>`,
        text(exact(tick), { class: "quiet", x: frame.left - 8, y: y(tick) + 4, anchor: "end" })
      ]
    }),
    ...xs.map((tick) => text(exact(tick), { class: "quiet", x: x(tick), y: frame.bottom + 18, anchor: "middle" })),
    ...series.flatMap(({ name, points, role }, i) => {
      const colour = role === "floor" ? "floor" : `c${i % colours.length}`
      const places = points.map(([px, py]) => [x(px).toFixed(1), y(py).toFixed(1)] as const)
      const path = places.map(([px, py], at) => `${at === 0 ? "M" : "L"}${px} ${py}`).join(" ")
      return [
        `<path class="${colour}" d="${path}"/>`,
        ...role === "floor" ? [] : places.map(([px, py]) => `<circle class="${colour}" cx="${px}" cy="${py}" r="3"/>`),
        text(`${name} ${number(points.at(-1)?.[1] ?? 0)}`, {
          class: colour,
          x: frame.right + 10,
          y: (labels[i] ?? 0) + 4
        })
      ]
    }),
    "</svg>",
    ""
  ].join("\n")
}

/** A line across the picture for what does not depend on x. */
const flat = (name: string, value: number, xs: ReadonlyArray<number>): Series => ({
  name,
  role: "floor",
  points: [[Math.min(...xs), value], [Math.max(...xs), value]]
})

const subtitleOf = ({ environment: { date, machine, server } }: Results): string =>
  `${date.slice(0, 10)}, ${machine.cores} cores for client and server, PostgreSQL ${server}, 1 KiB bodies`

const seriesOf = (
  cells: ReadonlyArray<Cell>,
  scenario: string,
  axis: string,
  keep: (cell: Cell) => boolean
): ReadonlyArray<Series> => {
  const mine = cells.filter((cell) => cell.scenario === scenario && cell.measure === "rate" && keep(cell))
  return [...Map.groupBy(mine, ({ subject }) => subject)].map(([name, cells]): Series => ({
    name,
    role: cells[0]?.role ?? "ours",
    points: cells.map((cell): [number, number] => [Number(cell.params[axis]), cell.median]).toSorted(([a], [b]) =>
      a - b
    )
  }))
}

/** What was seen minute after minute in S10. */
const minutesOf = (cells: ReadonlyArray<Cell>, measure: string, name: string): Series => ({
  name,
  role: "ours",
  points: cells.flatMap((cell): Array<[number, number]> => {
    const [what, minute] = cell.measure.split(", minute ")
    return cell.scenario === "S10" && what === measure && minute !== undefined ? [[Number(minute), cell.median]] : []
  })
})

const floorsOf = (cells: ReadonlyArray<Cell>, series: ReadonlyArray<Series>, names: ReadonlyArray<string>) => {
  const xs = series.flatMap(({ points }) => points.map(([x]) => x))
  return names.flatMap((name) => {
    const all = cells.filter((cell) => cell.role === "floor" && cell.subject === name && cell.measure === "rate")
    return all.length === 0 || xs.length === 0 ? [] : [flat(name, Math.max(...all.map(({ median }) => median)), xs)]
  })
}

/** The pictures of a run by file name; those for which it has nothing are left out. */
export const plots = (results: Results): ReadonlyMap<string, string> => {
  const { cells } = results
  const subtitle = subtitleOf(results)
  // Of each peer its fastest settings, and not each number of lanes: a picture with everything shows nothing.
  const sends = seriesOf(
    cells,
    "S1",
    "fibers",
    ({ role, subject }) =>
      role === "peer" ? subject.endsWith("fastest") : subject === label.coalescing || subject === label.single
  )
  const stored = seriesOf(cells, "S11", "stored", ({ params }) => params["kind"] === "send")
  const charts: ReadonlyArray<readonly [string, Chart]> = [
    ["sends.svg", {
      title: "Single durable sends",
      subtitle,
      x: "fibers, or pending promises",
      y: "messages per second",
      series: [...sends, ...floorsOf(cells, sends, ["F2 insert unnest × 256"])]
    }],
    ["stored.svg", {
      title: "Single durable sends, 64 fibers, by messages already stored",
      subtitle,
      x: "messages stored",
      y: "messages per second",
      series: [...stored, ...floorsOf(cells, stored, ["F2 insert unnest × 256"])]
    }],
    ["held.svg", {
      title: "An old transaction is held open while 2,000 messages a second come and go",
      subtitle,
      x: "minutes",
      y: "messages per second; rows that cannot be removed",
      series: [minutesOf(cells, "rate", "messages per second"), minutesOf(cells, "dead tuples", "dead rows")]
    }]
  ]
  return new Map(charts.flatMap(([name, chart]) => {
    const svg = draw(chart)
    return svg === undefined ? [] : [[name, svg] as const]
  }))
}

/**
 * What the demo says before and after: what will happen, what each client saw, and how it ended.
 */
import { and, count, counted, labelled, table } from "./Layout.ts"
import type { Delivery, Route } from "./Relay.ts"
import type { Tally } from "./Tally.ts"
import type { TextFile } from "./TextFile.ts"

/** One run of the relay on one store. */
export interface Run {
  readonly store: string
  readonly deliveries: ReadonlyArray<Delivery>
  readonly tally: Tally
  readonly seconds: number
}

/** Is there more to send than the queue takes? */
const fills = ({ paragraphs, quota }: Route): boolean => paragraphs.length > quota

export const heading = (title: string, text: TextFile, routes: ReadonlyArray<Route>, disturbance: string): string =>
  [
    "Restante: durable queues that keep messages for recipients who are away",
    "",
    labelled(
      "  text        ",
      `${title}: ${counted(text.bytes.length, "byte")}, ${counted(text.paragraphs.length, "paragraph")}`
    ),
    labelled(
      "  senders     ",
      `${and(routes.map(({ sender }) => sender.name))} deal out the paragraphs like cards; each has a queue of her own`
    ),
    labelled(
      "  recipients  ",
      `${and(routes.map(({ recipient }) => recipient.name))}; each is away until the queue is full, then reads it empty`
    ),
    labelled(
      "  quota       ",
      `${counted(routes[0]?.quota ?? 0, "message")} per queue${
        routes.some(fills) ? "" : "; this text is too short to fill one, so no latch will be seen"
      }`
    ),
    labelled(
      "  plan        ",
      `once through PostgreSQL, which is ${disturbance} half way; once through memory; then compare`
    )
  ].join("\n")

export const ownServer = "PostgreSQL, a server of the demo's own in a temporary directory"
export const givenServer = labelled(
  "",
  "PostgreSQL, the server of DATABASE_URL. The demo did not start it, so it cannot kill it; it cuts its own connections " +
    "instead. What it stores is in a schema of its own, which is dropped at the end."
)

/** What the six clients met, and how often they repeated a call because of it. */
export const clients = (routes: ReadonlyArray<Route>, tally: Tally): string =>
  table(
    ["client", "Unavailable", "OutcomeUnknown", "AlreadyStored"],
    routes.flatMap((route) => {
      const sender = tally.client(route.sender.name)
      const recipient = tally.client(route.recipient.name)
      return [
        [
          `${route.sender.name} (sender)`,
          sender.unavailable,
          sender.outcomeUnknown,
          tally.queue(route).alreadyStored
        ],
        [`${route.recipient.name} (recipient)`, recipient.unavailable, recipient.outcomeUnknown, "-"]
      ]
    })
  )

interface Row {
  readonly paragraphs: number
  readonly bytes: number
  readonly latches: number
  readonly refused: number
  readonly retries: number
  readonly duplicates: number
}

const rowOf = ({ tally }: Run, { duplicates, entries, route }: Delivery): Row => {
  const clients = [tally.client(route.sender.name), tally.client(route.recipient.name)]
  const messages = entries.filter(({ kind }) => kind === "message")
  return {
    paragraphs: messages.length,
    bytes: messages.reduce((sum, { body }) => sum + body.length, 0),
    latches: entries.length - messages.length,
    refused: tally.queue(route).refused,
    retries: clients.reduce(
      (sum, { other, outcomeUnknown, unavailable }) => sum + other + outcomeUnknown + unavailable,
      0
    ),
    duplicates
  }
}

const sum = (rows: ReadonlyArray<Row>): Row =>
  rows.reduce((a, b) => ({
    paragraphs: a.paragraphs + b.paragraphs,
    bytes: a.bytes + b.bytes,
    latches: a.latches + b.latches,
    refused: a.refused + b.refused,
    retries: a.retries + b.retries,
    duplicates: a.duplicates + b.duplicates
  }))

const cells = (name: string, row: Row): ReadonlyArray<string | number> => [
  name,
  row.paragraphs,
  row.bytes,
  row.latches,
  row.refused,
  row.retries,
  row.duplicates
]

/** Each queue of the first run, and the totals of all runs. */
export const totals = (first: Run, ...others: ReadonlyArray<Run>): string =>
  table(
    ["queue", "paragraphs", "bytes", "latches", "writes refused", "retries", "duplicates"],
    [
      ...first.deliveries.map((delivery) =>
        cells(
          `${first.store}: ${delivery.route.sender.name} to ${delivery.route.recipient.name}`,
          rowOf(first, delivery)
        )
      ),
      ...[first, ...others].map((run) =>
        cells(
          `${run.store}: all, ${run.seconds.toFixed(1)} s`,
          sum(run.deliveries.map((delivery) => rowOf(run, delivery)))
        )
      )
    ]
  )

/** The columns that do not explain themselves. */
export const legend = [
  labelled("  latches         ", "how often the recipient read a marker"),
  labelled("  writes refused  ", "answers QuotaReached and QuotaExceeded; each was written again later"),
  labelled("  retries         ", "calls repeated because the server was gone"),
  labelled("  duplicates      ", "messages that arrived twice, found by their ids and discarded")
].join("\n")

export const verdict = (text: TextFile, sha256: string, entries: number): string =>
  [
    labelled(
      "  same text        ",
      `what the recipients have, in order, is the text byte by byte on both stores: ${
        count(text.bytes.length)
      } bytes, ` +
        `SHA-256 ${sha256.slice(0, 16)}...`
    ),
    labelled(
      "  same transcript  ",
      `each recipient read the same entries in the same order on both stores, ${count(entries)} in all; compared are ` +
        "sequence, kind (message or marker), id and SHA-256 of the body"
    )
  ].join("\n")

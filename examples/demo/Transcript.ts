/**
 * What a recipient read, in a form that can be compared between two runs on two stores.
 *
 * One line per entry, in the order of reading: sequence, kind, number of the paragraph, and SHA-256 of the body. Times
 * are not in it, and how often a call was repeated is not either.
 */
import { createHash } from "node:crypto"
import * as Paragraphs from "./Paragraphs.ts"
import type { Delivery } from "./Relay.ts"

export type Transcript = ReadonlyArray<string>

export const sha256 = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex")

const ofDelivery = ({ entries, route }: Delivery): Transcript =>
  entries.map((entry) =>
    [route.recipient.name, entry.sequence, entry.kind, Paragraphs.numberOf(entry.id), sha256(entry.body)].join(" ")
  )

export const ofDeliveries = (deliveries: ReadonlyArray<Delivery>): Transcript => deliveries.flatMap(ofDelivery)

/** The first place where two transcripts differ, in words; none if they are equal. */
export const difference = (left: Transcript, right: Transcript): string | undefined => {
  const length = Math.max(left.length, right.length)
  for (let i = 0; i < length; i++) {
    if (left[i] !== right[i]) return `entry ${i + 1}: ${left[i] ?? "nothing"} | ${right[i] ?? "nothing"}`
  }
  return undefined
}

/** The text that the recipients have together. */
export const textOf = (deliveries: ReadonlyArray<Delivery>): Uint8Array =>
  Paragraphs.join(
    deliveries.flatMap(({ entries }) =>
      entries
        .filter(({ kind }) => kind === "message")
        .map(({ body, id }) => ({ number: Paragraphs.numberOf(id), bytes: body }))
    )
  )

/**
 * An error and everything it wraps. The errors of the driver and of this package hold what caused them in `reason`, in `cause`,
 * or one in the other; what is looked for may be at any depth.
 */
import { Predicate } from "effect"
import type { ServerFields } from "../serverFields.ts"

/** Deeper than anything that this package or the driver builds; a chain that is longer goes in circles by way of copies. */
const limit = 32

/** Outermost first; what a `reason` holds comes before what a `cause` holds. */
export const of = (error: unknown): ReadonlyArray<object> => {
  const found = new Set<object>()
  const visit = (node: unknown): void => {
    if (!Predicate.isObjectKeyword(node) || found.has(node) || found.size === limit) return
    found.add(node)
    if (Predicate.hasProperty(node, "reason")) visit(node.reason)
    if (Predicate.hasProperty(node, "cause")) visit(node.cause)
  }
  visit(error)
  return [...found]
}

export const text = (node: object, name: string): string | undefined => {
  const value: unknown = Reflect.get(node, name)
  return typeof value === "string" ? value : undefined
}

const isSqlstate = (value: string | undefined): value is string => value !== undefined && /^[0-9A-Z]{5}$/.test(value)

/** The fields that the server sent, if this node is what holds them. */
export const serverFields = (node: object): ServerFields | undefined =>
  // Trap: a failed socket has a `code` of five capitals too, such as EPIPE. Only the server says how severe it is.
  isSqlstate(text(node, "code")) && (text(node, "severityUnlocalized") ?? text(node, "severity")) !== undefined
    ? Object.fromEntries(fieldNames.map((name) => [name, text(node, name)]))
    : undefined

const fieldNames = [
  "severity",
  "severityUnlocalized",
  "code",
  "message",
  "detail",
  "hint",
  "position",
  "where",
  "schema",
  "table",
  "column",
  "dataType",
  "constraint",
  "routine",
  "z"
]

/** The code that a node of this package states without the server's other fields. */
export const statedSqlstate = (node: object): string | undefined => {
  const value = text(node, "sqlstate")
  return isSqlstate(value) ? value : undefined
}

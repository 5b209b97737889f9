/**
 * Where repeating may help, by SQLSTATE (spec 11), and what kind of trouble a code means. A code decides before its class;
 * what is in no table is not worth repeating.
 */

/** `transaction`: the whole transaction, on the same session if one likes. `session`: on a new session. */
export type Retry = "no" | "transaction" | "session"

/** `slow`: something is scarce, so come back ten times later than usual. `once`: if it happens again it will go on happening. */
export type Pace = "normal" | "slow" | "once"

export type Category = "transient" | "permanent" | "security" | "client" | "upstream"

const retries: Readonly<Record<string, Retry>> = {
  "40001": "transaction",
  "40P01": "transaction",
  "40000": "transaction",
  "08000": "session",
  "08001": "session",
  "08003": "session",
  "08006": "session",
  "57P01": "session",
  "57P02": "session",
  "57P03": "session",
  "57P05": "session",
  "53000": "transaction",
  "53200": "transaction",
  "53300": "transaction",
  "55006": "transaction",
  "55P03": "transaction",
  "25006": "session",
  "26000": "transaction"
}

const paces: Readonly<Record<string, Pace>> = {
  "53000": "slow",
  "53200": "slow",
  "53300": "slow",
  "55006": "slow",
  "55P03": "slow",
  "26000": "once",
  "0A000": "once"
}

/** Of codes that are not worth repeating; all others are `client`. */
const categories: Readonly<Record<string, Category>> = {
  // The outcome is unknown, not the cause: the trouble itself passes.
  "40003": "transient",
  "08007": "transient",
  // Who may do what.
  "28": "security",
  "0L": "security",
  "0P": "security",
  "42501": "security",
  // Somebody must look after the server or its configuration.
  "08004": "permanent",
  "08P01": "permanent",
  "53100": "permanent",
  "53400": "permanent",
  "57P04": "permanent",
  "58": "permanent",
  "F0": "permanent",
  "XX": "permanent",
  // Something that the server itself called.
  "38": "upstream",
  "39": "upstream",
  "HV": "upstream"
}

const lookUp = <A>(table: Readonly<Record<string, A>>, sqlstate: string): A | undefined =>
  table[sqlstate] ?? table[sqlstate.slice(0, 2)]

export const retryOf = (sqlstate: string): Retry => lookUp(retries, sqlstate) ?? "no"

export const paceOf = (sqlstate: string): Pace => lookUp(paces, sqlstate) ?? "normal"

export const categoryOf = (sqlstate: string, retry: Retry): Category =>
  retry === "no" ? lookUp(categories, sqlstate) ?? "client" : "transient"

/**
 * Connection URLs as libpq reads them, except that nothing in them is passed over in silence: an unknown key, several hosts
 * and a `sslmode` that may fall back to plaintext are refused (spec 2.1). No error repeats the URL or a part of it that could
 * hold the password.
 */
import * as Duration from "effect/Duration"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import { isIPv6 } from "node:net"
import type { TlsMode } from "./options.ts"

/** What the URL says; empty values say nothing, as in libpq. */
export interface Parts {
  readonly host?: string
  readonly port?: number
  readonly username?: string
  readonly password?: Redacted.Redacted
  readonly database?: string
  readonly applicationName?: string
  readonly startupOptions?: string
  readonly connectTimeout?: Duration.Duration
  readonly channelBinding?: "require" | "prefer" | "disable"
  readonly tlsMode?: TlsMode
  readonly negotiation?: "postgres" | "direct"
  /** A file name, or `system`. */
  readonly rootCertificate?: string
  readonly certificate?: string
  readonly key?: string
}

type Writable = { -readonly [K in keyof Parts]: Parts[K] }

class Malformed extends Error {}

const fail = (problem: string): never => {
  throw new Malformed(problem)
}

// Trap: not URLSearchParams and not URL. They read `+` as a space and refuse unix sockets in the host's place; libpq does not.
const decode = (text: string, what: string): string => {
  let decoded: string
  try {
    decoded = decodeURIComponent(text)
  } catch {
    return fail(`the URL's ${what} has malformed percent-encoding`)
  }
  return decoded.includes("\0") ? fail(`the URL's ${what} holds a NUL`) : decoded
}

const port = (text: string): number => {
  const value = Number(text)
  return /^\d{1,5}$/.test(text) && value >= 1 && value <= 65_535
    ? value
    : fail("the URL's port is not a number from 1 to 65535")
}

const oneOf = <A>(key: string, value: string, choices: Readonly<Record<string, A>>): A => {
  const chosen = Object.hasOwn(choices, value) ? choices[value] : undefined
  return chosen ?? fail(`the URL's ${key} must be one of ${Object.keys(choices).join(", ")}`)
}

const severalHosts = "the URL names several hosts: name one"

const sslmode = (value: string): TlsMode =>
  value === "prefer" || value === "allow"
    ? fail(
      `the URL's sslmode=${value} may fall back to plaintext, which is never done here: write verify-full, verify-ca, `
        + "require (which means verify-full) or disable"
    )
    : oneOf("sslmode", value, {
      "disable": "disable",
      "require": "verify-full",
      "verify-ca": "verify-ca",
      "verify-full": "verify-full"
    })

const seconds = (value: string): Duration.Duration => {
  if (!/^-?\d{1,9}$/.test(value)) return fail("the URL's connect_timeout is not a whole number of seconds")
  return Number(value) <= 0 ? Duration.infinity : Duration.seconds(Number(value))
}

const keys: Readonly<Record<string, (parts: Writable, value: string) => void>> = {
  host: (parts, value) => {
    parts.host = value.includes(",") ? fail(severalHosts) : value
  },
  port: (parts, value) => {
    parts.port = value.includes(",") ? fail(severalHosts) : port(value)
  },
  user: (parts, value) => {
    parts.username = value
  },
  password: (parts, value) => {
    parts.password = Redacted.make(value)
  },
  dbname: (parts, value) => {
    parts.database = value
  },
  application_name: (parts, value) => {
    parts.applicationName = value
  },
  options: (parts, value) => {
    parts.startupOptions = value
  },
  connect_timeout: (parts, value) => {
    parts.connectTimeout = seconds(value)
  },
  channel_binding: (parts, value) => {
    parts.channelBinding = oneOf("channel_binding", value, {
      require: "require" as const,
      prefer: "prefer" as const,
      disable: "disable" as const
    })
  },
  sslmode: (parts, value) => {
    parts.tlsMode = sslmode(value)
  },
  sslnegotiation: (parts, value) => {
    parts.negotiation = oneOf("sslnegotiation", value, { postgres: "postgres" as const, direct: "direct" as const })
  },
  sslrootcert: (parts, value) => {
    parts.rootCertificate = value
  },
  sslcert: (parts, value) => {
    parts.certificate = value
  },
  sslkey: (parts, value) => {
    parts.key = value
  }
}

/** `host`, `host:port`, `[address]`, `[address]:port`; the host may be a percent-encoded directory. */
const readAuthority = (parts: Writable, authority: string): void => {
  if (authority.includes(",")) fail(severalHosts)
  if (authority.includes("@")) fail("the URL has an @ too many: inside a user name or password write it as %40")
  const bracketed = /^\[([^\]]*)\](?::(.*))?$/.exec(authority)
  const [, host = "", portText = ""] = bracketed ?? /^([^:]*)(?::(.*))?$/s.exec(authority) ??
    fail("the URL's host is malformed")
  if (bracketed !== null && !isIPv6(decode(host, "host"))) fail("the URL's host in brackets is not an IPv6 address")
  if (host !== "") parts.host = decode(host, "host")
  if (portText !== "") parts.port = port(portText)
}

const readUrl = (text: string): Parts => {
  const [, userinfo, authority = "", path = "", query = ""] =
    /^postgres(?:ql)?:\/\/(?:([^@/]*)@)?([^/?]*)(?:\/([^?]*))?(?:\?(.*))?$/s.exec(text)
      ?? fail("the URL is malformed: it must look like postgresql://user:password@host:port/database?key=value")
  const parts: Writable = {}
  if (userinfo !== undefined) {
    const [, user = "", password = ""] = /^([^:]*)(?::(.*))?$/s.exec(userinfo) ?? []
    if (user !== "") parts.username = decode(user, "user name")
    if (password !== "") parts.password = Redacted.make(decode(password, "password"))
  }
  readAuthority(parts, authority)
  if (path !== "") parts.database = decode(path, "database")
  for (const pair of query === "" ? [] : query.split("&")) {
    const [, name, encoded] = /^([A-Za-z_]+)=([^=]*)$/.exec(pair) ??
      fail("the URL's query is malformed: it must be key=value")
    const read = name !== undefined && Object.hasOwn(keys, name) ? keys[name] : undefined
    if (read === undefined) return fail(unknownKey(name ?? "", query))
    const value = decode(encoded ?? "", `value of ${name}`)
    if (value !== "") read(parts, value)
  }
  return parts
}

/** Trap: with an @ behind it, the ? may be a character of a password that was not encoded, and the key a part of it. */
const unknownKey = (name: string, query: string): string =>
  query.includes("@")
    ? "the URL has a key that is not honoured here; if the ? before it belongs to the password, write it as %3F"
    : `the URL has the key ${name}, which is not honoured here; remove it`

/** The parts of a URL, or what is wrong with it in words that are safe to show. */
export const parse = (url: Redacted.Redacted): Result.Result<Parts, string> => {
  try {
    return Result.succeed(readUrl(Redacted.value(url)))
  } catch (error) {
    if (error instanceof Malformed) return Result.fail(error.message)
    throw error
  }
}

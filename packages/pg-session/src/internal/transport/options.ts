/**
 * The options of a transport, and what they come to after the URL is read and the defaults are filled in.
 */
import * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as Schedule from "effect/Schedule"
import { readFileSync } from "node:fs"
import { BlockList, isIP } from "node:net"
import * as NodeTls from "node:tls"
import type { ConnectionOptions } from "node:tls"
import { ConfigError, PgTransportError } from "../../PgTransportError.ts"
import * as Url from "./url.ts"

export type TlsMode = "disable" | "verify-full" | "verify-ca" | "insecure"

export interface TlsOptions {
  /**
   * `verify-full`: the chain and the host name are checked. `verify-ca`: the chain only. `insecure`: encrypted, and anybody may
   * answer. `disable`: plaintext. Default: `disable` for unix sockets and loopback addresses, else `verify-full`.
   */
  readonly mode?: TlsMode | undefined
  /** `postgres` asks the server first (SSLRequest); `direct` starts with TLS at once (PostgreSQL 17). Default: `postgres`. */
  readonly negotiation?: "postgres" | "direct" | undefined
  readonly ca?: ConnectionOptions["ca"]
  readonly cert?: ConnectionOptions["cert"]
  readonly key?: ConnectionOptions["key"]
  readonly servername?: string | undefined
}

/** A way to authenticate that proves little or gives the password away; each must be allowed by its own word. */
export type LegacyAuth = "md5" | "cleartext" | "trust" | "remote-plaintext"

export interface Options {
  /** As in libpq. An option beside it wins over what it says. An unknown key in it is an error. */
  readonly url?: Redacted.Redacted | undefined
  readonly host?: string | undefined
  readonly port?: number | undefined
  /** Of a unix socket. */
  readonly path?: string | undefined
  readonly tls?: TlsOptions | undefined
  /** An effect is evaluated for every attempt to connect. */
  readonly password?: Redacted.Redacted | Effect.Effect<Redacted.Redacted> | undefined
  /** Default: `prefer`. */
  readonly channelBinding?: "require" | "prefer" | "disable" | undefined
  readonly allowLegacyAuth?: ReadonlyArray<LegacyAuth> | undefined
  /** Bounds of the server's SCRAM iterations. Default: 4,096 to 10,000,000. */
  readonly scramIterations?: { readonly min?: number | undefined; readonly max?: number | undefined } | undefined
  /** For password, TCP, TLS, authentication and all attempts together. Default: 10 seconds. */
  readonly connectTimeout?: Duration.Input | undefined
  /**
   * When to try again after the server refused or reset the connection, starts up or shuts down (57P03), or has too many
   * clients (53300). Default: after 100 ms, doubling to 2 s, jittered.
   */
  readonly connectRetry?: Schedule.Schedule<unknown, PgTransportError> | undefined
}

export type Address =
  | { readonly host: string; readonly port: number }
  | { readonly path: string }

/** `options` resolved and checked. */
export interface Settings {
  readonly address: Address
  readonly tls: {
    readonly mode: TlsMode
    readonly negotiation: "postgres" | "direct"
    /** For `tls.connect`: the secure context of ca, cert and key, and servername. */
    readonly options: ConnectionOptions
    /** Whether the server can learn from TLS who the client is. */
    readonly clientCertificate: boolean
  }
  readonly password: Redacted.Redacted | Effect.Effect<Redacted.Redacted> | undefined
  readonly channelBinding: "require" | "prefer" | "disable"
  readonly allowLegacyAuth: ReadonlySet<LegacyAuth>
  readonly scramIterations: { readonly min: number; readonly max: number }
  readonly connectTimeout: Duration.Duration
  readonly connectRetry: Schedule.Schedule<unknown, PgTransportError>
  /** What the URL says that is the client's business and not the transport's. */
  readonly client: {
    readonly username: string | undefined
    readonly database: string | undefined
    readonly applicationName: string | undefined
    readonly startupOptions: string | undefined
  }
}

const loopback = new BlockList()
loopback.addSubnet("127.0.0.0", 8, "ipv4")
loopback.addAddress("::1", "ipv6")

/** Whether what is sent to this host stays on this machine. By name only `localhost` is taken to. */
export const isLoopback = (host: string): boolean => {
  const version = isIP(host)
  return version === 0 ? host.toLowerCase() === "localhost" : loopback.check(host, version === 4 ? "ipv4" : "ipv6")
}

export const showAddress = (address: Address): string =>
  "path" in address
    ? address.path
    : `${address.host.includes(":") ? `[${address.host}]` : address.host}:${address.port}`

class Unusable extends Error {}

const fail = (problem: string): never => {
  throw new Unusable(problem)
}

const one = <A extends string>(what: string, value: A, choices: ReadonlyArray<A>): A =>
  choices.includes(value) ? value : fail(`${what} must be one of ${choices.join(", ")}`)

const modes: ReadonlyArray<TlsMode> = ["disable", "verify-full", "verify-ca", "insecure"]
const negotiations: ReadonlyArray<"postgres" | "direct"> = ["postgres", "direct"]
const bindings: ReadonlyArray<Settings["channelBinding"]> = ["require", "prefer", "disable"]
const legacyWords: ReadonlyArray<LegacyAuth> = ["md5", "cleartext", "trust", "remote-plaintext"]

const addressOf = (options: Options, url: Url.Parts): Address => {
  if (options.path !== undefined) {
    if (options.host !== undefined || options.port !== undefined) fail("give either host and port or path, not both")
    return options.path === "" || options.path.includes("\0") ? fail("path is no file name") : { path: options.path }
  }
  const host = options.host ?? url.host ?? "localhost"
  const port = options.port ?? url.port ?? 5432
  if (!Number.isInteger(port) || port < 1 || port > 65_535) fail("port must be a whole number from 1 to 65535")
  if (host === "" || host.includes("\0")) fail("host is no host name")
  if (host.includes(",")) fail("host names several hosts: name one")
  return host.startsWith("/") ? { path: `${host.replace(/\/+$/, "")}/.s.PGSQL.${port}` } : { host, port }
}

/** Read once, when the options are: a file that is replaced later counts for the next transport. */
const file = (name: string | undefined, key: string): string | undefined => {
  if (name === undefined) return undefined
  try {
    return readFileSync(name, "utf8")
  } catch {
    return fail(`the file that the URL's ${key} names cannot be read`)
  }
}

const authorities = (url: Url.Parts, mode: TlsMode): ConnectionOptions["ca"] => {
  if (url.rootCertificate !== "system") return file(url.rootCertificate, "sslrootcert")
  if (mode !== "verify-full") {
    fail("the URL's sslrootcert=system needs sslmode=verify-full: anybody can get a certificate from those authorities")
  }
  // By the module's name: Node has this function since 22.15, and an import of it alone would keep older ones from starting.
  return "getCACertificates" in NodeTls
    ? NodeTls.getCACertificates("system")
    : fail("the URL's sslrootcert=system needs Node 22.15")
}

const tlsOf = (options: Options, url: Url.Parts, address: Address): Settings["tls"] => {
  const { tls = {} } = options
  const local = "path" in address || isLoopback(address.host)
  const given = tls.mode ?? url.tlsMode
  const mode = one("tls.mode", given ?? (local ? "disable" : "verify-full"), modes)
  const negotiation = one("tls.negotiation", tls.negotiation ?? url.negotiation ?? "postgres", negotiations)
  if (mode === "disable") {
    if (negotiation === "direct") {
      fail("tls.negotiation is direct, but TLS is off; set tls.mode (it is `disable` by default for local addresses)")
    }
    const meant = tls.ca ?? tls.cert ?? tls.key ?? tls.servername
      ?? url.rootCertificate ?? url.certificate ?? url.key
    if (given === undefined && meant !== undefined) {
      fail("certificates or a server name are given, but TLS is off by default for local addresses; set tls.mode")
    }
    return { mode, negotiation, options: {}, clientCertificate: false }
  }
  if ("path" in address) fail("PostgreSQL has no TLS on unix sockets; set tls.mode to disable")
  const ca = tls.ca ?? authorities(url, mode)
  const cert = tls.cert ?? file(url.certificate, "sslcert")
  const key = tls.key ?? file(url.key, "sslkey")
  if ((cert === undefined) !== (key === undefined)) fail("a client certificate needs both cert and key")
  try {
    const secureContext = NodeTls.createSecureContext({ ca, cert, key })
    return {
      mode,
      negotiation,
      options: { secureContext, ...(tls.servername === undefined ? {} : { servername: tls.servername }) },
      clientCertificate: cert !== undefined
    }
  } catch {
    return fail("the certificates or the key of the TLS options cannot be read, or the key is not the certificate's")
  }
}

const iterationsOf = ({ scramIterations }: Options): Settings["scramIterations"] => {
  const min = scramIterations?.min ?? 4_096
  const max = scramIterations?.max ?? 10_000_000
  return Number.isInteger(min) && Number.isInteger(max) && min >= 1 && min <= max && max <= 0x7fff_ffff
    ? { min, max }
    : fail("scramIterations must be whole numbers from 1 to 2147483647, min not above max")
}

const timeoutOf = (options: Options, url: Url.Parts): Duration.Duration => {
  const timeout = Duration.fromInput(options.connectTimeout ?? url.connectTimeout ?? Duration.seconds(10))
  return Option.isSome(timeout) && Duration.toMillis(timeout.value) > 0
    ? timeout.value
    : fail("connectTimeout must be a duration above zero")
}

const defaultRetry: Settings["connectRetry"] = Schedule.jittered(
  Schedule.min([Schedule.exponential("100 millis"), Schedule.spaced("2 seconds")])
)

/**
 * Checks the options and fills in the defaults. Files that the URL names are read here.
 *
 * - errors: `ConfigError`; it never repeats the URL, a password or the content of a file
 */
export const resolve = (options: Options): Result.Result<Settings, PgTransportError> => {
  const parsed = options.url === undefined ? Result.succeed<Url.Parts>({}) : Url.parse(options.url)
  if (Result.isFailure(parsed)) {
    return Result.fail(new PgTransportError({ reason: new ConfigError({ problem: parsed.failure }) }))
  }
  const url = parsed.success
  try {
    const address = addressOf(options, url)
    return Result.succeed({
      address,
      tls: tlsOf(options, url, address),
      password: options.password ?? url.password,
      channelBinding: one("channelBinding", options.channelBinding ?? url.channelBinding ?? "prefer", bindings),
      allowLegacyAuth: new Set(options.allowLegacyAuth?.map((word) => one("allowLegacyAuth", word, legacyWords))),
      scramIterations: iterationsOf(options),
      connectTimeout: timeoutOf(options, url),
      connectRetry: options.connectRetry ?? defaultRetry,
      client: {
        username: url.username,
        database: url.database,
        applicationName: url.applicationName,
        startupOptions: url.startupOptions
      }
    })
  } catch (error) {
    if (!(error instanceof Unusable)) throw error
    return Result.fail(new PgTransportError({ reason: new ConfigError({ problem: error.message }) }))
  }
}

/**
 * What the driver's pool is told when its connections go through a transport.
 */
import { Duration, Result } from "effect"
import type { Duplex } from "node:stream"
import { ConfigError, fromCause, type PgTransportError } from "../../PgTransportError.ts"
import type { PgClient } from "../driver.ts"
import { type Options, resolve } from "./options.ts"

/** The options of the pool. Where to connect and how is the transport's business, and `multiplex` is refused. */
export type PoolOptions = Omit<
  PgClient.PgPoolConfig,
  "url" | "host" | "port" | "path" | "ssl" | "password" | "stream" | "connectTimeout" | "keepAlive" | "multiplex"
>

/** What an untyped caller may still have written. */
const refusal = (options: object): string | undefined => {
  const given: Readonly<Record<string, unknown>> = { ...options }
  if (given["ssl"] !== undefined) return "`ssl` is the driver's option; give the transport `tls` in its place"
  if (given["stream"] !== undefined) return "`stream` is what the transport provides; leave it out"
  if (given["multiplex"] === true) {
    return "`multiplex` is refused: a multiplexed statement is not cancelled by an interruption and may commit"
  }
  return undefined
}

/** The driver's configuration for connections through `stream`. */
export const configOf = (
  options: Options & PoolOptions,
  stream: () => Duplex
): Result.Result<PgClient.PgPoolConfig, PgTransportError> => {
  const problem = refusal(options)
  if (problem !== undefined) return Result.fail(fromCause(new ConfigError({ problem }), undefined))
  const {
    allowLegacyAuth: _allowLegacyAuth,
    channelBinding: _channelBinding,
    connectRetry: _connectRetry,
    connectTimeout: _connectTimeout,
    path: _path,
    password: _password,
    scramIterations: _scramIterations,
    tls: _tls,
    url: _url,
    ...pool
  } = options
  return Result.map(resolve(options), ({ address, client }) => ({
    ...pool,
    // For the attributes of spans only: `stream` wins.
    ...("host" in address ? address : { host: address.path }),
    username: options.username ?? client.username,
    database: options.database ?? client.database,
    applicationName: options.applicationName ?? client.applicationName,
    startupOptions: options.startupOptions ?? client.startupOptions,
    // The transport has its own limit, which knows more about what went wrong.
    connectTimeout: Duration.infinity,
    stream
  }))
}

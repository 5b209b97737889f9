/** The server's settings: which are ours, and how they reach the server. */
import * as Effect from "effect/Effect"
import { type EmbeddedPostgresError, SettingReserved } from "../EmbeddedPostgresError.ts"
import { fail } from "./failure.ts"

const reserved: Readonly<Record<string, string>> = {
  fsync: "use the option `durable`",
  synchronous_commit: "it is always on, so that what was acknowledged survives a killed server",
  full_page_writes: "it is always on, so that a killed server cannot leave torn pages",
  port: "use the option `port`",
  listen_addresses: "the server listens on 127.0.0.1 only",
  unix_socket_directories: "the server has no unix socket",
  data_directory: "use the option `directory`",
  config_file: "the server reads the one in its data directory",
  hba_file: "the server reads the one in its data directory",
  ident_file: "the server reads the one in its data directory",
  external_pid_file: "the server is known by the one in its data directory",
  logging_collector: "the server's words are needed to explain failures",
  log_destination: "the server's words are needed to explain failures",
  lc_messages: "the server's words are read by this package"
}

/** Refuses settings that are ours to decide. */
export const check = (settings: Readonly<Record<string, string>>): Effect.Effect<void, EmbeddedPostgresError> =>
  Effect.forEach(Object.keys(settings), (setting) => {
    // Trap: the server reads names in any case, and a dash as an underscore.
    const instead = reserved[setting.toLowerCase().replaceAll("-", "_")]
    if (instead !== undefined) return fail(new SettingReserved({ setting, instead, output: "" }))
    return /^[a-z_][\w.-]*$/i.test(setting)
      ? Effect.void
      : fail(new SettingReserved({ setting, instead: "it is not the name of a setting", output: "" }))
  }, { discard: true })

/** The server's arguments; ours come last, and the last one wins. */
export const serverArguments = (options: {
  readonly dataDirectory: string
  readonly port: number
  readonly durable: boolean
  readonly settings: Readonly<Record<string, string>>
}): ReadonlyArray<string> => {
  const all: Readonly<Record<string, string>> = {
    ...options.settings,
    listen_addresses: "127.0.0.1",
    port: String(options.port),
    unix_socket_directories: "",
    fsync: options.durable ? "on" : "off",
    synchronous_commit: "on",
    // Trap: advice to switch this off with fsync is for benchmarks. SIGKILL can end a write between two pages of the
    // kernel, that is in the middle of a page of PostgreSQL's.
    full_page_writes: "on",
    logging_collector: "off",
    log_destination: "stderr",
    lc_messages: "C"
  }
  return ["-D", options.dataDirectory, ...Object.entries(all).flatMap(([name, value]) => ["-c", `${name}=${value}`])]
}

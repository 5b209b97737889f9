/**
 * What can go wrong with an embedded server. One error with a tagged reason, for `Effect.catchReason`. Every reason
 * carries `output`: what PostgreSQL, initdb or the operating system said, at most its last 4,000 characters, empty if
 * nothing was said. No message contains a password.
 */
import * as Schema from "effect/Schema"

const told = (what: string, output: string): string => output === "" ? what : `${what}\n${output}`

/** There are no PostgreSQL binaries for this platform, or the platform cannot do what this package needs. */
export class PlatformUnsupported extends Schema.TaggedError<PlatformUnsupported>()("PlatformUnsupported", {
  platform: Schema.String,
  output: Schema.String
}) {
  override get message(): string {
    return told(
      `An embedded PostgreSQL cannot run on ${this.platform}. Start a server yourself and set DATABASE_URL.`,
      this.output
    )
  }
}

/** There are no binaries where they should be: in `place`, an npm package or the folder of the option `binaries`. */
export class BinariesMissing extends Schema.TaggedError<BinariesMissing>()("BinariesMissing", {
  place: Schema.String,
  output: Schema.String
}) {
  override get message(): string {
    return told(
      `The PostgreSQL binaries of ${this.place} are not installed. Install again with optional dependencies enabled, or `
        + "point the option `binaries` at a folder with bin/postgres.",
      this.output
    )
  }
}

/** The binaries are there, but neither they nor a private copy of them can be run by the user of the server. */
export class BinariesUnusable extends Schema.TaggedError<BinariesUnusable>()("BinariesUnusable", {
  directory: Schema.String,
  output: Schema.String
}) {
  override get message(): string {
    return told(
      `The PostgreSQL binaries in ${this.directory} cannot be used. Make the folder readable, or point TMPDIR at a `
        + "folder that everybody may search and from which programs may be run.",
      this.output
    )
  }
}

/** This process is root, PostgreSQL refuses to run as root, and there is no other user to run it as. */
export class NoUnprivilegedUser extends Schema.TaggedError<NoUnprivilegedUser>()("NoUnprivilegedUser", {
  tried: Schema.Array(Schema.String),
  output: Schema.String
}) {
  override get message(): string {
    return told(
      `PostgreSQL refuses to run as root, and none of the users ${this.tried.join(", ")} can be used. `
        + "Create one, name another with the option `user`, or start this program as an ordinary user.",
      this.output
    )
  }
}

/** A setting was given that this package has to decide itself. */
export class SettingReserved extends Schema.TaggedError<SettingReserved>()("SettingReserved", {
  setting: Schema.String,
  instead: Schema.String,
  output: Schema.String
}) {
  override get message(): string {
    return told(`The server setting ${this.setting} cannot be given: ${this.instead}.`, this.output)
  }
}

/** The port asked for is in use. Only with the option `port`, and on a restart, which keeps its port. */
export class PortTaken extends Schema.TaggedError<PortTaken>()("PortTaken", {
  port: Schema.Int,
  output: Schema.String
}) {
  override get message(): string {
    return told(
      `Another program listens on port ${this.port}. Stop it, or leave the option \`port\` out to get a free one.`,
      this.output
    )
  }
}

/** The directory cannot be created, read, written or reached by the user of the server. */
export class DirectoryUnusable extends Schema.TaggedError<DirectoryUnusable>()("DirectoryUnusable", {
  directory: Schema.String,
  output: Schema.String
}) {
  override get message(): string {
    return told(
      `The directory ${this.directory} cannot be used. As root, every folder above it must be searchable by the `
        + "unprivileged user that runs the server.",
      this.output
    )
  }
}

/** The directory belongs to another user. Nothing in it was touched. */
export class DirectoryNotOurs extends Schema.TaggedError<DirectoryNotOurs>()("DirectoryNotOurs", {
  directory: Schema.String,
  owner: Schema.Int,
  expected: Schema.Array(Schema.Int),
  output: Schema.String
}) {
  override get message(): string {
    return told(
      `The directory ${this.directory} belongs to the user with id ${this.owner}, not to `
        + `${this.expected.join(" or ")}. Use another directory, or change its owner.`,
      this.output
    )
  }
}

/** The directory holds other files and no database of this package. Nothing in it was touched. */
export class DirectoryNotEmpty extends Schema.TaggedError<DirectoryNotEmpty>()("DirectoryNotEmpty", {
  directory: Schema.String,
  output: Schema.String
}) {
  override get message(): string {
    return told(
      `The directory ${this.directory} holds files that do not belong to an embedded PostgreSQL. `
        + "Use an empty directory or a new one.",
      this.output
    )
  }
}

/** The directory has the layout of this package, but there is no usable database in it. */
export class NotADatabase extends Schema.TaggedError<NotADatabase>()("NotADatabase", {
  directory: Schema.String,
  output: Schema.String
}) {
  override get message(): string {
    return told(
      `The directory ${this.directory} is not a complete embedded PostgreSQL. `
        + "Restore the missing file, or use another directory.",
      this.output
    )
  }
}

/** A live server has the directory. It was not touched. */
export class DirectoryInUse extends Schema.TaggedError<DirectoryInUse>()("DirectoryInUse", {
  directory: Schema.String,
  output: Schema.String
}) {
  override get message(): string {
    return told(
      `Another PostgreSQL server runs in ${this.directory}. Stop it, connect to it through DATABASE_URL, or use `
        + "another directory.",
      this.output
    )
  }
}

/** The database was initialised by another major version of PostgreSQL. Nothing in it was touched. */
export class DirectoryVersionMismatch
  extends Schema.TaggedError<DirectoryVersionMismatch>()("DirectoryVersionMismatch", {
    directory: Schema.String,
    found: Schema.String,
    expected: Schema.String,
    output: Schema.String
  })
{
  override get message(): string {
    return told(
      `The directory ${this.directory} was initialised by PostgreSQL ${this.found}; the binaries are version `
        + `${this.expected}. Use another directory, or move the data with pg_dump or pg_upgrade.`,
      this.output
    )
  }
}

/** initdb did not succeed. What it had written is removed. */
export class InitdbFailed extends Schema.TaggedError<InitdbFailed>()("InitdbFailed", {
  directory: Schema.String,
  output: Schema.String
}) {
  override get message(): string {
    return told(`initdb could not create a database in ${this.directory}. Its own words follow.`, this.output)
  }
}

/** The server ended, or was not ready in time, for a reason that has no name of its own here. */
export class StartFailed extends Schema.TaggedError<StartFailed>()("StartFailed", {
  directory: Schema.String,
  output: Schema.String
}) {
  override get message(): string {
    return told(
      `The PostgreSQL server in ${this.directory} did not start. Its own words follow; check the option \`settings\` `
        + "first.",
      this.output
    )
  }
}

/** Processes of the server are still there after SIGKILL and the time it takes the kernel to obey. */
export class StopFailed extends Schema.TaggedError<StopFailed>()("StopFailed", {
  pids: Schema.Array(Schema.Int),
  output: Schema.String
}) {
  override get message(): string {
    return told(
      `The server's processes ${this.pids.join(", ")} did not end after SIGKILL. Look at them with ps.`,
      this.output
    )
  }
}

/** The scope of the server is closed; it cannot be started again. */
export class Closed extends Schema.TaggedError<Closed>()("Closed", { output: Schema.String }) {
  override get message(): string {
    return told("The scope of this embedded PostgreSQL is closed. Build the layer again.", this.output)
  }
}

/** Every reason there is. */
export const Reason = Schema.Union([
  PlatformUnsupported,
  BinariesMissing,
  BinariesUnusable,
  NoUnprivilegedUser,
  SettingReserved,
  PortTaken,
  DirectoryUnusable,
  DirectoryNotOurs,
  DirectoryNotEmpty,
  NotADatabase,
  DirectoryInUse,
  DirectoryVersionMismatch,
  InitdbFailed,
  StartFailed,
  StopFailed,
  Closed
])

/** Every reason there is. */
export type Reason = typeof Reason.Type

/** The one error of this package's servers. `reason` says what happened, `message` what to do next. */
export class EmbeddedPostgresError extends Schema.TaggedError<EmbeddedPostgresError>()("EmbeddedPostgresError", {
  reason: Reason
}) {
  override get message(): string {
    return this.reason.message
  }
}

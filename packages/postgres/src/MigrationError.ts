/**
 * What can be wrong with an installation of the schema.
 */
import { Schema } from "effect"

/** The schema does not exist in this database, or this role may not use it. */
export class SchemaAbsent extends Schema.TaggedError<SchemaAbsent>()("SchemaAbsent", { schema: Schema.String }) {
  override get message(): string {
    return `there is no installation in schema "${this.schema}" that this role may use; ` +
      "run PgMigrations.migrate as its owner, with applicationRole if this role is not the owner"
  }
}

/** The installation is older than this library. */
export class SchemaOlder extends Schema.TaggedError<SchemaOlder>()("SchemaOlder", {
  schema: Schema.String,
  found: Schema.Int,
  expected: Schema.Int
}) {
  override get message(): string {
    return `schema "${this.schema}" is at version ${this.found}, this library needs ${this.expected}; ` +
      "run PgMigrations.migrate as its owner"
  }
}

/** The installation was migrated by a newer library. */
export class SchemaNewer extends Schema.TaggedError<SchemaNewer>()("SchemaNewer", {
  schema: Schema.String,
  found: Schema.Int,
  expected: Schema.Int
}) {
  override get message(): string {
    return `schema "${this.schema}" is at version ${this.found}, this library knows versions up to ${this.expected}; ` +
      "use the library that migrated it, or a newer one"
  }
}

/** A migration that was applied is not the one in this library: one of them was edited after its release. */
export class HistoryEdited extends Schema.TaggedError<HistoryEdited>()("HistoryEdited", {
  schema: Schema.String,
  migration: Schema.String
}) {
  override get message(): string {
    return `migration ${this.migration}, applied to schema "${this.schema}", differs from the one in this library; ` +
      "nothing was changed. Restore the released file, or install into a new schema"
  }
}

/** The server refused a migration. It was rolled back as a whole; earlier ones stay. The server's words are in `problem`. */
export class MigrationFailed extends Schema.TaggedError<MigrationFailed>()("MigrationFailed", {
  schema: Schema.String,
  migration: Schema.String,
  problem: Schema.String
}) {
  override get message(): string {
    return `migration ${this.migration} of schema "${this.schema}" failed and was rolled back: ${this.problem}`
  }
}

/** The schema is there, but the application role could not be given its rights. The server's words are in `problem`. */
export class GrantFailed extends Schema.TaggedError<GrantFailed>()("GrantFailed", {
  schema: Schema.String,
  role: Schema.String,
  problem: Schema.String
}) {
  override get message(): string {
    return `role "${this.role}" could not be given its rights on schema "${this.schema}": ${this.problem}`
  }
}

/** The database could not be asked. What was committed stays; running the migrator again goes on from there. */
export class DatabaseUnavailable
  extends Schema.TaggedError<DatabaseUnavailable>()("DatabaseUnavailable", { problem: Schema.String })
{
  override get message(): string {
    return `the database could not be asked: ${this.problem}`
  }
}

export const MigrationErrorReason = Schema.Union([
  SchemaAbsent,
  SchemaOlder,
  SchemaNewer,
  HistoryEdited,
  MigrationFailed,
  GrantFailed,
  DatabaseUnavailable
])
export type MigrationErrorReason = typeof MigrationErrorReason.Type

/** An installation is not, or could not be made, what this library needs; `reason` says why and what to do. */
export class MigrationError extends Schema.TaggedError<MigrationError>()("MigrationError", {
  reason: MigrationErrorReason
}) {
  override get message(): string {
    return this.reason.message
  }
}

export * as MigrationError from "./MigrationError.ts"
export * as PgMigrations from "./PgMigrations.ts"
export * as PgMsgStore from "./PgMsgStore.ts"

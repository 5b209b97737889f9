export * as PgTransport from "./PgTransport.ts"
export * as PgTransportError from "./PgTransportError.ts"

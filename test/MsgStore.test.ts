import { PgClient } from "@effect/sql-pg"
import * as MsgStoreSuite from "@restante/conformance/MsgStoreSuite"
import { PgMsgStore } from "@restante/postgres"
import type { Redacted } from "effect"
import { Layer } from "effect"
import { MsgStore } from "restante"
import * as PostgresDatabase from "./PostgresDatabase.ts"

const url = await PostgresDatabase.open()

const postgresSuite = (
  name: string,
  layer: (url: Redacted.Redacted, limits: MsgStore.Limits) => ReturnType<MsgStoreSuite.Constructor>,
  // All of them run at the same time on one server. What random histories find is rarely about how it is connected to.
  options: MsgStoreSuite.SuiteOptions = { histories: 100 }
) =>
  MsgStoreSuite.suite(name, (limits) => layer(url, limits), {
    survivesReopen: true,
    empty: (limits) => PostgresDatabase.layerEmpty((url) => layer(url, limits))
  }, options)

MsgStoreSuite.suite("memory", (limits) => MsgStore.layerMemory(limits))

postgresSuite("PostgreSQL", (url, limits) => PgMsgStore.layer({ url, ...limits }), {})

postgresSuite("PostgreSQL, each call by itself", (url, limits) => PgMsgStore.layer({ url, coalesce: false, ...limits }))

postgresSuite("PostgreSQL, one connection", (url, limits) => PgMsgStore.layer({ url, poolSize: 1, ...limits }))

// These two have no listener, so that their readers are woken by looking.
const withoutListener = (limits: MsgStore.Limits) =>
  PgMsgStore.layerClient({ arrivalsPollInterval: "100 millis", ...limits })

postgresSuite(
  "PostgreSQL, multiplexed",
  (url, limits) => Layer.provide(withoutListener(limits), PgClient.layer({ url, multiplex: true, maxConnections: 2 }))
)

postgresSuite(
  "PostgreSQL, nothing prepared",
  (url, limits) => Layer.provide(withoutListener(limits), PgClient.layer({ url, prepare: false }))
)

PostgresDatabase.itIsSound(url)

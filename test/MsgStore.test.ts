import { PgClient } from "@effect/sql-pg"
import * as MsgStoreSuite from "@restante/conformance/MsgStoreSuite"
import { PgMsgStore } from "@restante/postgres"
import { Layer } from "effect"
import { MsgStore } from "restante"
import * as PostgresDatabase from "./PostgresDatabase.ts"

const url = await PostgresDatabase.open()
const durable = { survivesReopen: true }

MsgStoreSuite.suite("memory", (limits) => MsgStore.layerMemory(limits))

MsgStoreSuite.suite("PostgreSQL", (limits) => PgMsgStore.layer({ url, ...limits }), durable)

MsgStoreSuite.suite(
  "PostgreSQL, one connection",
  (limits) => PgMsgStore.layer({ url, poolSize: 1, ...limits }),
  durable
)

MsgStoreSuite.suite(
  "PostgreSQL, multiplexed",
  (limits) =>
    Layer.provide(PgMsgStore.layerClient(limits), PgClient.layer({ url, multiplex: true, maxConnections: 2 })),
  durable
)

MsgStoreSuite.suite(
  "PostgreSQL, nothing prepared",
  (limits) => Layer.provide(PgMsgStore.layerClient(limits), PgClient.layer({ url, prepare: false })),
  durable
)

PostgresDatabase.itIsSound(url)

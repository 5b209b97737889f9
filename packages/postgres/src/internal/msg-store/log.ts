/**
 * Export and import of a whole store on PostgreSQL. The records travel by COPY, over a client without it by arrays.
 */
import type { MsgStoreDriver } from "restante"
import type { Database } from "../database/routine.ts"
import type { Arrivals } from "./arrivals.ts"
import * as Export from "./export.ts"
import * as Import from "./import.ts"

export const make = (
  database: Database,
  arrivals: Arrivals
): Pick<MsgStoreDriver.MsgStoreDriver, "exportLog" | "importLog"> => ({
  exportLog: Export.make(database),
  importLog: Import.make(database, arrivals)
})

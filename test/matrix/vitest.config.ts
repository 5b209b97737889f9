/** One pass over one version of PostgreSQL, for `run.ts`, which says where the server is and where the results go. */
import { defineConfig } from "vitest/config"
import base from "../vitest.config.ts"

export default defineConfig({
  test: {
    ...base.test,
    include: ["matrix/*.matrix.ts", "Pg{Arrivals,Maintenance,Migrations,MsgStore}.test.ts"],
    reporters: ["default", "json"]
  }
})

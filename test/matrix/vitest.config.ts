/** One pass over one version of PostgreSQL, for `run.ts`, which says where the server is and where the results go. */
import { defineConfig } from "vitest/config"
import base from "../vitest.config.ts"

export default defineConfig({
  test: {
    ...base.test,
    include: ["matrix/*.matrix.ts", "Pg{Arrivals,Maintenance,MessageLog,Migrations,MsgStore}.test.ts"],
    // What a million records cost in memory is the client's affair, and takes minutes.
    testNamePattern: /^(?!.*1,000,000 records)/,
    reporters: ["default", "json"]
  }
})

import { defineConfig } from "vitest/config"

export default defineConfig({
  test: {
    include: ["**/*.test.ts"],
    globalSetup: ["./postgres.setup.ts"],
    // Long enough for a machine that is busy with something else; nothing waits for it to pass.
    testTimeout: 60_000,
    hookTimeout: 60_000,
    // The JSON is for `.ci/run`, which counts.
    reporters: ["default", ["json", { outputFile: "../.restante/test-results.json" }]]
  }
})

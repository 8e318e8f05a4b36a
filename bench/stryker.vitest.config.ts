/** What Stryker runs against circuits: their own tests only, without any service. */
import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["test/circuit/*.test.ts"],
    setupFiles: ["bench/stryker.setup.ts"],
    pool: "forks",
    testTimeout: 60_000,
  },
});

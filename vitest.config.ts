import { defineConfig } from "vitest/config";

/** Property tests run as often as this says, which may take an hour. */
const isLongRun = (process.env.FAST_CHECK_RUNS ?? "") !== "";

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    globalSetup: ["test/services/global-setup.ts"],
    pool: "forks",
    maxWorkers: 2,
    setupFiles: ["test/support/property-runs.setup.ts"],
    testTimeout: isLongRun ? 3_600_000 : 20_000,
    hookTimeout: 60_000,
    restoreMocks: true,
    expect: { poll: { timeout: 10_000 } },
    coverage: {
      provider: "v8",
      include: ["server/**/*.ts", "shared/**/*.ts"],
      reporter: ["text-summary", "html"],
      thresholds: {
        lines: 85,
        "server/instrumentation/**": { lines: 90 },
        "server/metrics/**": { lines: 90 },
      },
    },
  },
});

import { defineConfig } from "vitest/config";

/** Property tests run as often as this says, which may take an hour. */
const isLongRun = (process.env.FAST_CHECK_RUNS ?? "") !== "";

/** Writes down what the tests that run lead recovery to decide. */
const recorders = (process.env.RECORD_HISTORY ?? "") === "" ? [] : ["test/support/record-history.setup.ts"];

/**
 * Promises about traffic at a given rate: they run last and one by one, because nothing else may take the processor, and once
 * more where a neighbour took it.
 */
const LOAD = "test/load/**/*.test.ts";

export default defineConfig({
  test: {
    projects: [
      {
        extends: true,
        test: { name: "parts", include: ["test/**/*.test.ts"], exclude: [LOAD], sequence: { groupOrder: 0 } },
      },
      { extends: true, test: { name: "load", include: [LOAD], maxWorkers: 1, retry: 1, sequence: { groupOrder: 1 } } },
    ],
    globalSetup: ["test/services/global-setup.ts"],
    pool: "forks",
    maxWorkers: 2,
    setupFiles: ["test/support/property-runs.setup.ts", ...recorders],
    // No test is to fail because the machine is slow: they end what hangs.
    testTimeout: isLongRun ? 3_600_000 : 60_000,
    hookTimeout: 60_000,
    restoreMocks: true,
    expect: { poll: { timeout: 30_000 } },
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

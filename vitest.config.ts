import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    globalSetup: ["test/services/global-setup.ts"],
    pool: "forks",
    maxWorkers: 2,
    testTimeout: 20_000,
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

/** What Stryker runs against the circuit's state machine: its own tests only, without any service. */
import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["test/circuit/{scenarios,state-machine,model}.test.ts"],
    pool: "forks",
    testTimeout: 20_000,
  },
});

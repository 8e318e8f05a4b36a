/**
 * What Stryker runs against circuits: their own tests only, without any service, in one context. Quick files come first,
 * because the first failure ends a mutant.
 */
import { defineConfig } from "vitest/config";
import { BaseSequencer, type TestSpecification } from "vitest/node";

/** The slowest last. */
const SLOW = ["circuit-window", "quorum", "state-machine", "timer-wheel", "sharing", "sharing-races", "races", "model"];

class QuickFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    return files.toSorted((a, b) => slownessOf(a) - slownessOf(b) || a.moduleId.localeCompare(b.moduleId));
  }
}

function slownessOf({ moduleId }: TestSpecification): number {
  return SLOW.findIndex((name) => moduleId.endsWith(`/${name}.test.ts`));
}

export default defineConfig({
  test: {
    include: ["test/circuit/*.test.ts"],
    // Processes, databases and Redis prove a fleet; they tell mutants apart too slowly.
    exclude: ["test/circuit/fleet-processes.test.ts"],
    // Short properties, because they run a thousand times.
    env: { FAST_CHECK_RUNS: "20" },
    setupFiles: ["test/support/property-runs.setup.ts", "bench/stryker.setup.ts"],
    sequence: { sequencer: QuickFirst },
    pool: "threads",
    isolate: false,
    // What a mutant keeps waiting fails here, long before its runner would be started anew.
    testTimeout: 10_000,
    hookTimeout: 10_000,
  },
});

/** A watchdog with its parts on one store, a fake clock, and a real engine behind it. */
import { createLocalControlChannel } from "../../server/adapters/local-control-channel.js";
import { createMemoryStore } from "../../server/adapters/memory/memory-store.js";
import type { Store } from "../../server/ports/store.js";
import type { WatchdogAlert } from "../../server/ports/watchdog.js";
import { RecoveryEngine } from "../../server/recovery/recovery-engine.js";
import { createLiveSettings } from "../../server/watchdog/live-settings.js";
import { createStuckTasks } from "../../server/watchdog/stuck-tasks.js";
import { createTasks } from "../../server/watchdog/tasks.js";
import { createWatchdog, type WatchdogOptions } from "../../server/watchdog/watchdog.js";
import { FEATURE_FLAG_DEFAULTS } from "../../shared/feature-flags.js";
import type { HealthCheckResult } from "../../shared/health.js";
import type { Mode } from "../../shared/mode.js";
import type { ActionStatus } from "../../shared/recovery.js";
import { freshId, repairOf, sightingOf } from "../conformance/store-fixtures.js";
import { createFakeClock } from "../support/fake-clock.js";

export async function createWatchdogHarness(
  options: WatchdogOptions & { readonly mode?: Mode } = {},
  changes: (memory: Store) => Partial<Store> = () => ({}),
) {
  const clock = createFakeClock();
  const memory = createMemoryStore({ clock });
  const store: Store = { ...memory, ...changes(memory) };
  const faults: unknown[] = [];
  const onFault = (error: unknown) => void faults.push(error);
  const alerts: [WatchdogAlert["rule"], "firing" | "resolved", string][] = [];
  const calm: WatchdogAlert["rule"][] = [];
  let checks: HealthCheckResult[] = [];
  let id = 0;
  const ids = () => `id-${++id}`;
  const mode = options.mode ?? "full";
  const settings = createLiveSettings({
    clock,
    store,
    channel: createLocalControlChannel({ onFault }),
    ceiling: { mode, chosenMode: mode, flags: FEATURE_FLAG_DEFAULTS },
    onFault,
  });
  const stuckTasks = createStuckTasks({ clock, ids, store, onFault });
  const tasks = createTasks({
    ids,
    store,
    instance: "a",
    watch: stuckTasks.watch,
    whenStuck: stuckTasks.whenStuck,
    onFault,
  });
  const engine = new RecoveryEngine({ clock, ids, store, settings, instance: "a", onFault });
  engine.registerStrategy(stuckTasks.strategy);
  const watchdog = createWatchdog(
    {
      clock,
      store,
      settings,
      stuckTasks,
      tasks,
      health: () => ({ overall: "healthy", checks, timestamp: clock.now() }),
      repair: (failure) => engine.handleFailure(failure),
      alert({ rule, summary }, status) {
        if (status === "calm") calm.push(rule);
        else alerts.push([rule, status, summary]);
      },
      onFault,
    },
    options,
  );
  await settings.start();
  return {
    clock,
    store,
    memory,
    settings,
    tasks,
    stuckTasks,
    engine,
    watchdog,
    alerts,
    calm,
    faults,
    setChecks(given: HealthCheckResult[]) {
      checks = given;
    },
    /** Rows of repairs that ended so, each of a failure of its own. */
    async repaired(status: Extract<ActionStatus, "succeeded" | "failed" | "rolled_back" | "timed_out">, times: number) {
      for (let i = 0; i < times; i += 1) {
        const now = clock.now();
        const sighting = sightingOf({ affectedService: freshId("db:"), timestamp: now });
        await memory.recordFailures([sighting]);
        const repair = repairOf(sighting.failure.eventId, { timestamp: now, leaseUntil: now + 30_000 });
        await memory.leaseRepair(repair);
        await memory.completeRepair({
          actionId: repair.actionId,
          status,
          result: undefined,
          durationMs: 5,
          completedAt: now,
        });
      }
    },
  };
}

export function checkOf(overrides: Partial<HealthCheckResult> = {}): HealthCheckResult {
  return {
    name: "database",
    status: "unhealthy",
    latency: 1,
    message: undefined,
    metadata: undefined,
    criticality: "critical",
    checkedAt: 1,
    ...overrides,
  };
}

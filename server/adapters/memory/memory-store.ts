/** A store in plain maps: nothing outlives the process. Each kind of row is bounded; the oldest go first. */
import type { Clock } from "../../ports/clock.js";
import type { PrunableKind, Store } from "../../ports/store.js";
import { checkSlice } from "../rollup-slices.js";
import { createMemoryAlerts } from "./memory-alerts.js";
import { createMemoryAudit } from "./memory-audit.js";
import { createMemoryCircuits, type MemoryCircuits } from "./memory-circuits.js";
import { createMemoryFailures } from "./memory-failures.js";
import { createMemoryIncidents } from "./memory-incidents.js";
import { createMemoryLastGood } from "./memory-last-good.js";
import { createMemoryMaintenance } from "./memory-maintenance.js";
import { createMemoryRanges } from "./memory-ranges.js";
import { createMemoryRecoveries, type MemoryRecoveries } from "./memory-recoveries.js";
import { createMemoryReports } from "./memory-reports.js";
import { createMemoryRollups } from "./memory-rollups.js";
import type { Slice } from "./memory-rows.js";
import { createMemorySettings } from "./memory-settings.js";
import { createMemoryTasks } from "./memory-tasks.js";

export interface MemoryStoreOptions {
  /** Rows of one kind; beyond it the oldest are forgotten. @default 10_000 */
  readonly capacity?: number;
  /** Buckets of one series and resolution; beyond it the oldest are forgotten. @default 8_640, a day */
  readonly bucketsPerSeries?: number;
}

const DEFAULTS = { capacity: 10_000, bucketsPerSeries: 8_640 } as const;

/**
 * @example
 * const store = createMemoryStore({ clock: systemClock });
 * await store.open();
 */
export function createMemoryStore({ clock }: { clock: Clock }, options: MemoryStoreOptions = {}): Store {
  const { capacity, bucketsPerSeries } = { ...DEFAULTS, ...options };
  let lastId = 0;
  const nextId = () => {
    lastId += 1;
    return lastId;
  };

  const rollups = createMemoryRollups({ clock }, { capacity, bucketsPerSeries });
  const alerts = createMemoryAlerts({ nextId }, capacity);
  const audit = createMemoryAudit({ nextId }, capacity);
  const lastGood = createMemoryLastGood(capacity);
  const maintenance = createMemoryMaintenance(capacity);
  const settings = createMemorySettings(capacity);
  const tasks = createMemoryTasks({ clock }, capacity);
  const incidents = createMemoryIncidents(
    { nextId, isBroken: (service) => circuits.isBroken(service), closeAlerts: alerts.closeWith },
    capacity,
  );
  const failures = createMemoryFailures(
    {
      clock,
      nextId,
      incidents,
      onFolded: (eventId, storedId) => circuits.moveTransitions(eventId, storedId),
      onForgotten: (eventId) => recoveries.forgetActionsOf(eventId),
      hasActions: (eventId) => recoveries.hasActionsOf(eventId),
    },
    capacity,
  );
  const recoveries: MemoryRecoveries = createMemoryRecoveries({ clock, nextId, findFailure: failures.find }, capacity);
  const circuits: MemoryCircuits = createMemoryCircuits({ clock, nextId, findFailure: failures.find }, capacity);

  const nothing = () => 0;
  const prunes: Readonly<Record<PrunableKind, (slice: Slice) => number>> = {
    dead_batches: rollups.pruneDeadBatches,
    gaps: rollups.pruneGaps,
    boots: rollups.pruneBoots,
    failure_events: failures.prune,
    recovery_actions: recoveries.prune,
    incidents: (slice) => incidents.prune(slice, new Set(failures.all().map(({ incidentId }) => incidentId))),
    circuit_transitions: circuits.pruneTransitions,
    circuits: circuits.pruneCircuits,
    operator_audit: audit.prune,
    tasks: tasks.prune,
    settings_history: settings.prune,
    last_good_values: lastGood.prune,
    alerts: alerts.prune,
    maintenance_windows: maintenance.prune,
    // None are written here.
    sessions: nothing,
    leases: nothing,
  };

  return Object.freeze<Store>({
    async open() {},
    async ping() {
      return 0;
    },
    async close() {},
    async pruneRecords({ kind, ...slice }) {
      return prunes[kind](checkSlice(slice));
    },
    ...rollups.store,
    ...createMemoryRanges(rollups),
    ...failures.store,
    ...incidents.store,
    ...recoveries.store,
    ...circuits.store,
    ...lastGood.store,
    ...audit.store,
    ...settings.store,
    ...tasks.store,
    ...alerts.store,
    ...maintenance.store,
    ...createMemoryReports({
      actions: recoveries.all,
      failures: failures.all,
      audit: audit.all,
      tasks: tasks.all,
    }),
  });
}

/** Every table of Paramedic on PostgreSQL, for a host app's own queries and for its Drizzle schema. */
export { alerts, maintenanceWindows, notificationOutbox, silences } from "./schema/alerts.js";
export { systemHealthBaselines } from "./schema/baselines.js";
export { circuitBreakerStates, circuitOpinions, circuitTransitions } from "./schema/circuits.js";
export { failureEvents, writeReceipts } from "./schema/failures.js";
export { incidents } from "./schema/incidents.js";
export {
  deadBatches,
  ingestBoots,
  ingestGaps,
  ingestLedger,
  metricRollups,
  metricSeries,
  rollupMarks,
  systemHealthMetrics,
} from "./schema/metrics.js";
export { operatorAudit, sessions } from "./schema/operators.js";
export { recoveryActions } from "./schema/recoveries.js";
export { settings, settingsHistory } from "./schema/settings.js";
export { lastGoodValues, leases, tasks } from "./schema/work.js";

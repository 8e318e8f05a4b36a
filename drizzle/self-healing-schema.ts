/** Every table of Paramedic, for a host app's own queries and for its Drizzle schema. */
export { alerts, maintenanceWindows, notificationOutbox, silences } from "./sqlite/schema/alerts.js";
export { systemHealthBaselines } from "./sqlite/schema/baselines.js";
export { circuitBreakerStates, circuitOpinions, circuitTransitions } from "./sqlite/schema/circuits.js";
export { failureEvents, writeReceipts } from "./sqlite/schema/failures.js";
export { incidents } from "./sqlite/schema/incidents.js";
export {
  deadBatches,
  ingestBoots,
  ingestGaps,
  ingestLedger,
  metricRollups,
  metricSeries,
  rollupMarks,
  systemHealthMetrics,
} from "./sqlite/schema/metrics.js";
export { operatorAudit, sessions } from "./sqlite/schema/operators.js";
export { recoveryActions } from "./sqlite/schema/recoveries.js";
export { settings, settingsHistory } from "./sqlite/schema/settings.js";
export { lastGoodValues, leases, tasks } from "./sqlite/schema/work.js";

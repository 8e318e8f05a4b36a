/** Which tables are Paramedic's, by their names: a database may hold a host app's beside them. */

/** Those whose names are the system's and not prefixed. */
const NAMED_TABLES: ReadonlySet<string> = new Set([
  "circuit_breaker_states",
  "circuit_transitions",
  "failure_events",
  "recovery_actions",
  "system_health_baselines",
]);

export function isOwnTable(name: string): boolean {
  return name.startsWith("paramedic_") || NAMED_TABLES.has(name);
}

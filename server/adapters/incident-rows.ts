/** An incident as it is stored and as it is told. */
import type { incidents } from "../../drizzle/self-healing-schema.js";
import type { Incident } from "../../shared/incident.js";
import type { NewRow } from "./new-row.js";

export function incidentOfRow(row: typeof incidents.$inferSelect): Incident {
  const { incidentId, title, severity, status, affectedService, startedAt, lastSeenAt } = row;
  return {
    incidentId,
    title,
    severity,
    status,
    affectedService,
    startedAt,
    detectedAt: row.createdAt,
    lastSeenAt,
    resolvedAt: row.resolvedAt ?? undefined,
  };
}

export function incidentRowOf({ detectedAt, ...incident }: Incident): NewRow<typeof incidents.$inferInsert> {
  return { id: undefined, ...incident, createdAt: detectedAt };
}

/** An alert as it is stored and as it is told. */
import type { alerts } from "../../drizzle/self-healing-schema.js";
import type { Alert } from "../../shared/alerts.js";
import type { RaisedAlert } from "../ports/alert-store.js";

export function alertOfRow(row: typeof alerts.$inferSelect): Alert {
  const { alertId, dedupeKey, rule, severity, status, subject, summary, startedAt } = row;
  return {
    alertId,
    dedupeKey,
    rule,
    severity,
    status,
    subject,
    summary,
    detail: row.detail ?? undefined,
    incidentId: row.incidentId ?? undefined,
    startedAt,
    firedAt: row.firedAt ?? undefined,
    resolvedAt: row.resolvedAt ?? undefined,
  };
}

/** As it begins. */
export function firingAlert({ at, ...alert }: RaisedAlert): Alert & { readonly createdAt: number } {
  return { ...alert, status: "firing", startedAt: at, firedAt: at, resolvedAt: undefined, createdAt: at };
}

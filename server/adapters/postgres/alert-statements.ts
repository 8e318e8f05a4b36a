/** Writes and reads alerts, in the transaction of `db`. */
import { and, eq, exists, ne } from "drizzle-orm";
import { alerts, incidents } from "../../../drizzle/postgres/self-healing-schema.js";
import type { Alert } from "../../../shared/alerts.js";
import { ALERT_OPERATOR } from "../../../shared/recovery.js";
import type { AlertQuery, AlertStore, RaisedAlert } from "../../ports/alert-store.js";
import type { Page } from "../../ports/store.js";
import { alertOfRow, firingAlert } from "../alert-rows.js";
import { alertFilters } from "../list-filters.js";
import { readPage } from "./page-conditions.js";
import type { Db } from "./postgres-connection.js";

export async function raiseAlert(db: Db, alert: RaisedAlert): Promise<void> {
  await db.insert(alerts).values(firingAlert(alert)).onConflictDoNothing();
}

export async function resolveAlert(
  db: Db,
  { dedupeKey, at }: Parameters<AlertStore["resolveAlert"]>[0],
): Promise<boolean> {
  const resolved = await db
    .update(alerts)
    .set({ status: "resolved", resolvedAt: at })
    .where(and(eq(alerts.dedupeKey, dedupeKey), ne(alerts.status, "resolved")))
    .returning({ id: alerts.id });
  return resolved.length > 0;
}

/** What a human was told of is over with its incident. */
export async function closeOperatorAlerts(db: Db, resolvedAt: number): Promise<void> {
  const closed = db
    .select({ id: incidents.id })
    .from(incidents)
    .where(and(eq(incidents.incidentId, alerts.incidentId), eq(incidents.status, "resolved")));
  await db
    .update(alerts)
    .set({ status: "resolved", resolvedAt })
    .where(and(ne(alerts.status, "resolved"), eq(alerts.rule, ALERT_OPERATOR), exists(closed)));
}

export function createAlertQueries(db: Db) {
  return {
    listAlerts: (query: AlertQuery): Promise<Page<Alert>> =>
      readPage(
        query,
        { time: alerts.startedAt, id: alerts.id },
        alertFilters(query, alerts),
        (where, orderBy, limit) =>
          db
            .select()
            .from(alerts)
            .where(where)
            .orderBy(...orderBy)
            .limit(limit),
        ({ startedAt: timestamp, id }) => ({ timestamp, id }),
        alertOfRow,
      ),
  };
}

/** Writes and reads alerts, in whatever transaction is open. */
import { and, eq, exists, ne } from "drizzle-orm";
import { alerts, incidents } from "../../../drizzle/self-healing-schema.js";
import type { Alert } from "../../../shared/alerts.js";
import { ALERT_OPERATOR } from "../../../shared/recovery.js";
import type { AlertQuery, AlertStore, RaisedAlert } from "../../ports/alert-store.js";
import type { Page } from "../../ports/store.js";
import { alertOfRow, firingAlert } from "../alert-rows.js";
import { alertFilters } from "../list-filters.js";
import { readPage } from "./page-conditions.js";
import type { Db } from "./sqlite-connection.js";

export interface AlertStatements {
  raiseAlert(alert: RaisedAlert): void;
  resolveAlert(resolution: Parameters<AlertStore["resolveAlert"]>[0]): boolean;
}

export function createAlertStatements(db: Db): AlertStatements {
  return {
    raiseAlert: (alert) => void db.insert(alerts).values(firingAlert(alert)).onConflictDoNothing().run(),
    resolveAlert({ dedupeKey, at }) {
      const isOpen = and(eq(alerts.dedupeKey, dedupeKey), ne(alerts.status, "resolved"));
      return db.update(alerts).set({ status: "resolved", resolvedAt: at }).where(isOpen).run().changes > 0;
    },
  };
}

/** What a human was told of is over with its incident. */
export function closeOperatorAlerts(db: Db, resolvedAt: number): void {
  const closed = db
    .select({ id: incidents.id })
    .from(incidents)
    .where(and(eq(incidents.incidentId, alerts.incidentId), eq(incidents.status, "resolved")));
  db.update(alerts)
    .set({ status: "resolved", resolvedAt })
    .where(and(ne(alerts.status, "resolved"), eq(alerts.rule, ALERT_OPERATOR), exists(closed)))
    .run();
}

export interface AlertQueries {
  listAlerts(query: AlertQuery): Page<Alert>;
}

export function createAlertQueries(db: Db): AlertQueries {
  return {
    listAlerts: (query) =>
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
            .limit(limit)
            .all(),
        ({ startedAt: timestamp, id }) => ({ timestamp, id }),
        alertOfRow,
      ),
  };
}

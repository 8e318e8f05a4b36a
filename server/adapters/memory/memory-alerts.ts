/** Alerts in a map; those that began first are forgotten first. */
import type { Alert } from "../../../shared/alerts.js";
import { ALERT_OPERATOR } from "../../../shared/recovery.js";
import type { AlertStore } from "../../ports/alert-store.js";
import { firingAlert } from "../alert-rows.js";
import { forgetOldest, type Kept, newestFirst, prune, type Slice } from "./memory-rows.js";

export function createMemoryAlerts({ nextId }: { readonly nextId: () => number }, capacity: number) {
  const alerts = new Map<string, Kept<Alert>>();
  const put = (id: number, row: Alert) => void alerts.set(row.alertId, { id, row });
  const open = () => [...alerts.values()].filter(({ row }) => row.status !== "resolved");

  const store: AlertStore = {
    async raiseAlert(alert) {
      if (alerts.has(alert.alertId) || open().some(({ row }) => row.dedupeKey === alert.dedupeKey)) return;
      const { createdAt: _, ...row } = firingAlert(alert);
      put(nextId(), row);
      forgetOldest(alerts, capacity);
    },
    async resolveAlert({ dedupeKey, at }) {
      const found = open().find(({ row }) => row.dedupeKey === dedupeKey);
      if (found) put(found.id, { ...found.row, status: "resolved", resolvedAt: at });
      return found !== undefined;
    },
    async listAlerts(query) {
      return newestFirst(
        alerts.values(),
        query,
        (row) => row.startedAt,
        (row) =>
          (query.incidentId === undefined || row.incidentId === query.incidentId) &&
          (query.status === undefined || row.status === query.status),
      );
    },
  };
  return {
    store,
    prune: ({ before, limit }: Slice): number => prune(alerts, limit, ({ row }) => (row.resolvedAt ?? before) < before),
    /** An incident was closed: what a human was told of it is over. */
    closeWith(incidentId: string, resolvedAt: number): void {
      for (const { id, row } of open()) {
        if (row.rule !== ALERT_OPERATOR || row.incidentId !== incidentId) continue;
        put(id, { ...row, status: "resolved", resolvedAt });
      }
    },
  };
}

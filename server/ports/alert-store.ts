/** Alerts as they are kept. */
import type { Alert, AlertStatus } from "../../shared/alerts.js";
import type { Page } from "./page.js";

/** An alert that somebody is told of now. */
export interface RaisedAlert
  extends Pick<Alert, "alertId" | "dedupeKey" | "rule" | "severity" | "subject" | "summary" | "detail" | "incidentId"> {
  readonly at: number;
}

export interface AlertQuery {
  readonly incidentId?: string | undefined;
  readonly status?: AlertStatus | undefined;
  readonly cursor?: string | undefined;
  readonly limit: number;
}

export interface AlertStore {
  /**
   * Fires it, unless one of the same key is not over. That a human was told of a service (rule `alert_operator`) is over once
   * the incident is closed.
   */
  raiseAlert(alert: RaisedAlert): Promise<void>;
  /** `false` when none of that key is open. */
  resolveAlert(resolution: { readonly dedupeKey: string; readonly at: number }): Promise<boolean>;
  /** Newest first. */
  listAlerts(query: AlertQuery): Promise<Page<Alert>>;
}

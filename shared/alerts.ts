/** The words for alerts and their delivery. */
import type { JsonObject, Severity } from "./failure.js";

/** pending (its condition holds, not yet long enough) → firing → resolved */
export const ALERT_STATUSES = ["pending", "firing", "resolved"] as const;
export type AlertStatus = (typeof ALERT_STATUSES)[number];

/** pending → delivered | failed (no attempt is left) */
export const DELIVERY_STATUSES = ["pending", "delivered", "failed"] as const;
export type DeliveryStatus = (typeof DELIVERY_STATUSES)[number];

/** What somebody was told. Times are UTC milliseconds. */
export interface Alert {
  readonly alertId: string;
  /** The same trouble has the same key: one alert of it is open at a time. */
  readonly dedupeKey: string;
  readonly rule: string;
  readonly severity: Severity;
  readonly status: AlertStatus;
  /** What it is about, such as a service. */
  readonly subject: string;
  readonly summary: string;
  readonly detail: JsonObject | undefined;
  /** Of the failure that it was raised for. */
  readonly incidentId: string | undefined;
  readonly startedAt: number;
  readonly firedAt: number | undefined;
  readonly resolvedAt: number | undefined;
}

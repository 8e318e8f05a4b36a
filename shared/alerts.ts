/** The words for alerts and their delivery. */

/** pending (its condition holds, not yet long enough) → firing → resolved */
export const ALERT_STATUSES = ["pending", "firing", "resolved"] as const;
export type AlertStatus = (typeof ALERT_STATUSES)[number];

/** pending → delivered | failed (no attempt is left) */
export const DELIVERY_STATUSES = ["pending", "delivered", "failed"] as const;
export type DeliveryStatus = (typeof DELIVERY_STATUSES)[number];

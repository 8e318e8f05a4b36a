/** Who is told, when, and whether it arrived. */
import { sql } from "drizzle-orm";
import { index, pgTable, text, uniqueIndex } from "drizzle-orm/pg-core";
import { ALERT_STATUSES, DELIVERY_STATUSES } from "../../../shared/alerts.js";
import { type JsonObject, SEVERITIES } from "../../../shared/failure.js";
import { bigint, cleanText, identity, jsonText } from "../columns.js";
import { incidents } from "./incidents.js";

export const alerts = pgTable(
  "paramedic_alerts",
  {
    id: identity("id"),
    alertId: cleanText("alert_id").notNull().unique(),
    /** Rule and subject: the same trouble has the same key. */
    dedupeKey: cleanText("dedupe_key").notNull(),
    rule: cleanText("rule").notNull(),
    severity: text("severity", { enum: SEVERITIES }).notNull(),
    status: text("status", { enum: ALERT_STATUSES }).notNull(),
    subject: cleanText("subject").notNull(),
    summary: cleanText("summary").notNull(),
    detail: jsonText<JsonObject>("detail"),
    incidentId: cleanText("incident_id").references(() => incidents.incidentId, { onDelete: "set null" }),
    startedAt: bigint("started_at").notNull(),
    firedAt: bigint("fired_at"),
    lastNotifiedAt: bigint("last_notified_at"),
    acknowledgedBy: cleanText("acknowledged_by"),
    acknowledgedAt: bigint("acknowledged_at"),
    resolvedAt: bigint("resolved_at"),
    createdAt: bigint("created_at").notNull(),
  },
  (table) => [
    // One alert for each trouble that is not over.
    uniqueIndex("paramedic_alerts_open_dedupe_key").on(table.dedupeKey).where(sql`status <> 'resolved'`),
    // Newest first; retention.
    index("paramedic_alerts_started_at").on(table.startedAt),
    // By status, newest first.
    index("paramedic_alerts_status").on(table.status, table.startedAt),
    // The alerts of one incident, in order.
    index("paramedic_alerts_incident_id").on(table.incidentId, table.startedAt),
  ],
);

/** Alerts that match are recorded and not sent. */
export const silences = pgTable(
  "paramedic_silences",
  {
    id: identity("id"),
    silenceId: cleanText("silence_id").notNull().unique(),
    /** An exact rule or subject, or a prefix ending in `*`. */
    matcher: jsonText<JsonObject>("matcher").notNull(),
    createdBy: cleanText("created_by").notNull(),
    reason: cleanText("reason").notNull(),
    startsAt: bigint("starts_at").notNull(),
    endsAt: bigint("ends_at").notNull(),
    createdAt: bigint("created_at").notNull(),
  },
  (table) => [
    // Those in force.
    index("paramedic_silences_ends_at").on(table.endsAt),
  ],
);

/** Announced work on services: their alerts wait and their repairs rest. */
export const maintenanceWindows = pgTable(
  "paramedic_maintenance_windows",
  {
    id: identity("id"),
    windowId: cleanText("window_id").notNull().unique(),
    /** Exact service names, or prefixes ending in `*`. */
    services: jsonText<readonly string[]>("services").notNull(),
    createdBy: cleanText("created_by").notNull(),
    reason: cleanText("reason").notNull(),
    startsAt: bigint("starts_at").notNull(),
    endsAt: bigint("ends_at").notNull(),
    createdAt: bigint("created_at").notNull(),
  },
  (table) => [
    // Those in force.
    index("paramedic_maintenance_windows_ends_at").on(table.endsAt),
  ],
);

/** What must be delivered at least once: written with the alert, deleted by retention. */
export const notificationOutbox = pgTable(
  "paramedic_notification_outbox",
  {
    id: identity("id"),
    /** Alert, event and channel: the receiver's key against a second delivery. */
    dedupeKey: cleanText("dedupe_key").notNull().unique(),
    alertId: cleanText("alert_id")
      .notNull()
      .references(() => alerts.alertId, { onDelete: "cascade" }),
    channel: cleanText("channel").notNull(),
    payload: jsonText<JsonObject>("payload").notNull(),
    status: text("status", { enum: DELIVERY_STATUSES }).notNull(),
    attempts: bigint("attempts").notNull(),
    nextAttemptAt: bigint("next_attempt_at").notNull(),
    leaseUntil: bigint("lease_until"),
    lastError: cleanText("last_error"),
    deliveredAt: bigint("delivered_at"),
    createdAt: bigint("created_at").notNull(),
  },
  (table) => [
    // What is due on one channel, so that a slow one delays no other.
    index("paramedic_notification_outbox_due").on(table.channel, table.nextAttemptAt).where(sql`status = 'pending'`),
    // What became of an alert.
    index("paramedic_notification_outbox_alert_id").on(table.alertId),
  ],
);

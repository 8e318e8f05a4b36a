/** Who is told, when, and whether it arrived. */
import { sql } from "drizzle-orm";
import { index, integer, sqliteTable, text, uniqueIndex } from "drizzle-orm/sqlite-core";
import { ALERT_STATUSES, DELIVERY_STATUSES } from "../../../shared/alerts.js";
import { type JsonObject, SEVERITIES } from "../../../shared/failure.js";
import { incidents } from "./incidents.js";

export const alerts = sqliteTable(
  "paramedic_alerts",
  {
    id: integer("id").primaryKey({ autoIncrement: true }),
    alertId: text("alert_id").notNull().unique(),
    /** Rule and subject: the same trouble has the same key. */
    dedupeKey: text("dedupe_key").notNull(),
    rule: text("rule").notNull(),
    severity: text("severity", { enum: SEVERITIES }).notNull(),
    status: text("status", { enum: ALERT_STATUSES }).notNull(),
    subject: text("subject").notNull(),
    summary: text("summary").notNull(),
    detail: text("detail", { mode: "json" }).$type<JsonObject>(),
    incidentId: text("incident_id").references(() => incidents.incidentId, { onDelete: "set null" }),
    startedAt: integer("started_at").notNull(),
    firedAt: integer("fired_at"),
    lastNotifiedAt: integer("last_notified_at"),
    acknowledgedBy: text("acknowledged_by"),
    acknowledgedAt: integer("acknowledged_at"),
    resolvedAt: integer("resolved_at"),
    createdAt: integer("created_at").notNull(),
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
export const silences = sqliteTable(
  "paramedic_silences",
  {
    id: integer("id").primaryKey({ autoIncrement: true }),
    silenceId: text("silence_id").notNull().unique(),
    /** An exact rule or subject, or a prefix ending in `*`. */
    matcher: text("matcher", { mode: "json" }).$type<JsonObject>().notNull(),
    createdBy: text("created_by").notNull(),
    reason: text("reason").notNull(),
    startsAt: integer("starts_at").notNull(),
    endsAt: integer("ends_at").notNull(),
    createdAt: integer("created_at").notNull(),
  },
  (table) => [
    // Those in force.
    index("paramedic_silences_ends_at").on(table.endsAt),
  ],
);

/** Announced work on services: their alerts wait and their repairs rest. */
export const maintenanceWindows = sqliteTable(
  "paramedic_maintenance_windows",
  {
    id: integer("id").primaryKey({ autoIncrement: true }),
    windowId: text("window_id").notNull().unique(),
    /** Exact service names, or prefixes ending in `*`. */
    services: text("services", { mode: "json" }).$type<readonly string[]>().notNull(),
    createdBy: text("created_by").notNull(),
    reason: text("reason").notNull(),
    startsAt: integer("starts_at").notNull(),
    endsAt: integer("ends_at").notNull(),
    createdAt: integer("created_at").notNull(),
  },
  (table) => [
    // Those in force.
    index("paramedic_maintenance_windows_ends_at").on(table.endsAt),
  ],
);

/** What must be delivered at least once: written with the alert, deleted by retention. */
export const notificationOutbox = sqliteTable(
  "paramedic_notification_outbox",
  {
    id: integer("id").primaryKey({ autoIncrement: true }),
    /** Alert, event and channel: the receiver's key against a second delivery. */
    dedupeKey: text("dedupe_key").notNull().unique(),
    alertId: text("alert_id")
      .notNull()
      .references(() => alerts.alertId, { onDelete: "cascade" }),
    channel: text("channel").notNull(),
    payload: text("payload", { mode: "json" }).$type<JsonObject>().notNull(),
    status: text("status", { enum: DELIVERY_STATUSES }).notNull(),
    attempts: integer("attempts").notNull(),
    nextAttemptAt: integer("next_attempt_at").notNull(),
    leaseUntil: integer("lease_until"),
    lastError: text("last_error"),
    deliveredAt: integer("delivered_at"),
    createdAt: integer("created_at").notNull(),
  },
  (table) => [
    // What is due on one channel, so that a slow one delays no other.
    index("paramedic_notification_outbox_due").on(table.channel, table.nextAttemptAt).where(sql`status = 'pending'`),
    // What became of an alert.
    index("paramedic_notification_outbox_alert_id").on(table.alertId),
  ],
);

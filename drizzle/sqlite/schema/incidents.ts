/** One story: its failures, transitions, recoveries and alerts share an incident. */
import { index, integer, sqliteTable, text } from "drizzle-orm/sqlite-core";
import { SEVERITIES } from "../../../shared/failure.js";
import { INCIDENT_STATUSES } from "../../../shared/incident.js";

export const incidents = sqliteTable(
  "paramedic_incidents",
  {
    id: integer("id").primaryKey({ autoIncrement: true }),
    incidentId: text("incident_id").notNull().unique(),
    title: text("title").notNull(),
    severity: text("severity", { enum: SEVERITIES }).notNull(),
    status: text("status", { enum: INCIDENT_STATUSES }).notNull(),
    affectedService: text("affected_service").notNull(),
    startedAt: integer("started_at").notNull(),
    lastSeenAt: integer("last_seen_at").notNull(),
    resolvedAt: integer("resolved_at"),
    createdAt: integer("created_at").notNull(),
  },
  (table) => [
    // Newest first.
    index("paramedic_incidents_started_at").on(table.startedAt),
    // Open ones; by status, newest first.
    index("paramedic_incidents_status").on(table.status, table.startedAt),
    // The open incident that a failure of a service belongs to.
    index("paramedic_incidents_affected_service").on(table.affectedService, table.startedAt),
  ],
);

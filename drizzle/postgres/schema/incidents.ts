/** One story: its failures, transitions, recoveries and alerts share an incident. */
import { index, pgTable, text } from "drizzle-orm/pg-core";
import { SEVERITIES } from "../../../shared/failure.js";
import { INCIDENT_STATUSES } from "../../../shared/incident.js";
import { bigint, cleanText, identity } from "../columns.js";

export const incidents = pgTable(
  "paramedic_incidents",
  {
    id: identity("id"),
    incidentId: cleanText("incident_id").notNull().unique(),
    title: cleanText("title").notNull(),
    severity: text("severity", { enum: SEVERITIES }).notNull(),
    status: text("status", { enum: INCIDENT_STATUSES }).notNull(),
    affectedService: cleanText("affected_service").notNull(),
    startedAt: bigint("started_at").notNull(),
    lastSeenAt: bigint("last_seen_at").notNull(),
    resolvedAt: bigint("resolved_at"),
    createdAt: bigint("created_at").notNull(),
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

/** What failed. */
import { sql } from "drizzle-orm";
import { index, integer, primaryKey, sqliteTable, text, uniqueIndex } from "drizzle-orm/sqlite-core";
import {
  DETECTION_METHODS,
  FAILURE_CATEGORIES,
  FAILURE_TYPES,
  type JsonObject,
  SEVERITIES,
} from "../../../shared/failure.js";
import { incidents } from "./incidents.js";

export const failureEvents = sqliteTable(
  "failure_events",
  {
    id: integer("id").primaryKey({ autoIncrement: true }),
    eventId: text("event_id").notNull().unique(),
    timestamp: integer("timestamp").notNull(),
    failureCategory: text("failure_category", { enum: FAILURE_CATEGORIES }).notNull(),
    failureType: text("failure_type", { enum: FAILURE_TYPES }).notNull(),
    severity: text("severity", { enum: SEVERITIES }).notNull(),
    affectedService: text("affected_service").notNull(),
    errorMessage: text("error_message"),
    errorStack: text("error_stack"),
    context: text("context", { mode: "json" }).$type<JsonObject>(),
    detectionMethod: text("detection_method", { enum: DETECTION_METHODS }).notNull(),
    userId: text("user_id"),
    requestId: text("request_id"),
    resolved: integer("resolved", { mode: "boolean" }).notNull(),
    resolvedAt: integer("resolved_at"),
    createdAt: integer("created_at").notNull(),
    fingerprint: text("fingerprint").notNull(),
    occurrences: integer("occurrences").notNull(),
    lastSeenAt: integer("last_seen_at").notNull(),
    incidentId: text("incident_id").references(() => incidents.incidentId, { onDelete: "set null" }),
    instance: text("instance").notNull(),
  },
  (table) => [
    // One open event for each fingerprint: repeats are folded into it.
    uniqueIndex("failure_events_open_fingerprint").on(table.fingerprint).where(sql`resolved = 0`),
    // Open events that have gone quiet.
    index("failure_events_open_last_seen_at").on(table.lastSeenAt).where(sql`resolved = 0`),
    // Newest first, within a time range; retention. Every index ends in the rowid, which settles equal times.
    index("failure_events_timestamp").on(table.timestamp),
    // Each filter of the list, newest first.
    index("failure_events_failure_category").on(table.failureCategory, table.timestamp),
    index("failure_events_failure_type").on(table.failureType, table.timestamp),
    index("failure_events_severity").on(table.severity, table.timestamp),
    index("failure_events_affected_service").on(table.affectedService, table.timestamp),
    index("failure_events_detection_method").on(table.detectionMethod, table.timestamp),
    index("failure_events_resolved").on(table.resolved, table.timestamp),
    // The failures of one incident, in order.
    index("failure_events_incident_id").on(table.incidentId, table.timestamp),
    // What became of one request.
    index("failure_events_request_id").on(table.requestId).where(sql`request_id is not null`),
  ],
);

export const RECEIPT_KINDS = ["failure", "rescue"] as const;

/**
 * Which sighting, or rescue, has been counted into which row, and how often: a write that is delivered again counts once.
 * Rows are forgotten after an hour.
 */
export const writeReceipts = sqliteTable(
  "paramedic_write_receipts",
  {
    kind: text("kind", { enum: RECEIPT_KINDS }).notNull(),
    /** Id under which it was delivered. */
    id: text("id").notNull(),
    /** Id of the row that it was counted into. */
    storedId: text("stored_id").notNull(),
    counted: integer("counted").notNull(),
    at: integer("at").notNull(),
  },
  (table) => [
    // Was this sighting counted before, and into which row?
    primaryKey({ columns: [table.kind, table.id] }),
    // Those to forget.
    index("paramedic_write_receipts_at").on(table.at),
  ],
);

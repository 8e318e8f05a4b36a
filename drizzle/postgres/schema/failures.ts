/** What failed. */
import { sql } from "drizzle-orm";
import { boolean, index, pgTable, primaryKey, text, uniqueIndex } from "drizzle-orm/pg-core";
import {
  DETECTION_METHODS,
  FAILURE_CATEGORIES,
  FAILURE_TYPES,
  type JsonObject,
  SEVERITIES,
} from "../../../shared/failure.js";
import { bigint, cleanText, identity, jsonText } from "../columns.js";
import { incidents } from "./incidents.js";

export const failureEvents = pgTable(
  "failure_events",
  {
    id: identity("id"),
    eventId: cleanText("event_id").notNull().unique(),
    timestamp: bigint("timestamp").notNull(),
    failureCategory: text("failure_category", { enum: FAILURE_CATEGORIES }).notNull(),
    failureType: text("failure_type", { enum: FAILURE_TYPES }).notNull(),
    severity: text("severity", { enum: SEVERITIES }).notNull(),
    affectedService: cleanText("affected_service").notNull(),
    errorMessage: cleanText("error_message"),
    errorStack: cleanText("error_stack"),
    context: jsonText<JsonObject>("context"),
    detectionMethod: text("detection_method", { enum: DETECTION_METHODS }).notNull(),
    userId: cleanText("user_id"),
    requestId: cleanText("request_id"),
    resolved: boolean("resolved").notNull(),
    resolvedAt: bigint("resolved_at"),
    createdAt: bigint("created_at").notNull(),
    fingerprint: cleanText("fingerprint").notNull(),
    occurrences: bigint("occurrences").notNull(),
    lastSeenAt: bigint("last_seen_at").notNull(),
    incidentId: cleanText("incident_id").references(() => incidents.incidentId, { onDelete: "set null" }),
    instance: cleanText("instance").notNull(),
  },
  (table) => [
    // One open event for each fingerprint: repeats are folded into it.
    uniqueIndex("failure_events_open_fingerprint").on(table.fingerprint).where(sql`not resolved`),
    // Open events that have gone quiet.
    index("failure_events_open_last_seen_at").on(table.lastSeenAt).where(sql`not resolved`),
    // Newest first, within a time range; retention.
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
export const writeReceipts = pgTable(
  "paramedic_write_receipts",
  {
    kind: text("kind", { enum: RECEIPT_KINDS }).notNull(),
    /** Id under which it was delivered. */
    id: cleanText("id").notNull(),
    /** Id of the row that it was counted into. */
    storedId: cleanText("stored_id").notNull(),
    counted: bigint("counted").notNull(),
    at: bigint("at").notNull(),
  },
  (table) => [
    // Was this sighting counted before, and into which row?
    primaryKey({ columns: [table.kind, table.id] }),
    // Those to forget.
    index("paramedic_write_receipts_at").on(table.at),
  ],
);

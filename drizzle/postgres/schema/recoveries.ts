/** What was done about it. */
import { sql } from "drizzle-orm";
import { boolean, index, pgTable, text, uniqueIndex } from "drizzle-orm/pg-core";
import type { JsonObject } from "../../../shared/failure.js";
import { ACTION_STATUSES, ACTION_TYPES, STRATEGY_SCOPES } from "../../../shared/recovery.js";
import { bigint, cleanText, identity, jsonText } from "../columns.js";
import { failureEvents } from "./failures.js";

/** A row with `lease_until` is a repair that was held by one instance; a row without folds its repeats. */
export const recoveryActions = pgTable(
  "recovery_actions",
  {
    id: identity("id"),
    actionId: cleanText("action_id").notNull().unique(),
    failureEventId: cleanText("failure_event_id")
      .notNull()
      .references(() => failureEvents.eventId, { onDelete: "cascade" }),
    timestamp: bigint("timestamp").notNull(),
    actionType: text("action_type", { enum: ACTION_TYPES }).notNull(),
    actionStrategy: cleanText("action_strategy").notNull(),
    status: text("status", { enum: ACTION_STATUSES }).notNull(),
    automated: boolean("automated").notNull(),
    triggeredBy: cleanText("triggered_by").notNull(),
    parameters: jsonText<JsonObject>("parameters"),
    result: jsonText<JsonObject>("result"),
    durationMs: bigint("duration_ms"),
    completedAt: bigint("completed_at"),
    createdAt: bigint("created_at").notNull(),
    scope: text("scope", { enum: STRATEGY_SCOPES }).notNull(),
    target: cleanText("target").notNull(),
    occurrences: bigint("occurrences").notNull(),
    lastAt: bigint("last_at").notNull(),
    leaseUntil: bigint("lease_until"),
    instance: cleanText("instance").notNull(),
    dryRun: boolean("dry_run").notNull(),
  },
  (table) => [
    // The row that one more rescue of the same kind is folded into.
    uniqueIndex("recovery_actions_fold")
      .on(table.failureEventId, table.actionStrategy, table.target, table.status, table.dryRun)
      .where(sql`lease_until is null`),
    // Was this repair carried out for this failure, or is it held by an instance?
    index("recovery_actions_repair")
      .on(table.failureEventId, table.actionStrategy, table.target)
      .where(sql`lease_until is not null`),
    // Repairs whose lease has run out.
    index("recovery_actions_lease_until").on(table.leaseUntil).where(sql`status in ('initiated', 'in_progress')`),
    // Newest first, within a time range; retention.
    index("recovery_actions_timestamp").on(table.timestamp),
    // Each filter of the list, newest first.
    index("recovery_actions_failure_event_id").on(table.failureEventId, table.timestamp),
    index("recovery_actions_action_strategy").on(table.actionStrategy, table.timestamp),
    index("recovery_actions_status").on(table.status, table.timestamp),
    index("recovery_actions_target").on(table.target, table.timestamp),
  ],
);

/** What instances share while they work: leases, the tasks under watch, and answers to fall back on. */
import { sql } from "drizzle-orm";
import { index, pgTable, primaryKey, text } from "drizzle-orm/pg-core";
import type { Json, JsonObject } from "../../../shared/failure.js";
import { TASK_STATUSES } from "../../../shared/task.js";
import { bigint, cleanText, identity, jsonText } from "../columns.js";

/** One owner at a time for each name. */
export const leases = pgTable(
  "paramedic_leases",
  {
    name: cleanText("name").primaryKey(),
    owner: cleanText("owner").notNull(),
    /** Rises with every new owner: the late write of an old one is told by it and refused. */
    fence: bigint("fence").notNull(),
    acquiredAt: bigint("acquired_at").notNull(),
    leaseUntil: bigint("lease_until").notNull(),
  },
  (table) => [
    // Leases that have run out.
    index("paramedic_leases_lease_until").on(table.leaseUntil),
  ],
);

export const tasks = pgTable(
  "paramedic_tasks",
  {
    id: identity("id"),
    taskId: cleanText("task_id").notNull().unique(),
    name: cleanText("name").notNull(),
    status: text("status", { enum: TASK_STATUSES }).notNull(),
    owner: cleanText("owner").notNull(),
    fence: bigint("fence").notNull(),
    attempts: bigint("attempts").notNull(),
    detail: jsonText<JsonObject>("detail"),
    startedAt: bigint("started_at").notNull(),
    heartbeatAt: bigint("heartbeat_at").notNull(),
    leaseUntil: bigint("lease_until").notNull(),
    endedAt: bigint("ended_at"),
    createdAt: bigint("created_at").notNull(),
  },
  (table) => [
    // Running tasks whose owner has gone silent.
    index("paramedic_tasks_stuck").on(table.leaseUntil).where(sql`status = 'running'`),
    // Newest first; retention.
    index("paramedic_tasks_started_at").on(table.startedAt),
    // The runs of one task, newest first.
    index("paramedic_tasks_name").on(table.name, table.startedAt),
  ],
);

/** The last good answer of operations that opted in. */
export const lastGoodValues = pgTable(
  "paramedic_last_good_values",
  {
    operation: cleanText("operation").notNull(),
    /** Digest of the input. */
    key: cleanText("key").notNull(),
    value: jsonText<Json>("value").notNull(),
    storedAt: bigint("stored_at").notNull(),
    expiresAt: bigint("expires_at").notNull(),
  },
  (table) => [
    // The answer to fall back on.
    primaryKey({ columns: [table.operation, table.key] }),
    // Answers too old to be given.
    index("paramedic_last_good_values_expires_at").on(table.expiresAt),
  ],
);

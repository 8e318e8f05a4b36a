/** What instances share while they work: leases, the tasks under watch, and answers to fall back on. */
import { sql } from "drizzle-orm";
import { index, integer, primaryKey, sqliteTable, text } from "drizzle-orm/sqlite-core";
import type { Json, JsonObject } from "../../../shared/failure.js";
import { TASK_STATUSES } from "../../../shared/task.js";

/** One owner at a time for each name. */
export const leases = sqliteTable(
  "paramedic_leases",
  {
    name: text("name").primaryKey(),
    owner: text("owner").notNull(),
    /** Rises with every new owner: the late write of an old one is told by it and refused. */
    fence: integer("fence").notNull(),
    acquiredAt: integer("acquired_at").notNull(),
    leaseUntil: integer("lease_until").notNull(),
  },
  (table) => [
    // Leases that have run out.
    index("paramedic_leases_lease_until").on(table.leaseUntil),
  ],
);

export const tasks = sqliteTable(
  "paramedic_tasks",
  {
    id: integer("id").primaryKey({ autoIncrement: true }),
    taskId: text("task_id").notNull().unique(),
    name: text("name").notNull(),
    status: text("status", { enum: TASK_STATUSES }).notNull(),
    owner: text("owner").notNull(),
    fence: integer("fence").notNull(),
    attempts: integer("attempts").notNull(),
    detail: text("detail", { mode: "json" }).$type<JsonObject>(),
    startedAt: integer("started_at").notNull(),
    heartbeatAt: integer("heartbeat_at").notNull(),
    leaseUntil: integer("lease_until").notNull(),
    endedAt: integer("ended_at"),
    createdAt: integer("created_at").notNull(),
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
export const lastGoodValues = sqliteTable(
  "paramedic_last_good_values",
  {
    operation: text("operation").notNull(),
    /** Digest of the input. */
    key: text("key").notNull(),
    value: text("value", { mode: "json" }).$type<Json>().notNull(),
    storedAt: integer("stored_at").notNull(),
    expiresAt: integer("expires_at").notNull(),
  },
  (table) => [
    // The answer to fall back on.
    primaryKey({ columns: [table.operation, table.key] }),
    // Answers too old to be given.
    index("paramedic_last_good_values_expires_at").on(table.expiresAt),
  ],
);

/** Who may look, and who did what. */
import { index, integer, sqliteTable, text } from "drizzle-orm/sqlite-core";
import { AUDIT_OUTCOMES, ROLES } from "../../../shared/access.js";
import type { JsonObject } from "../../../shared/failure.js";

/** Append-only: what an operator did, or was refused. */
export const operatorAudit = sqliteTable(
  "paramedic_operator_audit",
  {
    id: integer("id").primaryKey({ autoIncrement: true }),
    at: integer("at").notNull(),
    actor: text("actor").notNull(),
    action: text("action").notNull(),
    subject: text("subject").notNull(),
    reason: text("reason").notNull(),
    outcome: text("outcome", { enum: AUDIT_OUTCOMES }).notNull(),
    detail: text("detail", { mode: "json" }).$type<JsonObject>(),
  },
  (table) => [
    // Newest first.
    index("paramedic_operator_audit_at").on(table.at),
  ],
);

/** Signed-in browsers of the dashboard; the token itself is never stored. */
export const sessions = sqliteTable(
  "paramedic_sessions",
  {
    id: integer("id").primaryKey({ autoIncrement: true }),
    tokenHash: text("token_hash").notNull().unique(),
    actor: text("actor").notNull(),
    role: text("role", { enum: ROLES }).notNull(),
    createdAt: integer("created_at").notNull(),
    lastSeenAt: integer("last_seen_at").notNull(),
    expiresAt: integer("expires_at").notNull(),
  },
  (table) => [
    // Those that have ended.
    index("paramedic_sessions_expires_at").on(table.expiresAt),
  ],
);

/** Who may look, and who did what. */
import { index, pgTable, text } from "drizzle-orm/pg-core";
import { AUDIT_OUTCOMES, ROLES } from "../../../shared/access.js";
import type { JsonObject } from "../../../shared/failure.js";
import { bigint, cleanText, identity, jsonText } from "../columns.js";

/** Append-only: what an operator did, or was refused. */
export const operatorAudit = pgTable(
  "paramedic_operator_audit",
  {
    id: identity("id"),
    at: bigint("at").notNull(),
    actor: cleanText("actor").notNull(),
    action: cleanText("action").notNull(),
    subject: cleanText("subject").notNull(),
    reason: cleanText("reason").notNull(),
    outcome: text("outcome", { enum: AUDIT_OUTCOMES }).notNull(),
    detail: jsonText<JsonObject>("detail"),
  },
  (table) => [
    // Newest first.
    index("paramedic_operator_audit_at").on(table.at),
  ],
);

/** Signed-in browsers of the dashboard; the token itself is never stored. */
export const sessions = pgTable(
  "paramedic_sessions",
  {
    id: identity("id"),
    tokenHash: cleanText("token_hash").notNull().unique(),
    actor: cleanText("actor").notNull(),
    role: text("role", { enum: ROLES }).notNull(),
    createdAt: bigint("created_at").notNull(),
    lastSeenAt: bigint("last_seen_at").notNull(),
    expiresAt: bigint("expires_at").notNull(),
  },
  (table) => [
    // Those that have ended.
    index("paramedic_sessions_expires_at").on(table.expiresAt),
  ],
);

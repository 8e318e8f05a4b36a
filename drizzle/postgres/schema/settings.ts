/** What operators changed while it ran. */
import { index, pgTable } from "drizzle-orm/pg-core";
import type { SettingValue } from "../../../shared/settings.js";
import { bigint, cleanText, identity, jsonText } from "../columns.js";

export const settings = pgTable("paramedic_settings", {
  name: cleanText("name").primaryKey(),
  value: jsonText<SettingValue>("value").notNull(),
  /** Rises with every change: the second of two operators who changed the same value is told. */
  version: bigint("version").notNull(),
  updatedBy: cleanText("updated_by").notNull(),
  reason: cleanText("reason").notNull(),
  updatedAt: bigint("updated_at").notNull(),
});

/** Append-only. */
export const settingsHistory = pgTable(
  "paramedic_settings_history",
  {
    id: identity("id"),
    name: cleanText("name").notNull(),
    /** Null when the setting was taken back to its default. */
    value: jsonText<SettingValue>("value"),
    version: bigint("version").notNull(),
    changedBy: cleanText("changed_by").notNull(),
    reason: cleanText("reason").notNull(),
    changedAt: bigint("changed_at").notNull(),
  },
  (table) => [
    // The history of one setting, newest first.
    index("paramedic_settings_history_name").on(table.name, table.changedAt),
    // The history of all, newest first.
    index("paramedic_settings_history_changed_at").on(table.changedAt),
  ],
);

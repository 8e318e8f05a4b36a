/** What operators changed while it ran. */
import { index, integer, sqliteTable, text } from "drizzle-orm/sqlite-core";
import type { SettingValue } from "../../../shared/settings.js";

export const settings = sqliteTable("paramedic_settings", {
  name: text("name").primaryKey(),
  value: text("value", { mode: "json" }).$type<SettingValue>().notNull(),
  /** Rises with every change: the second of two operators who changed the same value is told. */
  version: integer("version").notNull(),
  updatedBy: text("updated_by").notNull(),
  reason: text("reason").notNull(),
  updatedAt: integer("updated_at").notNull(),
});

/** Append-only. */
export const settingsHistory = sqliteTable(
  "paramedic_settings_history",
  {
    id: integer("id").primaryKey({ autoIncrement: true }),
    name: text("name").notNull(),
    /** Null when the setting was taken back to its default. */
    value: text("value", { mode: "json" }).$type<SettingValue>(),
    version: integer("version").notNull(),
    changedBy: text("changed_by").notNull(),
    reason: text("reason").notNull(),
    changedAt: integer("changed_at").notNull(),
  },
  (table) => [
    // The history of one setting, newest first.
    index("paramedic_settings_history_name").on(table.name, table.changedAt),
    // The history of all, newest first.
    index("paramedic_settings_history_changed_at").on(table.changedAt),
  ],
);

/** What is normal for a series. */
import { index, integer, real, sqliteTable, text, uniqueIndex } from "drizzle-orm/sqlite-core";
import { BASELINE_WINDOWS } from "../../../shared/baseline.js";
import { METRIC_TYPES } from "../../../shared/series.js";

export const systemHealthBaselines = sqliteTable(
  "system_health_baselines",
  {
    id: integer("id").primaryKey({ autoIncrement: true }),
    metricType: text("metric_type", { enum: METRIC_TYPES }).notNull(),
    metricName: text("metric_name").notNull(),
    source: text("source").notNull(),
    timeWindow: text("time_window", { enum: BASELINE_WINDOWS }).notNull(),
    mean: real("mean").notNull(),
    median: real("median").notNull(),
    stdDev: real("std_dev").notNull(),
    p50: real("p50").notNull(),
    p95: real("p95").notNull(),
    p99: real("p99").notNull(),
    min: real("min").notNull(),
    max: real("max").notNull(),
    sampleCount: integer("sample_count").notNull(),
    calculatedAt: integer("calculated_at").notNull(),
    validUntil: integer("valid_until").notNull(),
    createdAt: integer("created_at").notNull(),
  },
  (table) => [
    // The baseline of one metric and window; recalculation replaces it.
    uniqueIndex("system_health_baselines_identity").on(
      table.metricName,
      table.metricType,
      table.source,
      table.timeWindow,
    ),
    // Baselines to calculate anew.
    index("system_health_baselines_valid_until").on(table.validUntil),
  ],
);

/** What is normal for a series. */
import { doublePrecision, index, pgTable, text, uniqueIndex } from "drizzle-orm/pg-core";
import { BASELINE_WINDOWS } from "../../../shared/baseline.js";
import { METRIC_TYPES } from "../../../shared/series.js";
import { bigint, cleanText, identity } from "../columns.js";

export const systemHealthBaselines = pgTable(
  "system_health_baselines",
  {
    id: identity("id"),
    metricType: text("metric_type", { enum: METRIC_TYPES }).notNull(),
    metricName: cleanText("metric_name").notNull(),
    source: cleanText("source").notNull(),
    timeWindow: text("time_window", { enum: BASELINE_WINDOWS }).notNull(),
    mean: doublePrecision("mean").notNull(),
    median: doublePrecision("median").notNull(),
    stdDev: doublePrecision("std_dev").notNull(),
    p50: doublePrecision("p50").notNull(),
    p95: doublePrecision("p95").notNull(),
    p99: doublePrecision("p99").notNull(),
    min: doublePrecision("min").notNull(),
    max: doublePrecision("max").notNull(),
    sampleCount: bigint("sample_count").notNull(),
    calculatedAt: bigint("calculated_at").notNull(),
    validUntil: bigint("valid_until").notNull(),
    createdAt: bigint("created_at").notNull(),
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

/** What was measured: series, their rollups, and the ledger that says which batches are in them. */
import { sql } from "drizzle-orm";
import { boolean, doublePrecision, index, pgTable, pgView, primaryKey, text, uniqueIndex } from "drizzle-orm/pg-core";
import { METRIC_TYPES, SERIES_KINDS, type Tags } from "../../../shared/series.js";
import { bigint, bytea, cleanText, identity, jsonText } from "../columns.js";

/** A metric with its tags, under a short id, so that a rollup's key stays small. */
export const metricSeries = pgTable(
  "paramedic_series",
  {
    id: identity("id"),
    metricType: text("metric_type", { enum: METRIC_TYPES }).notNull(),
    metricName: cleanText("metric_name").notNull(),
    kind: text("kind", { enum: SERIES_KINDS }).notNull(),
    unit: cleanText("unit").notNull(),
    source: cleanText("source").notNull(),
    /** Sorted by name, so that equal tags are equal text. */
    tags: jsonText<Tags>("tags").notNull(),
    createdAt: bigint("created_at").notNull(),
  },
  (table) => [
    // The series of a batch's entry; the series of one metric; the list of series by name.
    uniqueIndex("paramedic_series_identity").on(table.metricName, table.metricType, table.source, table.tags),
  ],
);

/** One series in one bucket of time. Its key begins with the series: a range of one series reads nothing of another. */
export const metricRollups = pgTable(
  "paramedic_rollups",
  {
    seriesId: bigint("series_id")
      .notNull()
      .references(() => metricSeries.id),
    resolutionMs: bigint("resolution_ms").notNull(),
    /** Start of the bucket. */
    bucket: bigint("bucket").notNull(),
    count: bigint("count").notNull(),
    sum: doublePrecision("sum").notNull(),
    min: doublePrecision("min").notNull(),
    max: doublePrecision("max").notNull(),
    last: doublePrecision("last").notNull(),
    /** End of the window that `last` comes from. */
    lastAt: bigint("last_at").notNull(),
    /** The distribution as `shared/buckets-codec.ts` packs it; empty for counters and gauges. */
    buckets: bytea("buckets").notNull(),
    /** Whether it is in the row of the next coarser resolution too. What is folded in later is then folded into both. */
    compacted: boolean("compacted").notNull().default(false),
  },
  (table) => [
    // Range read of one series at one resolution; the bucket a batch is folded into.
    primaryKey({ columns: [table.seriesId, table.resolutionMs, table.bucket] }),
    // What coarser rows lack yet: to compact it, and to read it beside them.
    index("paramedic_rollups_pending").on(table.resolutionMs, table.seriesId, table.bucket).where(sql`not compacted`),
  ],
);

/** From when on a resolution has its rows: what is older is told by the next coarser one. */
export const rollupMarks = pgTable("paramedic_rollup_marks", {
  resolutionMs: bigint("resolution_ms").primaryKey(),
  /** Rises only; a multiple of the next coarser resolution. */
  keptFrom: bigint("kept_from").notNull(),
});

/**
 * Rollups told as one value each: mean of a histogram, sum of a counter, last of a gauge. Each point is in one row, that of
 * the finest resolution that is kept for its time.
 */
export const systemHealthMetrics = pgView("system_health_metrics", {
  /** Unique: series, resolution and bucket. */
  id: cleanText("id").notNull(),
  timestamp: bigint("timestamp").notNull(),
  metricType: text("metric_type", { enum: METRIC_TYPES }).notNull(),
  metricName: cleanText("metric_name").notNull(),
  value: doublePrecision("value").notNull(),
  unit: cleanText("unit").notNull(),
  tags: jsonText<Tags>("tags").notNull(),
  source: cleanText("source").notNull(),
  /** End of the latest window that was folded in. */
  createdAt: bigint("created_at").notNull(),
  resolutionMs: bigint("resolution_ms").notNull(),
  count: bigint("count").notNull(),
  sum: doublePrecision("sum").notNull(),
  min: doublePrecision("min").notNull(),
  max: doublePrecision("max").notNull(),
  buckets: bytea("buckets").notNull(),
}).as(sql`
  select
    r.series_id || '-' || r.resolution_ms || '-' || r.bucket as id,
    r.bucket as timestamp,
    s.metric_type as metric_type,
    s.metric_name as metric_name,
    case s.kind when 'histogram' then r.sum / r.count when 'counter' then r.sum else r.last end as value,
    s.unit as unit,
    s.tags as tags,
    s.source as source,
    r.last_at as created_at,
    r.resolution_ms as resolution_ms,
    r.count as count,
    r.sum as sum,
    r.min as min,
    r.max as max,
    r.buckets as buckets
  from paramedic_series s join paramedic_rollups r on r.series_id = s.id
  where (
    r.bucket >= coalesce((select kept_from from paramedic_rollup_marks m where m.resolution_ms = r.resolution_ms), -9000000000000000)
    and (r.resolution_ms = 10000 or r.bucket < coalesce((select kept_from from paramedic_rollup_marks m where m.resolution_ms =
      case r.resolution_ms when 60000 then 10000 when 3600000 then 60000 else 3600000 end), -9000000000000000))
  ) or (
    not r.compacted and r.resolution_ms < 86400000
    and r.bucket < coalesce((select kept_from from paramedic_rollup_marks m where m.resolution_ms = r.resolution_ms), -9000000000000000)
  )`);

/**
 * Which batches are in the rollups: one whose row is here is never folded again. Rows go once the mark of their boot stands
 * above them, which says the same in one number.
 */
export const ingestLedger = pgTable(
  "paramedic_ingest_ledger",
  {
    instance: cleanText("instance").notNull(),
    boot: cleanText("boot").notNull(),
    seq: bigint("seq").notNull(),
    windowStart: bigint("window_start").notNull(),
    windowEnd: bigint("window_end").notNull(),
    points: bigint("points").notNull(),
    committedAt: bigint("committed_at").notNull(),
    /** Points of all batches of its boot up to this one, by the boot's own count. */
    carried: bigint("carried").notNull().default(0),
  },
  (table) => [
    // Was this batch folded before?
    primaryKey({ columns: [table.instance, table.boot, table.seq] }),
    // Retention: batches that no stream delivers again.
    index("paramedic_ingest_ledger_committed_at").on(table.committedAt),
  ],
);

/**
 * The ledger summed for each life of each process, so that accounting outlives the ledger's rows. The row without a name sums
 * up those that ended long ago.
 */
export const ingestBoots = pgTable(
  "paramedic_ingest_boots",
  {
    instance: cleanText("instance").notNull(),
    boot: cleanText("boot").notNull(),
    /** The newest batch folded; the cumulative counts are its. */
    seq: bigint("seq").notNull(),
    recorded: bigint("recorded").notNull(),
    dropped: jsonText<Readonly<Record<string, number>>>("dropped").notNull(),
    points: bigint("points").notNull(),
    batches: bigint("batches").notNull(),
    firstAt: bigint("first_at").notNull(),
    lastAt: bigint("last_at").notNull(),
    /** Points in its gaps. */
    lost: bigint("lost").notNull().default(0),
    /** The mark: each batch up to this one is folded, or in a gap. 0 before the first. */
    settledSeq: bigint("settled_seq").notNull().default(0),
    /** Of the batch at the mark, as in the ledger. */
    settledCarried: bigint("settled_carried").notNull().default(0),
    settledWindowStart: bigint("settled_window_start").notNull().default(0),
    settledWindowEnd: bigint("settled_window_end").notNull().default(0),
  },
  (table) => [
    // The boot that a batch belongs to.
    primaryKey({ columns: [table.instance, table.boot] }),
    // Retention: boots that ended.
    index("paramedic_ingest_boots_last_at").on(table.lastAt),
  ],
);

/** Batches below a mark that did not arrive: what they held is lost. One that comes after all is folded, and out of its gap. */
export const ingestGaps = pgTable(
  "paramedic_ingest_gaps",
  {
    instance: cleanText("instance").notNull(),
    boot: cleanText("boot").notNull(),
    firstSeq: bigint("first_seq").notNull(),
    lastSeq: bigint("last_seq").notNull(),
    /** The begin of the window before them, and the end of the one after. */
    windowStart: bigint("window_start").notNull(),
    windowEnd: bigint("window_end").notNull(),
    points: bigint("points").notNull(),
    /** Points of all batches of its boot before them, by the boot's own count. */
    carriedBefore: bigint("carried_before").notNull(),
  },
  (table) => [
    // Is this batch in a gap?
    primaryKey({ columns: [table.instance, table.boot, table.firstSeq] }),
    // The losses of a range, newest first; retention.
    index("paramedic_ingest_gaps_window_end").on(table.windowEnd),
  ],
);

/** Stream entries that cannot be folded, as they came. */
export const deadBatches = pgTable(
  "paramedic_dead_batches",
  {
    id: identity("id"),
    entryId: cleanText("entry_id").notNull().unique(),
    reason: cleanText("reason").notNull(),
    payload: cleanText("payload").notNull(),
    at: bigint("at").notNull(),
  },
  (table) => [
    // Newest first; retention.
    index("paramedic_dead_batches_at").on(table.at),
  ],
);

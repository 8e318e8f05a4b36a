/** Reads which series there are, the ledger and its gaps. */
import { and, asc, count, desc, eq, gte, lt, sql } from "drizzle-orm";
import { ingestBoots, ingestGaps, metricSeries } from "../../../drizzle/self-healing-schema.js";
import type { BatchGap, SeriesDescriptor } from "../../../shared/series.js";
import type { LedgerEntry, MetricSummary, RollupStore } from "../../ports/store.js";
import { checkLimit } from "../page-cursor.js";
import { MOST_SERIES_COUNTED } from "../range-plan.js";
import type { Db } from "./sqlite-connection.js";

export interface RollupQueries {
  listSeries(filter: Parameters<RollupStore["listSeries"]>[0]): readonly SeriesDescriptor[];
  readMetric(metricName: string): MetricSummary | undefined;
  ledger(): readonly LedgerEntry[];
  listGaps(query: Parameters<RollupStore["listGaps"]>[0]): readonly BatchGap[];
}

export function createRollupQueries(db: Db): RollupQueries {
  const { metricType, metricName, kind, unit, source, tags } = metricSeries;
  const descriptor = { metricType, metricName, kind, unit, source, tags };
  const identity = [asc(metricName), asc(metricType), asc(source), asc(tags)];

  const isOfMetric = eq(metricName, sql.placeholder("metricName"));
  const findMetric = db.select({ kind, unit }).from(metricSeries).where(isOfMetric).limit(1).prepare();
  const countSeries = db
    .select({ series: count() })
    .from(
      db
        .select({ one: sql`1`.as("one") })
        .from(metricSeries)
        .where(isOfMetric)
        .limit(MOST_SERIES_COUNTED)
        .as("counted"),
    )
    .prepare();
  const readLedger = db
    .select({
      instance: ingestBoots.instance,
      boot: ingestBoots.boot,
      recorded: ingestBoots.recorded,
      dropped: ingestBoots.dropped,
      rolledUp: ingestBoots.points,
      batches: ingestBoots.batches,
      lost: ingestBoots.lost,
      lastAt: ingestBoots.lastAt,
    })
    .from(ingestBoots)
    .orderBy(asc(ingestBoots.firstAt))
    .prepare();

  const readGaps = db
    .select({
      instance: ingestGaps.instance,
      boot: ingestGaps.boot,
      firstSeq: ingestGaps.firstSeq,
      lastSeq: ingestGaps.lastSeq,
      from: ingestGaps.windowStart,
      to: ingestGaps.windowEnd,
      points: ingestGaps.points,
    })
    .from(ingestGaps)
    .where(and(gte(ingestGaps.windowEnd, sql.placeholder("from")), lt(ingestGaps.windowStart, sql.placeholder("to"))))
    .orderBy(desc(ingestGaps.windowEnd))
    .limit(sql.placeholder("limit"))
    .prepare();

  return {
    listSeries(filter) {
      return db
        .select(descriptor)
        .from(metricSeries)
        .where(filter.metricName === undefined ? undefined : eq(metricName, filter.metricName))
        .orderBy(...identity)
        .limit(checkLimit(filter.limit))
        .all();
    },

    readMetric(name) {
      const metric = findMetric.get({ metricName: name });
      return metric && { ...metric, series: countSeries.get({ metricName: name })?.series ?? 0 };
    },

    ledger: () => readLedger.all(),

    listGaps: ({ from = Number.MIN_SAFE_INTEGER, to = Number.MAX_SAFE_INTEGER, limit }) =>
      readGaps.all({ from, to, limit: checkLimit(limit) }),
  };
}

/**
 * What no coarser row holds yet, by the index that holds nothing else. It is named, because SQLite would look through all rows
 * of the range in the primary key; so the columns are named too, as Drizzle does not know what this table is.
 */
export const PENDING = {
  table: sql`paramedic_rollups indexed by paramedic_rollups_pending`,
  isPending: sql`compacted = 0`,
  columns: {
    seriesId: sql<number>`series_id`,
    bucket: sql<number>`bucket`,
    count: sql<number>`count`,
    sum: sql<number>`sum`,
    min: sql<number>`min`,
    max: sql<number>`max`,
    last: sql<number>`last`,
    lastAt: sql<number>`last_at`,
    buckets: sql<Buffer>`buckets`,
  },
};

/** Reads series and the ledger. A range touches only the keys of the series that are asked for. */
import { and, asc, eq, gte, lt, sql } from "drizzle-orm";
import { ingestBoots, metricRollups, metricSeries } from "../../../drizzle/self-healing-schema.js";
import type { SeriesDescriptor, SeriesPoint } from "../../../shared/series.js";
import type { LedgerEntry, RollupStore } from "../../ports/store.js";
import { ROLLUP_RESOLUTION_MS } from "../folding.js";
import { foldSteps } from "../packed-steps.js";
import { checkLimit } from "../page-cursor.js";
import { type BucketSummary, carriesTags, checkStep, stepPoints } from "../series-steps.js";
import type { Db } from "./sqlite-connection.js";

export interface RollupQueries {
  listSeries(filter: Parameters<RollupStore["listSeries"]>[0]): readonly SeriesDescriptor[];
  readSeries(query: Parameters<RollupStore["readSeries"]>[0]): readonly SeriesPoint[];
  ledger(): readonly LedgerEntry[];
}

export function createRollupQueries(db: Db): RollupQueries {
  const { id, metricType, metricName, kind, unit, source, tags } = metricSeries;
  const descriptor = { metricType, metricName, kind, unit, source, tags };
  const identity = [asc(metricName), asc(metricType), asc(source), asc(tags)];

  const seriesOfMetric = db
    .select({ id, tags })
    .from(metricSeries)
    .where(eq(metricName, sql.placeholder("metricName")))
    .prepare();
  const readRange = rangeQuery(db).prepare();
  const readLedger = db
    .select({
      instance: ingestBoots.instance,
      boot: ingestBoots.boot,
      recorded: ingestBoots.recorded,
      dropped: ingestBoots.dropped,
      rolledUp: ingestBoots.points,
      batches: ingestBoots.batches,
    })
    .from(ingestBoots)
    .orderBy(asc(ingestBoots.firstAt))
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

    readSeries(query) {
      const stepMs = checkStep(query.stepMs);
      const limit = checkLimit(query.limit);
      // The first `limit` steps of all series together lie within this many buckets of each of them.
      const mostBuckets = limit * (stepMs / ROLLUP_RESOLUTION_MS);
      const summaries: BucketSummary[] = [];
      for (const series of seriesOfMetric.all({ metricName: query.metricName })) {
        if (!carriesTags(series.tags, query.tags)) continue;
        const rows = readRange.all({ seriesId: series.id, from: query.from, to: query.to, mostBuckets });
        summaries.push(...foldSteps(rows, stepMs));
      }
      return stepPoints(summaries, stepMs, limit);
    },

    ledger: () => readLedger.all(),
  };
}

/** The range read of one series, apart so that its query plan can be looked at. */
export function rangeQuery(db: Db) {
  return db
    .select({
      bucket: metricRollups.bucket,
      count: metricRollups.count,
      sum: metricRollups.sum,
      min: metricRollups.min,
      max: metricRollups.max,
      last: metricRollups.last,
      buckets: metricRollups.buckets,
    })
    .from(metricRollups)
    .where(
      and(
        eq(metricRollups.seriesId, sql.placeholder("seriesId")),
        eq(metricRollups.resolutionMs, ROLLUP_RESOLUTION_MS),
        gte(metricRollups.bucket, sql.placeholder("from")),
        lt(metricRollups.bucket, sql.placeholder("to")),
      ),
    )
    .orderBy(asc(metricRollups.bucket))
    .limit(sql.placeholder("mostBuckets"));
}

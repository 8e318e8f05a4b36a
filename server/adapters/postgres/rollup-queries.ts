/** Reads series and the ledger. A range touches only the keys of the series that are asked for. */
import { and, asc, eq, gte, inArray, lt } from "drizzle-orm";
import { ingestBoots, metricRollups, metricSeries } from "../../../drizzle/postgres/self-healing-schema.js";
import type { SeriesDescriptor, SeriesPoint } from "../../../shared/series.js";
import type { LedgerEntry, RollupStore } from "../../ports/store.js";
import { ROLLUP_RESOLUTION_MS } from "../folding.js";
import { foldSteps, type PackedRollup } from "../packed-steps.js";
import { checkLimit } from "../page-cursor.js";
import { carriesTags, checkStep, stepPoints } from "../series-steps.js";
import type { Db } from "./postgres-connection.js";

export interface RollupQueries {
  listSeries(filter: Parameters<RollupStore["listSeries"]>[0]): Promise<readonly SeriesDescriptor[]>;
  readSeries(query: Parameters<RollupStore["readSeries"]>[0]): Promise<readonly SeriesPoint[]>;
  ledger(): Promise<readonly LedgerEntry[]>;
}

export function createRollupQueries(db: Db): RollupQueries {
  const { id, metricType, metricName, kind, unit, source, tags } = metricSeries;
  const descriptor = { metricType, metricName, kind, unit, source, tags };
  const identity = [asc(metricName), asc(metricType), asc(source), asc(tags)];

  return {
    async listSeries(filter) {
      return db
        .select(descriptor)
        .from(metricSeries)
        .where(filter.metricName === undefined ? undefined : eq(metricName, filter.metricName))
        .orderBy(...identity)
        .limit(checkLimit(filter.limit));
    },

    async readSeries(query) {
      const stepMs = checkStep(query.stepMs);
      const limit = checkLimit(query.limit);
      const series = await db.select({ id, tags }).from(metricSeries).where(eq(metricName, query.metricName));
      const seriesIds = series.filter((one) => carriesTags(one.tags, query.tags)).map((one) => one.id);
      if (seriesIds.length === 0) return [];
      // The first `limit` steps of all series together lie within this many buckets of each of them.
      const mostBuckets = limit * (stepMs / ROLLUP_RESOLUTION_MS);
      const bySeries = new Map<number, PackedRollup[]>();
      for (const row of await rangeQuery(db, { seriesIds, from: query.from, to: query.to, mostBuckets })) {
        const rollups = bySeries.get(row.seriesId);
        if (rollups) rollups.push(row);
        else bySeries.set(row.seriesId, [row]);
      }
      const summaries = [...bySeries.values()].flatMap((rollups) => foldSteps(rollups, stepMs));
      return stepPoints(summaries, stepMs, limit);
    },

    async ledger() {
      return db
        .select({
          instance: ingestBoots.instance,
          boot: ingestBoots.boot,
          recorded: ingestBoots.recorded,
          dropped: ingestBoots.dropped,
          rolledUp: ingestBoots.points,
          batches: ingestBoots.batches,
          lastAt: ingestBoots.lastAt,
        })
        .from(ingestBoots)
        .orderBy(asc(ingestBoots.firstAt));
    },
  };
}

export interface SeriesRange {
  readonly seriesIds: readonly number[];
  readonly from: number;
  readonly to: number;
  /** Of each series. */
  readonly mostBuckets: number;
}

/** The range read, one walk along the key for each series, apart so that its query plan can be looked at. */
export function rangeQuery(db: Db, { seriesIds, from, to, mostBuckets }: SeriesRange) {
  const rollups = db
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
        eq(metricRollups.seriesId, metricSeries.id),
        eq(metricRollups.resolutionMs, ROLLUP_RESOLUTION_MS),
        gte(metricRollups.bucket, from),
        lt(metricRollups.bucket, to),
      ),
    )
    .orderBy(asc(metricRollups.bucket))
    .limit(mostBuckets)
    .as("rollups");
  return db
    .select({
      seriesId: metricSeries.id,
      bucket: rollups.bucket,
      count: rollups.count,
      sum: rollups.sum,
      min: rollups.min,
      max: rollups.max,
      last: rollups.last,
      buckets: rollups.buckets,
    })
    .from(metricSeries)
    .crossJoinLateral(rollups)
    .where(inArray(metricSeries.id, [...seriesIds]))
    .orderBy(asc(metricSeries.id), asc(rollups.bucket));
}

/** Reads series and the ledger. A range touches only the keys of the series that are asked for. */
import { and, asc, desc, eq, gte, inArray, lt, sql } from "drizzle-orm";
import {
  ingestBoots,
  ingestGaps,
  metricRollups,
  metricSeries,
  rollupMarks,
} from "../../../drizzle/postgres/self-healing-schema.js";
import { finerThan, stretchesOf } from "../../../shared/resolutions.js";
import type { BatchGap, SeriesDescriptor, SeriesPoint } from "../../../shared/series.js";
import type { LedgerEntry, RollupStore } from "../../ports/store.js";
import { foldSteps, type PackedRollup } from "../packed-steps.js";
import { checkLimit } from "../page-cursor.js";
import { type BucketSummary, carriesTags, checkStep, stepPoints } from "../series-steps.js";
import type { Db } from "./postgres-connection.js";
import type { Snapshot } from "./write-transactions.js";

export interface RollupQueries {
  listSeries(filter: Parameters<RollupStore["listSeries"]>[0]): Promise<readonly SeriesDescriptor[]>;
  readSeries(query: Parameters<RollupStore["readSeries"]>[0]): Promise<readonly SeriesPoint[]>;
  ledger(): Promise<readonly LedgerEntry[]>;
  listGaps(query: Parameters<RollupStore["listGaps"]>[0]): Promise<readonly BatchGap[]>;
}

export function createRollupQueries(db: Db, snapshot: Snapshot): RollupQueries {
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
      return snapshot(async (db) => {
        const series = await db.select({ id, tags }).from(metricSeries).where(eq(metricName, query.metricName));
        const seriesIds = series.filter((one) => carriesTags(one.tags, query.tags)).map((one) => one.id);
        if (seriesIds.length === 0) return [];
        const marks = await db.select().from(rollupMarks);
        const keptFrom = new Map(marks.map((row) => [row.resolutionMs, row.keptFrom]));
        const summaries: BucketSummary[] = [];
        for (const { resolutionMs, from, to } of stretchesOf(query, keptFrom)) {
          // The first `limit` steps of all series together lie within this many buckets of each of them.
          const mostBuckets = limit * Math.max(1, stepMs / resolutionMs);
          const range = { seriesIds, from, to };
          summaries.push(...stepsOf(await rangeQuery(db, { ...range, resolutionMs, mostBuckets }), stepMs));
          for (const finer of finerThan(resolutionMs)) {
            summaries.push(...stepsOf(await pendingQuery(db, { ...range, resolutionMs: finer }), stepMs));
          }
        }
        return stepPoints(summaries, stepMs, limit);
      });
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
          lost: ingestBoots.lost,
          lastAt: ingestBoots.lastAt,
        })
        .from(ingestBoots)
        .orderBy(asc(ingestBoots.firstAt));
    },

    async listGaps({ from, to, limit }) {
      return db
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
        .where(
          and(
            from === undefined ? undefined : gte(ingestGaps.windowEnd, from),
            to === undefined ? undefined : lt(ingestGaps.windowStart, to),
          ),
        )
        .orderBy(desc(ingestGaps.windowEnd))
        .limit(checkLimit(limit));
    },
  };
}

/** @param rows each series' together, oldest first */
function stepsOf(rows: readonly (PackedRollup & { readonly seriesId: number })[], stepMs: number): BucketSummary[] {
  const bySeries = new Map<number, PackedRollup[]>();
  for (const row of rows) {
    const rollups = bySeries.get(row.seriesId);
    if (rollups) rollups.push(row);
    else bySeries.set(row.seriesId, [row]);
  }
  return [...bySeries.values()].flatMap((rollups) => foldSteps(rollups, stepMs));
}

export interface SeriesRange {
  readonly seriesIds: readonly number[];
  readonly resolutionMs: number;
  readonly from: number;
  readonly to: number;
}

const READ_COLUMNS = {
  bucket: metricRollups.bucket,
  count: metricRollups.count,
  sum: metricRollups.sum,
  min: metricRollups.min,
  max: metricRollups.max,
  last: metricRollups.last,
  buckets: metricRollups.buckets,
};

/**
 * The range read, one walk along the key for each series, apart so that its query plan can be looked at.
 *
 * @param range with the most buckets to read of each series
 */
export function rangeQuery(db: Db, range: SeriesRange & { readonly mostBuckets: number }) {
  const rollups = db
    .select(READ_COLUMNS)
    .from(metricRollups)
    .where(and(eq(metricRollups.seriesId, metricSeries.id), isInRange(range)))
    .orderBy(asc(metricRollups.bucket))
    .limit(range.mostBuckets)
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
    .where(inArray(metricSeries.id, [...range.seriesIds]))
    .orderBy(asc(metricSeries.id), asc(rollups.bucket));
}

/** What of a range no coarser row holds yet, by the index that holds nothing else. */
export function pendingQuery(db: Db, range: SeriesRange) {
  return db
    .select({ seriesId: metricRollups.seriesId, ...READ_COLUMNS })
    .from(metricRollups)
    .where(and(inArray(metricRollups.seriesId, [...range.seriesIds]), isInRange(range), isPending))
    .orderBy(asc(metricRollups.seriesId), asc(metricRollups.bucket));
}

/** Rows that are in no coarser one; the words of the index that holds them. */
export const isPending = sql`not compacted`;

function isInRange({ resolutionMs, from, to }: SeriesRange) {
  return and(
    eq(metricRollups.resolutionMs, resolutionMs),
    gte(metricRollups.bucket, from),
    lt(metricRollups.bucket, to),
  );
}

/** Reads series and the ledger. A range touches only the keys of the series that are asked for. */
import { and, asc, desc, eq, gte, lt, sql } from "drizzle-orm";
import {
  ingestBoots,
  ingestGaps,
  metricRollups,
  metricSeries,
  rollupMarks,
} from "../../../drizzle/self-healing-schema.js";
import { finerThan, stretchesOf } from "../../../shared/resolutions.js";
import type { BatchGap, SeriesDescriptor, SeriesPoint } from "../../../shared/series.js";
import type { LedgerEntry, RollupStore } from "../../ports/store.js";
import { foldSteps } from "../packed-steps.js";
import { checkLimit } from "../page-cursor.js";
import { type BucketSummary, carriesTags, checkStep, stepPoints } from "../series-steps.js";
import type { Db } from "./sqlite-connection.js";

export interface RollupQueries {
  listSeries(filter: Parameters<RollupStore["listSeries"]>[0]): readonly SeriesDescriptor[];
  readSeries(query: Parameters<RollupStore["readSeries"]>[0]): readonly SeriesPoint[];
  ledger(): readonly LedgerEntry[];
  listGaps(query: Parameters<RollupStore["listGaps"]>[0]): readonly BatchGap[];
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
  const readPending = pendingQuery(db).prepare();
  const readMarks = db.select().from(rollupMarks).prepare();
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
      // All of it as it is at one moment: a row that moves to a coarser one in between would be missed, or told twice.
      return db.transaction(() => {
        const marks = new Map(readMarks.all().map((row) => [row.resolutionMs, row.keptFrom]));
        const summaries: BucketSummary[] = [];
        for (const series of seriesOfMetric.all({ metricName: query.metricName })) {
          if (!carriesTags(series.tags, query.tags)) continue;
          for (const { resolutionMs, from, to } of stretchesOf(query, marks)) {
            // The first `limit` steps of all series together lie within this many buckets of each of them.
            const mostBuckets = limit * Math.max(1, stepMs / resolutionMs);
            const place = { seriesId: series.id, resolutionMs, from, to, mostBuckets };
            summaries.push(...foldSteps(readRange.all(place), stepMs));
            for (const finer of finerThan(resolutionMs)) {
              summaries.push(...foldSteps(readPending.all({ ...place, resolutionMs: finer }), stepMs));
            }
          }
        }
        return stepPoints(summaries, stepMs, limit);
      });
    },

    ledger: () => readLedger.all(),

    listGaps({ from, to, limit }) {
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
        .limit(checkLimit(limit))
        .all();
    },
  };
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

const isInRange = and(
  eq(metricRollups.seriesId, sql.placeholder("seriesId")),
  eq(metricRollups.resolutionMs, sql.placeholder("resolutionMs")),
  gte(metricRollups.bucket, sql.placeholder("from")),
  lt(metricRollups.bucket, sql.placeholder("to")),
);

/** The range read of one series, apart so that its query plan can be looked at. */
export function rangeQuery(db: Db) {
  return db
    .select(READ_COLUMNS)
    .from(metricRollups)
    .where(isInRange)
    .orderBy(asc(metricRollups.bucket))
    .limit(sql.placeholder("mostBuckets"));
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

/** What of a range no coarser row holds yet. */
export function pendingQuery(db: Db) {
  return db
    .select(PENDING.columns)
    .from(PENDING.table)
    .where(and(isInRange, PENDING.isPending))
    .orderBy(asc(metricRollups.bucket));
}

/** Folds batches into rollups, with their ledger, in the transaction of `db`: a handful of statements for any batch. */
import { and, eq, inArray, sql } from "drizzle-orm";
import {
  deadBatches,
  ingestBoots,
  ingestLedger,
  metricRollups,
  metricSeries,
} from "../../../drizzle/postgres/self-healing-schema.js";
import { decodeBuckets, encodeBuckets } from "../../../shared/buckets-codec.js";
import { type Batch, pointsIn, type SeriesDescriptor, seriesKey } from "../../../shared/series.js";
import type { RollupStore } from "../../ports/store.js";
import { bucketOf, foldBoot, foldRollup, ROLLUP_RESOLUTION_MS, type Rollup } from "../folding.js";
import { canonicalTags } from "../series-steps.js";
import type { Db } from "./postgres-connection.js";

/** `false` when the batch was there already, and then nothing is written. */
export async function commitBatch(db: Db, series: SeriesIds, batch: Batch, now: number): Promise<boolean> {
  const { instance, boot, seq, windowStart, windowEnd } = batch;
  const points = pointsIn(batch);
  const inserted = await db
    .insert(ingestLedger)
    .values({ instance, boot, seq, windowStart, windowEnd, points, committedAt: now })
    .onConflictDoNothing()
    .returning({ seq: ingestLedger.seq });
  if (inserted.length === 0) return false;
  await countBatch(db, batch, points, now);
  if (batch.series.length === 0) return true;

  const ids = await series.idsOf(db, batch.series, now);
  const bucket = bucketOf(windowEnd);
  const rollups = await storedRollups(db, [...ids.values()], bucket);
  for (const entry of batch.series) {
    const id = ids.get(seriesKey(entry));
    if (id === undefined) throw new Error(`the series ${seriesKey(entry)} was written and is not there`);
    const before = rollups.get(id);
    rollups.set(id, before ? foldRollup(before, entry, windowEnd) : { ...entry, lastAt: windowEnd });
  }
  await putRollups(db, rollups, bucket);
  return true;
}

export async function saveDeadBatch(db: Db, dead: Parameters<RollupStore["saveDeadBatch"]>[0]): Promise<void> {
  const { entryId, reason, payload, at } = dead;
  await db
    .insert(deadBatches)
    .values({ entryId, reason, payload, at })
    .onConflictDoNothing({ target: deadBatches.entryId });
}

async function countBatch(db: Db, batch: Batch, points: number, now: number): Promise<void> {
  const { instance, boot } = batch;
  const [known] = await db
    .select()
    .from(ingestBoots)
    .where(and(eq(ingestBoots.instance, instance), eq(ingestBoots.boot, boot)));
  const totals = foldBoot(known, batch, points, now);
  await db
    .insert(ingestBoots)
    .values({ instance, boot, ...totals })
    .onConflictDoUpdate({ target: [ingestBoots.instance, ingestBoots.boot], set: totals });
}

async function storedRollups(db: Db, seriesIds: readonly number[], bucket: number): Promise<Map<number, Rollup>> {
  const { seriesId, resolutionMs, count, sum, min, max, last, lastAt, buckets } = metricRollups;
  const rows = await db
    .select({ seriesId, count, sum, min, max, last, lastAt, buckets })
    .from(metricRollups)
    .where(
      and(inArray(seriesId, [...seriesIds]), eq(resolutionMs, ROLLUP_RESOLUTION_MS), eq(metricRollups.bucket, bucket)),
    );
  return new Map(rows.map(({ seriesId: id, ...row }) => [id, { ...row, buckets: decodeBuckets(row.buckets) }]));
}

/** Columns travel as arrays: ten parameters, however many rows, and a statement whose text never changes. */
async function putRollups(db: Db, rollups: ReadonlyMap<number, Rollup>, bucket: number): Promise<void> {
  const rows = [...rollups];
  const column = <T>(read: (rollup: Rollup) => T) => sql.param(rows.map(([, rollup]) => read(rollup)));
  await db.execute(sql`
    insert into ${metricRollups}
      (series_id, resolution_ms, bucket, count, sum, min, max, last, last_at, buckets)
    select series_id, ${ROLLUP_RESOLUTION_MS}::bigint, ${bucket}::bigint, count, sum, min, max, last, last_at, buckets
    from unnest(
      ${sql.param(rows.map(([id]) => id))}::bigint[],
      ${column(({ count }) => count)}::bigint[],
      ${column(({ sum }) => sum)}::float8[],
      ${column(({ min }) => min)}::float8[],
      ${column(({ max }) => max)}::float8[],
      ${column(({ last }) => last)}::float8[],
      ${column(({ lastAt }) => lastAt)}::bigint[],
      ${column(({ buckets }) => Buffer.from(encodeBuckets(buckets)))}::bytea[]
    ) as rollup (series_id, count, sum, min, max, last, last_at, buckets)
    on conflict (series_id, resolution_ms, bucket) do update set
      count = excluded.count, sum = excluded.sum, min = excluded.min, max = excluded.max,
      last = excluded.last, last_at = excluded.last_at, buckets = excluded.buckets`);
}

/** Ids of series are asked for once: this many are remembered, more than the cap on series of a process. */
const REMEMBERED_SERIES = 50_000;

/** The short ids of series, remembered from transactions that were committed. */
export interface SeriesIds {
  /** By series key. */
  idsOf(db: Db, descriptors: readonly SeriesDescriptor[], now: number): Promise<ReadonlyMap<string, number>>;
  /** What the present transaction learned holds: it was committed. */
  committed(): void;
  /** Nothing that is remembered can be relied on: the rows may be gone. */
  forget(): void;
}

export function createSeriesIds(): SeriesIds {
  const known = new Map<string, number>();
  const learned = new Map<string, number>();
  return {
    async idsOf(db, descriptors, now) {
      const ids = new Map<string, number>();
      const missing = new Map<string, typeof metricSeries.$inferInsert>();
      for (const descriptor of descriptors) {
        const key = seriesKey(descriptor);
        const id = known.get(key);
        if (id !== undefined) ids.set(key, id);
        else missing.set(key, seriesRowOf(descriptor, now));
      }
      for (const [key, id] of await idsOfRows(db, missing)) {
        ids.set(key, id);
        learned.set(key, id);
      }
      return ids;
    },
    committed() {
      if (known.size + learned.size > REMEMBERED_SERIES) known.clear();
      for (const [key, id] of learned) known.set(key, id);
      learned.clear();
    },
    forget() {
      known.clear();
      learned.clear();
    },
  };
}

function seriesRowOf(descriptor: SeriesDescriptor, createdAt: number): typeof metricSeries.$inferInsert {
  const { metricType, metricName, kind, unit, source, tags } = descriptor;
  return { metricType, metricName, kind, unit, source, tags: canonicalTags(tags), createdAt };
}

/** Writes the series that are new; the update that changes nothing makes the others give their id too. */
async function idsOfRows(
  db: Db,
  rows: ReadonlyMap<string, typeof metricSeries.$inferInsert>,
): Promise<ReadonlyMap<string, number>> {
  if (rows.size === 0) return new Map();
  const { id, metricType, metricName, source, tags } = metricSeries;
  const written = await db
    .insert(metricSeries)
    .values([...rows.values()])
    .onConflictDoUpdate({ target: [metricName, metricType, source, tags], set: { unit: sql`${metricSeries.unit}` } })
    .returning({ id, metricType, metricName, source, tags });
  return new Map(written.map((row) => [seriesKey(row), row.id]));
}

/** Folds batches into rollups, once each by the ledger, in the transaction of `db`: a handful of statements for any batch. */
import { sql } from "drizzle-orm";
import { deadBatches, metricSeries } from "../../../drizzle/postgres/self-healing-schema.js";
import { type Batch, type SeriesDescriptor, seriesKey } from "../../../shared/series.js";
import type { RollupStore } from "../../ports/store.js";
import { bucketOf, foldRollup, ROLLUP_RESOLUTION_MS, type Rollup } from "../folding.js";
import { canonicalTags } from "../series-steps.js";
import { addToLedger } from "./ledger-statements.js";
import type { Db } from "./postgres-connection.js";
import { foldIntoRows } from "./rollup-rows.js";

/** `false` when the batch was there already, and then nothing is written. */
export async function commitBatch(db: Db, series: SeriesIds, batch: Batch, now: number): Promise<boolean> {
  if (!(await addToLedger(db, batch, now))) return false;
  const { windowEnd } = batch;
  const ids = await series.idsOf(db, batch.series, now);
  const rollups = new Map<number, Rollup>();
  for (const entry of batch.series) {
    const id = ids.get(seriesKey(entry));
    if (id === undefined) throw new Error(`the series ${seriesKey(entry)} was written and is not there`);
    const before = rollups.get(id);
    rollups.set(id, before ? foldRollup(before, entry, windowEnd) : { ...entry, lastAt: windowEnd });
  }
  const bucket = bucketOf(windowEnd);
  const placed = [...rollups].map(([seriesId, rollup]) => ({ seriesId, bucket, rollup }));
  await foldIntoRows(db, ROLLUP_RESOLUTION_MS, placed);
  return true;
}

export async function saveDeadBatch(db: Db, dead: Parameters<RollupStore["saveDeadBatch"]>[0]): Promise<void> {
  const { entryId, reason, payload, at } = dead;
  await db
    .insert(deadBatches)
    .values({ entryId, reason, payload, at })
    .onConflictDoNothing({ target: deadBatches.entryId });
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

/** Folds batches into rollups, once each by the ledger, in whatever transaction is open. */
import { and, eq, sql } from "drizzle-orm";
import { deadBatches, metricSeries } from "../../../drizzle/self-healing-schema.js";
import { type Batch, type SeriesDescriptor, seriesKey } from "../../../shared/series.js";
import { bucketOf, ROLLUP_RESOLUTION_MS } from "../folding.js";
import { canonicalTags } from "../series-steps.js";
import { createLedgerRows, type LedgerRows } from "./ledger-rows.js";
import { prepareInsert } from "./prepared-row.js";
import { createRollupRows } from "./rollup-rows.js";
import type { Db } from "./sqlite-connection.js";

export interface DeadBatch {
  readonly entryId: string;
  readonly reason: string;
  readonly payload: string;
  readonly at: number;
}

export interface RollupStatements extends Pick<LedgerRows, "settleBatches" | "pruneBoots"> {
  /** `false` when the batch was there already, and then nothing is written. */
  commitBatch(batch: Batch, now: number): boolean;
  saveDeadBatch(dead: DeadBatch): void;
  /** What the present transaction learned holds: it was committed. */
  committed(): void;
  /** What the present transaction learned is void. */
  rolledBack(): void;
}

/** Ids of series are asked for once: this many are remembered, more than the cap on series of a process. */
const REMEMBERED_SERIES = 50_000;

export function createRollupStatements(db: Db): RollupStatements {
  const seriesIds = new Map<string, number>();
  const newIds = new Map<string, number>();

  const ledger = createLedgerRows(db);
  const findSeries = db
    .select({ id: metricSeries.id })
    .from(metricSeries)
    .where(
      and(
        eq(metricSeries.metricName, sql.placeholder("metricName")),
        eq(metricSeries.metricType, sql.placeholder("metricType")),
        eq(metricSeries.source, sql.placeholder("source")),
        eq(metricSeries.tags, sql.placeholder("tags")),
      ),
    )
    .prepare();
  const insertSeries = prepareInsert(db, metricSeries);

  const rows = createRollupRows(db);

  const insertDead = db
    .insert(deadBatches)
    .values({
      entryId: sql.placeholder("entryId"),
      reason: sql.placeholder("reason"),
      payload: sql.placeholder("payload"),
      at: sql.placeholder("at"),
    })
    .onConflictDoNothing({ target: deadBatches.entryId })
    .prepare();

  const seriesIdOf = (descriptor: SeriesDescriptor, now: number): number => {
    const key = seriesKey(descriptor);
    const known = seriesIds.get(key) ?? newIds.get(key);
    if (known !== undefined) return known;
    const { metricType, metricName, kind, unit, source } = descriptor;
    const tags = canonicalTags(descriptor.tags);
    const identity = { metricName, metricType, source, tags: JSON.stringify(tags) };
    let id = findSeries.get(identity)?.id;
    if (id === undefined) {
      insertSeries({ id: undefined, metricType, metricName, kind, unit, source, tags, createdAt: now });
      id = findSeries.get(identity)?.id;
      if (id === undefined) throw new Error(`the series ${key} was written and is not there`);
    }
    newIds.set(key, id);
    return id;
  };

  return {
    commitBatch(batch, now) {
      if (!ledger.add(batch, now)) return false;
      const { windowEnd } = batch;
      const bucket = bucketOf(windowEnd);
      for (const entry of batch.series) {
        const seriesId = seriesIdOf(entry, now);
        rows.foldInto({ seriesId, resolutionMs: ROLLUP_RESOLUTION_MS, bucket }, { ...entry, lastAt: windowEnd });
      }
      return true;
    },

    settleBatches: ledger.settleBatches,
    pruneBoots: ledger.pruneBoots,

    saveDeadBatch(dead) {
      insertDead.run({ ...dead });
    },

    committed() {
      if (newIds.size === 0) return;
      if (seriesIds.size + newIds.size > REMEMBERED_SERIES) seriesIds.clear();
      for (const [key, id] of newIds) seriesIds.set(key, id);
      newIds.clear();
    },

    rolledBack() {
      newIds.clear();
    },
  };
}

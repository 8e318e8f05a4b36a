/** Makes coarse rollups of fine ones and deletes what is told by coarser ones, a slice of rows in each transaction. */
import { and, asc, eq, getTableName, lt, sql } from "drizzle-orm";
import { metricRollups, metricSeries, rollupMarks } from "../../../drizzle/postgres/self-healing-schema.js";
import { decodeBuckets } from "../../../shared/buckets-codec.js";
import { coarserThan } from "../../../shared/resolutions.js";
import type { RollupSlice } from "../../ports/store.js";
import { checkPrunable, checkSlice, compactedInto, foldUp } from "../rollup-slices.js";
import type { Db } from "./postgres-connection.js";
import { isPending } from "./rollup-queries.js";
import { foldIntoRows, isPlace, placesOf } from "./rollup-rows.js";

export async function compactRollups(db: Db, slice: RollupSlice): Promise<number> {
  const coarser = compactedInto(checkSlice(slice));
  const { resolutionMs, before, limit } = slice;
  const pending = await db
    .select()
    .from(metricRollups)
    .where(and(eq(metricRollups.resolutionMs, resolutionMs), lt(metricRollups.bucket, before), isPending))
    .orderBy(asc(metricRollups.seriesId), asc(metricRollups.bucket))
    .limit(limit);
  if (pending.length === 0) return 0;
  const unpacked = pending.map((row) => ({ ...row, buckets: decodeBuckets(row.buckets) }));
  await foldIntoRows(db, coarser, foldUp(unpacked, coarser));
  await db.update(metricRollups).set({ compacted: true }).from(placesOf(pending)).where(isPlace(resolutionMs));
  return pending.length;
}

/** Series by series, each by its own key: no other index is needed to find the oldest rows. */
export async function pruneRollups(db: Db, slice: RollupSlice): Promise<number> {
  const { resolutionMs, before, limit } = checkPrunable(slice);
  const isCoarsest = coarserThan(resolutionMs) === undefined;
  if (!isCoarsest) await raiseMark(db, resolutionMs, before);
  const { rowCount } = await db.execute(sql`
    delete from ${metricRollups} where (series_id, resolution_ms, bucket) in (
      select r.series_id, r.resolution_ms, r.bucket
      from ${metricSeries} s cross join lateral (
        select series_id, resolution_ms, bucket from ${metricRollups}
        where series_id = s.id and resolution_ms = ${resolutionMs} and bucket < ${before}
          ${isCoarsest ? sql`` : sql`and compacted`}
        limit ${limit}
      ) r
      limit ${limit})`);
  return rowCount ?? 0;
}

async function raiseMark(db: Db, resolutionMs: number, keptFrom: number): Promise<void> {
  await db
    .insert(rollupMarks)
    .values({ resolutionMs, keptFrom })
    .onConflictDoUpdate({
      target: rollupMarks.resolutionMs,
      set: { keptFrom: sql`greatest(${sql.identifier(getTableName(rollupMarks))}.kept_from, excluded.kept_from)` },
    });
}

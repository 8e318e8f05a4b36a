/** Makes coarse rollups of fine ones and deletes what is told by coarser ones, a slice of rows in each transaction. */
import { and, eq, lt, sql } from "drizzle-orm";
import { metricRollups, rollupMarks } from "../../../drizzle/self-healing-schema.js";
import { decodeBuckets } from "../../../shared/buckets-codec.js";
import { coarserThan } from "../../../shared/resolutions.js";
import type { RollupSlice } from "../../ports/store.js";
import { checkPrunable, checkSlice, compactedInto, foldUp } from "../rollup-slices.js";
import { PENDING } from "./rollup-queries.js";
import { createRollupRows } from "./rollup-rows.js";
import type { Db } from "./sqlite-connection.js";

export interface CompactionStatements {
  compactRollups(slice: RollupSlice): number;
  pruneRollups(slice: RollupSlice): number;
}

export function createCompactionStatements(db: Db): CompactionStatements {
  const rows = createRollupRows(db);
  const isAt = and(
    eq(metricRollups.resolutionMs, sql.placeholder("resolutionMs")),
    lt(metricRollups.bucket, sql.placeholder("before")),
  );
  const findPending = db
    .select(PENDING.columns)
    .from(PENDING.table)
    .where(and(isAt, PENDING.isPending))
    .orderBy(metricRollups.seriesId, metricRollups.bucket)
    .limit(sql.placeholder("limit"))
    .prepare();
  const setCompacted = db
    .update(metricRollups)
    .set({ compacted: true })
    .where(
      and(
        eq(metricRollups.seriesId, sql.placeholder("seriesId")),
        eq(metricRollups.resolutionMs, sql.placeholder("resolutionMs")),
        eq(metricRollups.bucket, sql.placeholder("bucket")),
      ),
    )
    .prepare();
  const raiseMark = db
    .insert(rollupMarks)
    .values({ resolutionMs: sql.placeholder("resolutionMs"), keptFrom: sql.placeholder("before") })
    .onConflictDoUpdate({
      target: rollupMarks.resolutionMs,
      set: { keptFrom: sql`max(${rollupMarks.keptFrom}, excluded.kept_from)` },
    })
    .prepare();
  // Series by series, each by its own key: no other index is needed to find the oldest rows.
  const deleteOld = (isCoarsest: boolean) =>
    db
      .delete(metricRollups)
      .where(
        sql`(series_id, resolution_ms, bucket) in (
          select r.series_id, r.resolution_ms, r.bucket
          from paramedic_series s cross join paramedic_rollups r on r.series_id = s.id
          where r.resolution_ms = ${sql.placeholder("resolutionMs")} and r.bucket < ${sql.placeholder("before")}
            ${isCoarsest ? sql`` : sql`and r.compacted = 1`}
          limit ${sql.placeholder("limit")})`,
      )
      .prepare();
  const deleteCompacted = deleteOld(false);
  const deleteCoarsest = deleteOld(true);

  return {
    compactRollups(slice) {
      const resolutionMs = compactedInto(checkSlice(slice));
      const pending = findPending.all({ ...slice });
      const unpacked = pending.map((row) => ({ ...row, buckets: decodeBuckets(row.buckets) }));
      for (const { seriesId, bucket, rollup } of foldUp(unpacked, resolutionMs)) {
        rows.foldInto({ seriesId, resolutionMs, bucket }, rollup);
      }
      for (const { seriesId, bucket } of pending) {
        setCompacted.run({ seriesId, resolutionMs: slice.resolutionMs, bucket });
      }
      return pending.length;
    },

    pruneRollups(slice) {
      const { resolutionMs } = checkPrunable(slice);
      if (coarserThan(resolutionMs) === undefined) return deleteCoarsest.run({ ...slice }).changes;
      raiseMark.run({ ...slice });
      return deleteCompacted.run({ ...slice }).changes;
    },
  };
}

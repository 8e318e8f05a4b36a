/** One rollup row at a time: adds to it, and to the coarser rows that already hold it. */
import { and, eq, sql } from "drizzle-orm";
import { metricRollups } from "../../../drizzle/self-healing-schema.js";
import { decodeBuckets, encodeBuckets } from "../../../shared/buckets-codec.js";
import { bucketStart, coarserThan } from "../../../shared/resolutions.js";
import { foldRollup, type Rollup } from "../folding.js";
import { prepareInsert } from "./prepared-row.js";
import type { Db } from "./sqlite-connection.js";

/** What identifies a rollup. */
export interface RollupPlace {
  readonly seriesId: number;
  readonly resolutionMs: number;
  readonly bucket: number;
}

export interface RollupRows {
  /** Adds to the row of this place, and if that is compacted, to the one above it, and so on. */
  foldInto(place: RollupPlace, rollup: Rollup): void;
}

export function createRollupRows(db: Db): RollupRows {
  const { count, sum, min, max, last, lastAt, buckets, compacted } = metricRollups;
  const find = db
    .select({ count, sum, min, max, last, lastAt, buckets, compacted })
    .from(metricRollups)
    .where(
      and(
        eq(metricRollups.seriesId, sql.placeholder("seriesId")),
        eq(metricRollups.resolutionMs, sql.placeholder("resolutionMs")),
        eq(metricRollups.bucket, sql.placeholder("bucket")),
      ),
    )
    .prepare();
  const put = prepareInsert(db, metricRollups, {
    target: [metricRollups.seriesId, metricRollups.resolutionMs, metricRollups.bucket],
    set: ["count", "sum", "min", "max", "last", "lastAt", "buckets"],
  });

  const foldInto = ({ seriesId, resolutionMs, bucket }: RollupPlace, rollup: Rollup): void => {
    const before = find.get({ seriesId, resolutionMs, bucket });
    const folded = before
      ? foldRollup({ ...before, buckets: decodeBuckets(before.buckets) }, rollup, rollup.lastAt)
      : rollup;
    put({
      seriesId,
      resolutionMs,
      bucket,
      count: folded.count,
      sum: folded.sum,
      min: folded.min,
      max: folded.max,
      last: folded.last,
      lastAt: folded.lastAt,
      buckets: Buffer.from(encodeBuckets(folded.buckets)),
      compacted: false,
    });
    const coarser = coarserThan(resolutionMs);
    if (before?.compacted && coarser !== undefined) {
      foldInto({ seriesId, resolutionMs: coarser, bucket: bucketStart(bucket, coarser) }, rollup);
    }
  };

  return { foldInto };
}

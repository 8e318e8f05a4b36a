/** Rollup rows of one resolution at a time: adds to them, and to the coarser rows that already hold them. */
import { and, eq, sql } from "drizzle-orm";
import { metricRollups } from "../../../drizzle/postgres/self-healing-schema.js";
import { decodeBuckets, encodeBuckets } from "../../../shared/buckets-codec.js";
import { coarserThan } from "../../../shared/resolutions.js";
import { foldRollup, type Rollup } from "../folding.js";
import { foldUp } from "../rollup-slices.js";
import type { Db } from "./postgres-connection.js";

/** What is to be added to the row of one series and bucket. */
export interface PlacedRollup {
  readonly seriesId: number;
  readonly bucket: number;
  readonly rollup: Rollup;
}

/**
 * Adds to the rows of a resolution, and where they are compacted, to the ones above them, and so on.
 *
 * @param added no place twice
 */
export async function foldIntoRows(db: Db, resolutionMs: number, added: readonly PlacedRollup[]): Promise<void> {
  if (added.length === 0) return;
  const stored = await storedRows(db, resolutionMs, added);
  const folded: PlacedRollup[] = [];
  const above: PlacedRollup[] = [];
  for (const placed of added) {
    const before = stored.get(placeOf(placed));
    folded.push(
      before ? { ...placed, rollup: foldRollup(before.rollup, placed.rollup, placed.rollup.lastAt) } : placed,
    );
    if (before?.compacted) above.push(placed);
  }
  await putRows(db, resolutionMs, folded);
  const coarser = coarserThan(resolutionMs);
  if (coarser === undefined) return;
  const rows = above.map(({ seriesId, bucket, rollup }) => ({ seriesId, bucket, ...rollup }));
  await foldIntoRows(db, coarser, foldUp(rows, coarser));
}

async function storedRows(db: Db, resolutionMs: number, places: readonly PlacedRollup[]) {
  const { seriesId, bucket, count, sum, min, max, last, lastAt, buckets, compacted } = metricRollups;
  const rows = await db
    .select({ seriesId, bucket, count, sum, min, max, last, lastAt, buckets, compacted })
    .from(metricRollups)
    .innerJoin(placesOf(places), isPlace(resolutionMs));
  return new Map(
    rows.map(({ compacted, ...row }) => [
      placeOf(row),
      { rollup: { ...row, buckets: decodeBuckets(row.buckets) }, compacted },
    ]),
  );
}

function placeOf({ seriesId, bucket }: { readonly seriesId: number; readonly bucket: number }): string {
  return `${seriesId} ${bucket}`;
}

/** Rows by their places, joined: two parameters, however many. */
export function placesOf(places: readonly { readonly seriesId: number; readonly bucket: number }[]) {
  return sql`unnest(
    ${sql.param(places.map(({ seriesId }) => seriesId))}::bigint[],
    ${sql.param(places.map(({ bucket }) => bucket))}::bigint[]
  ) as place (series_id, bucket)`;
}

export function isPlace(resolutionMs: number) {
  return and(
    eq(metricRollups.seriesId, sql`place.series_id`),
    eq(metricRollups.resolutionMs, resolutionMs),
    eq(metricRollups.bucket, sql`place.bucket`),
  );
}

/** Columns travel as arrays: ten parameters, however many rows, and a statement whose text never changes. */
async function putRows(db: Db, resolutionMs: number, rows: readonly PlacedRollup[]): Promise<void> {
  const column = <T>(read: (rollup: Rollup) => T) => sql.param(rows.map(({ rollup }) => read(rollup)));
  await db.execute(sql`
    insert into ${metricRollups}
      (series_id, resolution_ms, bucket, count, sum, min, max, last, last_at, buckets)
    select series_id, ${resolutionMs}::bigint, bucket, count, sum, min, max, last, last_at, buckets
    from unnest(
      ${sql.param(rows.map(({ seriesId }) => seriesId))}::bigint[],
      ${sql.param(rows.map(({ bucket }) => bucket))}::bigint[],
      ${column(({ count }) => count)}::bigint[],
      ${column(({ sum }) => sum)}::float8[],
      ${column(({ min }) => min)}::float8[],
      ${column(({ max }) => max)}::float8[],
      ${column(({ last }) => last)}::float8[],
      ${column(({ lastAt }) => lastAt)}::bigint[],
      ${column(({ buckets }) => Buffer.from(encodeBuckets(buckets)))}::bytea[]
    ) as rollup (series_id, bucket, count, sum, min, max, last, last_at, buckets)
    on conflict (series_id, resolution_ms, bucket) do update set
      count = excluded.count, sum = excluded.sum, min = excluded.min, max = excluded.max,
      last = excluded.last, last_at = excluded.last_at, buckets = excluded.buckets`);
}

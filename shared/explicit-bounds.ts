/** Exponential buckets folded into the few explicit bounds that scrapers and dashboards expect. */
import type { BoundedCounts } from "./cumulative-series.js";
import { bucketIndex, forEachBucket, MAX_BUCKET_INDEX, type SparseBuckets } from "./histogram.js";

/** OpenTelemetry's advice for `rpc.server.call.duration`; seconds. */
export const DURATION_BOUNDS_S: readonly number[] = Object.freeze([
  0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10,
]);

/** What waits for language models and streams takes longer than a procedure should; seconds. */
const LONG_DURATION_BOUNDS_S: readonly number[] = Object.freeze([...DURATION_BOUNDS_S, 30, 60, 120]);
const DURATION_BOUNDS_MS: readonly number[] = Object.freeze(DURATION_BOUNDS_S.map((seconds) => seconds * 1_000));

/** Nothing is known of the unit: a bound for every factor of four, 1 to about 67 million, as OpenTelemetry does for tokens. */
const OTHER_BOUNDS: readonly number[] = Object.freeze(Array.from({ length: 14 }, (_, power) => 4 ** power));

/** The bucket that each bound lies in. */
const LAST_BUCKETS: ReadonlyMap<readonly number[], readonly number[]> = new Map(
  [DURATION_BOUNDS_S, LONG_DURATION_BOUNDS_S, DURATION_BOUNDS_MS, OTHER_BOUNDS].map((bounds) => [
    bounds,
    bounds.map(bucketIndex),
  ]),
);

/** The bounds of a series, in its own unit. */
export function boundsFor({ unit }: { readonly unit: string }): readonly number[] {
  switch (unit) {
    case "ms":
      return DURATION_BOUNDS_MS;
    case "s":
      return LONG_DURATION_BOUNDS_S;
    default:
      return OTHER_BOUNDS;
  }
}

/**
 * Adds a distribution. What is at or below a bound always counts there; what exceeds it by less than 2.2 %, the width of
 * one bucket, may count there too.
 */
export function addToBounds(
  { bounds, counts }: BoundedCounts & { readonly counts: Float64Array },
  buckets: SparseBuckets,
): void {
  const lastBuckets = LAST_BUCKETS.get(bounds) ?? bounds.map(bucketIndex);
  let at = 0;
  forEachBucket(buckets, (index, count) => {
    while (index > (lastBuckets[at] ?? MAX_BUCKET_INDEX)) at += 1;
    counts[at] = (counts[at] ?? 0) + count;
  });
}

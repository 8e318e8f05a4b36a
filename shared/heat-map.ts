/**
 * How often which durations were seen, by time: each step's distribution in bands. A band is 2^n whole buckets, so no point is
 * split or guessed, and the bounds of one answer are those of the next.
 */
import {
  bucketUpperBound,
  forEachBucket,
  MAX_BUCKET_INDEX,
  MIN_BUCKET_INDEX,
  type SparseBuckets,
} from "./histogram.js";
import type { StepSummary } from "./step-fold.js";

/** Values above one bound and up to another, in the unit of the metric. */
export interface HeatMapBand {
  /** Not in it; 0 is in the band that begins at 0. */
  readonly above: number;
  /** In it; undefined where there is no bound. */
  readonly upTo: number | undefined;
}

export interface HeatMapStep {
  /** Start of the step, UTC milliseconds. */
  readonly timestamp: number;
  /** Points in each of the bands. */
  readonly counts: readonly number[];
}

export interface HeatMap {
  /** Rising, without a gap, from the lowest that holds anything to the highest. */
  readonly bands: readonly HeatMapBand[];
  /** Steps that hold anything, oldest first. */
  readonly steps: readonly HeatMapStep[];
}

/** Fewer would not hold values below and above 1. */
export const FEWEST_BANDS = 2;

/**
 * @param mostBands whole, 2 or more; the bands are as narrow as they can be for it
 * @example heatMapOf([{ timestamp: 0, ...summary }], 32).steps[0].counts
 */
export function heatMapOf(steps: readonly StepSummary[], mostBands: number): HeatMap {
  const measured = steps.filter(({ buckets }) => buckets.length > 0);
  let lowest = Number.POSITIVE_INFINITY;
  let highest = Number.NEGATIVE_INFINITY;
  for (const { buckets } of measured) {
    lowest = Math.min(lowest, buckets[0] ?? lowest);
    highest = Math.max(highest, buckets.at(-2) ?? highest);
  }
  if (lowest > highest) return { bands: [], steps: [] };
  let halvings = 0;
  while ((highest >> halvings) - (lowest >> halvings) >= mostBands) halvings += 1;
  const first = lowest >> halvings;
  const bands = (highest >> halvings) - first + 1;
  return {
    bands: Array.from({ length: bands }, (_, at) => boundsOf(first + at, halvings)),
    steps: measured.map(({ timestamp, buckets }) => ({
      timestamp,
      counts: countsOf(buckets, { halvings, first, bands }),
    })),
  };
}

function countsOf(
  buckets: SparseBuckets,
  { halvings, first, bands }: { readonly halvings: number; readonly first: number; readonly bands: number },
): readonly number[] {
  const counts = new Array<number>(bands).fill(0);
  forEachBucket(buckets, (index, count) => {
    const at = (index >> halvings) - first;
    counts[at] = (counts[at] ?? 0) + count;
  });
  return counts;
}

function boundsOf(band: number, halvings: number): HeatMapBand {
  const lowest = band * 2 ** halvings;
  const highest = (band + 1) * 2 ** halvings - 1;
  return {
    above: lowest <= MIN_BUCKET_INDEX ? 0 : bucketUpperBound(lowest - 1),
    upTo: highest >= MAX_BUCKET_INDEX ? undefined : bucketUpperBound(highest),
  };
}

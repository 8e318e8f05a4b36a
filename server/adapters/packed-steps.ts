/**
 * Folds the packed rollups of one series into steps of time. A day is 8,640 rows of some fifty buckets each, on the thread
 * that also serves calls, so counts are added where they lie instead of merging lists pair by pair.
 */
import { visitBuckets } from "../../shared/buckets-codec.js";
import { MAX_BUCKET_INDEX, MIN_BUCKET_INDEX } from "../../shared/histogram.js";
import { finite } from "../../shared/rollup.js";
import type { BucketSummary } from "./series-steps.js";

/** A rollup as it is read; its distribution is still packed. */
export interface PackedRollup {
  readonly bucket: number;
  readonly count: number;
  readonly sum: number;
  readonly min: number;
  readonly max: number;
  readonly last: number;
  readonly buckets: Uint8Array;
}

/** @param rollups of one series, oldest first */
export function foldSteps(rollups: readonly PackedRollup[], stepMs: number): BucketSummary[] {
  const steps: BucketSummary[] = [];
  const counts = createCounts();
  for (let from = 0; from < rollups.length; ) {
    const first = rollups[from];
    if (first === undefined) break;
    const start = Math.floor(first.bucket / stepMs) * stepMs;
    let { count, sum, min, max, last } = first;
    counts.add(first.buckets);
    from += 1;
    for (let next = rollups[from]; next !== undefined && next.bucket < start + stepMs; next = rollups[from]) {
      count += next.count;
      sum = finite(sum + next.sum);
      min = Math.min(min, next.min);
      max = Math.max(max, next.max);
      last = next.last;
      counts.add(next.buckets);
      from += 1;
    }
    steps.push({ bucket: start, count, sum, min, max, last, buckets: counts.take() });
  }
  return steps;
}

/** One counter for each bucket there is; only the stretch that was touched is looked at and cleared. */
function createCounts() {
  const counts = new Float64Array(MAX_BUCKET_INDEX - MIN_BUCKET_INDEX + 1);
  let lowest = counts.length;
  let highest = -1;
  const count = (index: number, times: number) => {
    const place = Math.min(Math.max(index, MIN_BUCKET_INDEX), MAX_BUCKET_INDEX) - MIN_BUCKET_INDEX;
    counts[place] = (counts[place] ?? 0) + times;
    if (place < lowest) lowest = place;
    if (place > highest) highest = place;
  };
  return {
    add: (packed: Uint8Array) => visitBuckets(packed, count),
    take() {
      const buckets: [number, number][] = [];
      for (let place = lowest; place <= highest; place += 1) {
        const times = counts[place] ?? 0;
        if (times > 0) buckets.push([place + MIN_BUCKET_INDEX, times]);
      }
      counts.fill(0, lowest, highest + 1);
      lowest = counts.length;
      highest = -1;
      return buckets;
    },
  };
}

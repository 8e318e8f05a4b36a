/**
 * Adds up summaries of whatever series and order. A day of one series is 1,440 rows of some fifty buckets each, so counts are
 * added where they lie instead of merging lists pair by pair.
 */
import { addBuckets } from "./buckets-codec.js";
import { HistogramRecorder, type SparseBuckets } from "./histogram.js";
import { finite } from "./rollup.js";
import type { MergedSummary } from "./series.js";

/** Something to add: a rollup, or several that a database added up. Its distribution may still be packed, or joined. */
export interface SummaryPart extends Omit<MergedSummary, "buckets"> {
  readonly buckets: SparseBuckets | Uint8Array;
}

/**
 * @example
 * const fold = new SummaryFold();
 * for (const row of rows) fold.add(row);
 * const { count, sum, buckets } = fold.take();
 */
export class SummaryFold {
  private count = 0;
  private sum = 0;
  private min = Number.POSITIVE_INFINITY;
  private max = Number.NEGATIVE_INFINITY;
  private readonly distribution = new HistogramRecorder();

  add({ count, sum, min, max, buckets }: SummaryPart): void {
    if (count === 0) return;
    this.count += count;
    this.sum = finite(this.sum + sum);
    this.min = Math.min(this.min, min);
    this.max = Math.max(this.max, max);
    if (buckets instanceof Uint8Array) addBuckets(buckets, this.distribution);
    else for (const [index, times] of buckets) this.distribution.add(index, times);
  }

  /** Gives what was added and begins again at nothing. */
  take(): MergedSummary {
    const isEmpty = this.count === 0;
    const taken = {
      count: this.count,
      sum: this.sum,
      min: isEmpty ? 0 : this.min,
      max: isEmpty ? 0 : this.max,
      buckets: this.distribution.take(),
    };
    this.count = 0;
    this.sum = 0;
    this.min = Number.POSITIVE_INFINITY;
    this.max = Number.NEGATIVE_INFINITY;
    return taken;
  }
}

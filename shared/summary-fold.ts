/**
 * Adds up summaries of whatever series and order. A day of one series is 1,440 rows of some fifty buckets each, so counts are
 * added where they lie instead of merging lists pair by pair.
 */
import { addBuckets } from "./buckets-codec.js";
import { forEachBucket, HistogramRecorder, type SparseBuckets } from "./histogram.js";
import { finite } from "./rollup.js";
import type { MergedSummary } from "./series.js";

/** Something to add: a rollup, or several that a database added up. Its distribution may still be packed, or joined. */
export interface SummaryPart extends Omit<MergedSummary, "buckets"> {
  readonly buckets: SparseBuckets | Uint8Array;
}

/** What is not more than this waits as it came. */
const LONGEST_WAITING = 4_096;

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
  /** The first distribution, until there is a second: mostly a database has added up all there is. */
  private waiting: SummaryPart["buckets"] | undefined;
  private distribution: HistogramRecorder | undefined;

  add({ count, sum, min, max, buckets }: SummaryPart): void {
    if (count === 0) return;
    this.count += count;
    this.sum = finite(this.sum + sum);
    this.min = Math.min(this.min, min);
    this.max = Math.max(this.max, max);
    if (buckets.length === 0) return;
    if (this.waiting === undefined && this.distribution === undefined && buckets.length <= LONGEST_WAITING) {
      this.waiting = buckets;
    } else {
      addTo(this.unpacked(), buckets);
    }
  }

  /**
   * Gives what was added and begins again at nothing.
   *
   * @param room an empty recorder that many folds share, to unpack in what only waited; it is empty again afterwards
   */
  take(room: HistogramRecorder = new HistogramRecorder()): MergedSummary {
    const isEmpty = this.count === 0;
    if (this.waiting !== undefined) addTo(room, this.waiting);
    const taken = {
      count: this.count,
      sum: this.sum,
      min: isEmpty ? 0 : this.min,
      max: isEmpty ? 0 : this.max,
      buckets: (this.distribution ?? room).take(),
    };
    this.count = 0;
    this.sum = 0;
    this.min = Number.POSITIVE_INFINITY;
    this.max = Number.NEGATIVE_INFINITY;
    this.waiting = undefined;
    return taken;
  }

  private unpacked(): HistogramRecorder {
    this.distribution ??= new HistogramRecorder();
    if (this.waiting !== undefined) addTo(this.distribution, this.waiting);
    this.waiting = undefined;
    return this.distribution;
  }
}

function addTo(distribution: HistogramRecorder, buckets: SummaryPart["buckets"]): void {
  if (buckets instanceof Uint8Array) addBuckets(buckets, distribution);
  else forEachBucket(buckets, (index, times) => distribution.add(index, times));
}

/** A series summed up since its process began: what scrapers read, where batches carry what one window added. */
import type { SeriesDescriptor } from "./series.js";

/** Points between one bound and the next, each at or below its bound; the last count is of what exceeds all bounds. */
export interface BoundedCounts {
  readonly bounds: readonly number[];
  readonly counts: ArrayLike<number>;
}

export interface CumulativeSeries {
  readonly descriptor: SeriesDescriptor;
  readonly count: number;
  readonly sum: number;
  readonly last: number;
  readonly max: number;
  /** Of a histogram, in the series' own unit. */
  readonly distribution: BoundedCounts | undefined;
}

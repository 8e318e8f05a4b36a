/** How summaries of one series add up, whatever the order, and which numbers a reader gets from them. */
import { mergeBuckets, quantiles } from "./histogram.js";
import type { MergedSummary, SeriesKind, SeriesPoint, SeriesSummary } from "./series.js";

/** No points yet; merging it changes nothing. */
export const EMPTY_SUMMARY: SeriesSummary = Object.freeze({
  count: 0,
  sum: 0,
  min: 0,
  max: 0,
  last: 0,
  buckets: Object.freeze([]),
});

/**
 * Adds two summaries of one series. `count`, `min`, `max` and `buckets` do not depend on the order, `sum` only in the last
 * bits of a float. `last` is the later one's: pass the summary whose window ended later second.
 *
 * @example mergeSummaries(stored, fresh).count === stored.count + fresh.count
 */
export function mergeSummaries(earlier: SeriesSummary, later: SeriesSummary): SeriesSummary {
  if (earlier.count === 0) return later;
  if (later.count === 0) return earlier;
  return {
    count: earlier.count + later.count,
    sum: finite(earlier.sum + later.sum),
    min: Math.min(earlier.min, later.min),
    max: Math.max(earlier.max, later.max),
    last: later.last,
    buckets: mergeBuckets(earlier.buckets, later.buckets),
  };
}

/** A sum that outgrows a float stays at the largest one: JSON and SQL have no infinity. */
export function finite(sum: number): number {
  return Math.min(Math.max(sum, -Number.MAX_VALUE), Number.MAX_VALUE);
}

/** The one number of a row: the mean of a histogram, the sum of a counter, the last of a gauge. */
export function summaryValue(kind: SeriesKind, summary: SeriesSummary): number {
  switch (kind) {
    case "histogram":
      return summary.count === 0 ? 0 : summary.sum / summary.count;
    case "counter":
      return summary.sum;
    case "gauge":
      return summary.last;
  }
}

const TOLD_SHARES = [0.5, 0.95, 0.99] as const;

/** What a reader gets for one bucket of time; percentiles only where there is a distribution. */
export function seriesPoint(timestamp: number, summary: MergedSummary): SeriesPoint {
  const { count, sum, min, max } = summary;
  const [p50, p95, p99] = quantiles(summary.buckets, TOLD_SHARES, summary);
  return { timestamp, count, sum, min, max, p50, p95, p99 };
}

/** Turns stored rollups of the series of one metric into the points of a chart. */
import { ParamedicError } from "../../shared/errors.js";
import { quantile } from "../../shared/histogram.js";
import { mergeSummaries } from "../../shared/rollup.js";
import type { SeriesDescriptor, SeriesPoint, SeriesSummary, Tags } from "../../shared/series.js";
import { ROLLUP_RESOLUTION_MS } from "./folding.js";

export interface BucketSummary extends SeriesSummary {
  /** Start of the bucket, UTC milliseconds. */
  readonly bucket: number;
}

/** @throws ParamedicError STORE_REQUEST_INVALID unless `stepMs` is a positive multiple of the stored resolution. */
export function checkStep(stepMs: number): number {
  if (stepMs > 0 && stepMs % ROLLUP_RESOLUTION_MS === 0) return stepMs;
  throw new ParamedicError(
    "STORE_REQUEST_INVALID",
    `stepMs must be a positive multiple of ${ROLLUP_RESOLUTION_MS} ms, got ${stepMs}`,
  );
}

/** Oldest first, one point for each step that holds anything, at most `limit`. */
export function stepPoints(rollups: Iterable<BucketSummary>, stepMs: number, limit: number): SeriesPoint[] {
  const steps = new Map<number, SeriesSummary>();
  for (const rollup of rollups) {
    const start = Math.floor(rollup.bucket / stepMs) * stepMs;
    const before = steps.get(start);
    steps.set(start, before === undefined ? rollup : mergeSummaries(before, rollup));
  }
  return [...steps]
    .sort(([a], [b]) => a - b)
    .slice(0, limit)
    .map(([timestamp, summary]) => pointOf(timestamp, summary));
}

function pointOf(timestamp: number, { count, sum, min, max, buckets }: SeriesSummary): SeriesPoint {
  const percentile = (q: number) => (buckets.length === 0 ? undefined : quantile(buckets, q, { min, max }));
  return { timestamp, count, sum, min, max, p50: percentile(0.5), p95: percentile(0.95), p99: percentile(0.99) };
}

/** Tags in one order, so that equal tags are equal text. */
export function canonicalTags(tags: Tags): Tags {
  return Object.fromEntries(Object.entries(tags).sort(([a], [b]) => (a < b ? -1 : 1)));
}

/** Equal for descriptors of the same series. */
export function seriesKey({ metricType, metricName, source, tags }: SeriesDescriptor): string {
  return JSON.stringify([metricName, metricType, source, canonicalTags(tags)]);
}

export function carriesTags(tags: Tags, wanted: Tags | undefined): boolean {
  return Object.entries(wanted ?? {}).every(([name, value]) => Object.hasOwn(tags, name) && tags[name] === value);
}

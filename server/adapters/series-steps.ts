/** Turns stored rollups of the series of one metric into the points of a chart. */
import { ParamedicError } from "../../shared/errors.js";
import { mergeSummaries, seriesPoint } from "../../shared/rollup.js";
import type { SeriesPoint, SeriesSummary, Tags } from "../../shared/series.js";
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
    .map(([timestamp, summary]) => seriesPoint(timestamp, summary));
}

/** Tags in one order, so that equal tags are equal text. */
export function canonicalTags(tags: Tags): Tags {
  return Object.fromEntries(Object.entries(tags).sort(([a], [b]) => (a < b ? -1 : 1)));
}

export function carriesTags(tags: Tags, wanted: Tags | undefined): boolean {
  return Object.entries(wanted ?? {}).every(([name, value]) => Object.hasOwn(tags, name) && tags[name] === value);
}

/** What compaction and retention may ask of a store, and how the rows of a slice add up to coarser ones. */
import { ParamedicError } from "../../shared/errors.js";
import { bucketStart, coarserThan, RESOLUTIONS_MS } from "../../shared/resolutions.js";
import type { RollupSlice } from "../ports/store.js";
import { foldRollup, type Rollup } from "./folding.js";

const MOST_ROWS = 10_000;

/** @throws ParamedicError STORE_REQUEST_INVALID */
export function checkSlice<T extends { readonly before: number; readonly limit: number }>(slice: T): T {
  if (Number.isInteger(slice.limit) && slice.limit >= 1 && slice.limit <= MOST_ROWS && Number.isFinite(slice.before)) {
    return slice;
  }
  throw new ParamedicError(
    "STORE_REQUEST_INVALID",
    `a slice has a time and a limit from 1 to ${MOST_ROWS}, got before ${slice.before} and limit ${slice.limit}`,
  );
}

/**
 * The resolution into which the rows of a slice are compacted.
 *
 * @throws ParamedicError STORE_REQUEST_INVALID for the coarsest resolution and for one that is none
 */
export function compactedInto({ resolutionMs }: RollupSlice): number {
  const coarser = coarserThan(resolutionMs);
  if (coarser !== undefined && isResolution(resolutionMs)) return coarser;
  throw new ParamedicError("STORE_REQUEST_INVALID", `there is no resolution above ${resolutionMs} ms to compact into`);
}

/**
 * Checks a slice that is to be deleted.
 *
 * @throws ParamedicError STORE_REQUEST_INVALID for an unknown resolution and a time that cuts a coarser row in two
 */
export function checkPrunable(slice: RollupSlice): RollupSlice {
  const width = coarserThan(slice.resolutionMs) ?? slice.resolutionMs;
  if (isResolution(slice.resolutionMs) && slice.before % width === 0) return checkSlice(slice);
  throw new ParamedicError(
    "STORE_REQUEST_INVALID",
    `rows of ${slice.resolutionMs} ms are deleted up to a multiple of ${width} ms, got ${slice.before}`,
  );
}

function isResolution(resolutionMs: number): boolean {
  return RESOLUTIONS_MS.some((known) => known === resolutionMs);
}

/** Adds rows up into the buckets of `resolutionMs` that hold them. */
export function foldUp<S>(
  rows: Iterable<Rollup & { readonly seriesId: S; readonly bucket: number }>,
  resolutionMs: number,
): readonly { readonly seriesId: S; readonly bucket: number; readonly rollup: Rollup }[] {
  const bySeries = new Map<S, Map<number, Rollup>>();
  for (const row of rows) {
    const { count, sum, min, max, last, lastAt, buckets } = row;
    const rollup = { count, sum, min, max, last, lastAt, buckets };
    const folded = bySeries.get(row.seriesId) ?? new Map<number, Rollup>();
    bySeries.set(row.seriesId, folded);
    const bucket = bucketStart(row.bucket, resolutionMs);
    const before = folded.get(bucket);
    folded.set(bucket, before ? foldRollup(before, rollup, lastAt) : rollup);
  }
  return [...bySeries].flatMap(([seriesId, folded]) =>
    [...folded].map(([bucket, rollup]) => ({ seriesId, bucket, rollup })),
  );
}

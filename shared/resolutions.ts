/** The widths of time in which rollups are kept, and which of them answer a range: the coarse where they do, the fine at its edges. */
import { DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS } from "./units.js";

/** Finest first; each divides the next. */
export const RESOLUTIONS_MS = [10 * SECOND_MS, MINUTE_MS, HOUR_MS, DAY_MS] as const;
export type ResolutionMs = (typeof RESOLUTIONS_MS)[number];

/** From when on each resolution still has its rows, UTC milliseconds; what is absent has them all. */
export type KeptFrom = ReadonlyMap<number, number>;

/** A stretch of time, `from` included and `to` excluded, and the resolution whose rows tell it. */
export interface Stretch {
  readonly resolutionMs: ResolutionMs;
  readonly from: number;
  readonly to: number;
}

/** The next coarser resolution; undefined for the coarsest. */
export function coarserThan(resolutionMs: number): ResolutionMs | undefined {
  return RESOLUTIONS_MS.find((candidate) => candidate > resolutionMs);
}

/** The resolutions below one, finest first. */
export function finerThan(resolutionMs: number): readonly ResolutionMs[] {
  return RESOLUTIONS_MS.filter((candidate) => candidate < resolutionMs);
}

/** Start of the bucket of this width in which a moment lies. */
export function bucketStart(time: number, widthMs: number): number {
  return Math.floor(time / widthMs) * widthMs;
}

/**
 * Divides a range into stretches: the coarsest resolution that divides `stepMs` where whole buckets of it lie in the range,
 * finer ones at both ends, and coarser ones where the finer were deleted. No moment lies in two stretches. Oldest first.
 *
 * @param keptFrom each time a multiple of the next coarser resolution, and not later than that of a finer one
 * @example stretchesOf({ from: 0, to: 90_000, stepMs: 60_000 }, new Map())
 * // [{ resolutionMs: 60_000, from: 0, to: 60_000 }, { resolutionMs: 10_000, from: 60_000, to: 90_000 }]
 */
export function stretchesOf(
  { from, to, stepMs }: { readonly from: number; readonly to: number; readonly stepMs: number },
  keptFrom: KeptFrom,
): readonly Stretch[] {
  const wanted = RESOLUTIONS_MS.findLastIndex((width) => stepMs % width === 0);
  const stretches: Stretch[] = [];
  let until = Number.POSITIVE_INFINITY;
  for (const [finest, width] of RESOLUTIONS_MS.entries()) {
    const isCoarsest = finest === RESOLUTIONS_MS.length - 1;
    const since = isCoarsest ? Number.NEGATIVE_INFINITY : (keptFrom.get(width) ?? Number.NEGATIVE_INFINITY);
    const level = Math.max(wanted, finest);
    stretches.unshift(...within(Math.max(from, since), Math.min(to, until), level, finest));
    until = Math.min(until, since);
  }
  return joined(stretches);
}

/** What is told by one resolution is one stretch, although finer rows are kept of a part of it. */
function joined(stretches: readonly Stretch[]): readonly Stretch[] {
  const result: Stretch[] = [];
  for (const stretch of stretches) {
    const before = result.at(-1);
    if (before?.resolutionMs === stretch.resolutionMs) result.splice(-1, 1, { ...before, to: stretch.to });
    else result.push(stretch);
  }
  return result;
}

function within(from: number, to: number, level: number, finest: number): Stretch[] {
  const resolutionMs = RESOLUTIONS_MS[level];
  if (from >= to || resolutionMs === undefined) return [];
  if (level <= finest) return [{ resolutionMs, from, to }];
  const start = bucketStart(from + resolutionMs - 1, resolutionMs);
  const end = bucketStart(to, resolutionMs);
  if (start >= end) return within(from, to, level - 1, finest);
  return [
    ...within(from, start, level - 1, finest),
    { resolutionMs, from: start, to: end },
    ...within(end, to, level - 1, finest),
  ];
}

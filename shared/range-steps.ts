/** In which steps a range is told: short enough for a chart, long enough that the rows of many series can be added up. */
import { bucketStart, RESOLUTIONS_MS } from "./resolutions.js";
import { DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS } from "./units.js";

/** UTC milliseconds, `from` included and `to` excluded. */
export interface TimeRange {
  readonly from: number;
  readonly to: number;
}

const STEPS_MS = [10 * SECOND_MS, MINUTE_MS, 10 * MINUTE_MS, HOUR_MS, DAY_MS] as const;

/** As many steps as a chart shows apart. */
const MOST_STEPS = 400;
/** A second or two of a database's work. */
const MOST_ROWS = 2_000_000;

/**
 * The shortest step that gives a range at most 400 of them and, for so many series, touches at most two million rows; beyond
 * 400 days a number of days.
 *
 * @example stepFor({ from: now - 24 * HOUR_MS, to: now }, 3) // 600_000: 144 steps, read from minutes
 */
export function stepFor({ from, to }: TimeRange, series: number): number {
  const rangeMs = to - from;
  const fits = (stepMs: number) =>
    rangeMs / stepMs <= MOST_STEPS && (series * rangeMs) / resolutionOf(stepMs) <= MOST_ROWS;
  return STEPS_MS.find(fits) ?? DAY_MS * Math.max(1, Math.ceil(rangeMs / DAY_MS / MOST_STEPS));
}

/** The coarsest rows that tell a step. */
function resolutionOf(stepMs: number): number {
  return RESOLUTIONS_MS.findLast((width) => stepMs % width === 0) ?? RESOLUTIONS_MS[0];
}

/** What a range that is widened gains at either end, at most. */
const WIDENED_SHARE = 1 / 20;

/**
 * The range with its ends moved outwards, by less than a twentieth of it each, so that few fine rows stand at its edges.
 *
 * @example widened({ from: 0, to: 90_061_000 }) // an hour is added to the day, not 25 minutes of ten-second rows
 */
export function widened({ from, to }: TimeRange): TimeRange {
  const width = RESOLUTIONS_MS.findLast((candidate) => candidate <= (to - from) * WIDENED_SHARE) ?? RESOLUTIONS_MS[0];
  return { from: bucketStart(from, width), to: bucketStart(to + width - 1, width) };
}

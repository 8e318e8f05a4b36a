/**
 * How a range of many series is read: which rows tell it, in statements that are bounded by the rows they touch. The database
 * adds rows up as far as SQL can, and joins their distributions end to end for the fold.
 */
import { finerThan, type KeptFrom, type Stretch, stretchesOf } from "../../shared/resolutions.js";

/** Series of one metric are counted up to here. */
export const MOST_SERIES_COUNTED = 50_000;

export interface Range {
  /** UTC milliseconds, included. */
  readonly from: number;
  /** Excluded. */
  readonly to: number;
  readonly stepMs: number;
}

/** Rows of one resolution between two times. */
export interface Pass extends Stretch {
  /** Only those that the coarser resolution, which tells this time, does not hold yet. */
  readonly onlyPending: boolean;
}

/** What has to be read of each series. Each point that was recorded is in one pass. */
export function passesOf(range: Range, keptFrom: KeptFrom): readonly Pass[] {
  return stretchesOf(range, keptFrom).flatMap((stretch) => [
    { ...stretch, onlyPending: false },
    ...finerThan(stretch.resolutionMs).map((resolutionMs) => ({ ...stretch, resolutionMs, onlyPending: true })),
  ]);
}

/** Rows that one series has at most in a pass. */
export function rowsOfOne({ from, to, resolutionMs }: Pass): number {
  return Math.ceil((to - from) / resolutionMs);
}

/** Divides series, of which each has so many rows, so that one statement touches about `mostRows`, and at least one series. */
export function slicesOf<T>(series: readonly T[], rowsOfEach: number, mostRows: number): readonly (readonly T[])[] {
  const size = Math.max(1, Math.floor(mostRows / Math.max(1, rowsOfEach)));
  return Array.from({ length: Math.ceil(series.length / size) }, (_, at) => series.slice(at * size, (at + 1) * size));
}

/** What one statement reads. */
export interface RollupsRead extends Pass {
  readonly seriesIds: readonly number[];
}

/** How many rows one series has in a pass, or in more than that, and where the first and the last of them begin. */
export interface CountedRows {
  readonly id: number;
  readonly rows: number;
  readonly first: number;
  readonly last: number;
}

/**
 * Divides a pass whose rows are counted into statements of at most `mostRows` each: series together as long as they fit, and
 * one that has more alone, in pieces of its time.
 */
export function readsOf(pass: Pass, counted: readonly CountedRows[], mostRows: number): readonly RollupsRead[] {
  const reads: RollupsRead[] = [];
  let together: number[] = [];
  let room = mostRows;
  const flush = () => {
    if (together.length > 0) reads.push({ ...pass, seriesIds: together });
    together = [];
    room = mostRows;
  };
  for (const series of counted) {
    if (series.rows > mostRows) {
      reads.push(...piecesOf(pass, series, mostRows));
      continue;
    }
    if (series.rows > room) flush();
    together.push(series.id);
    room -= series.rows;
  }
  flush();
  return reads;
}

function piecesOf(pass: Pass, { id, first, last }: CountedRows, mostRows: number): readonly RollupsRead[] {
  const width = mostRows * pass.resolutionMs;
  const begin = Math.max(first, pass.from);
  const end = Math.min(last + pass.resolutionMs, pass.to);
  return Array.from({ length: Math.max(0, Math.ceil((end - begin) / width)) }, (_, at) => {
    const from = begin + at * width;
    return { ...pass, from, to: Math.min(from + width, end), seriesIds: [id] };
  });
}

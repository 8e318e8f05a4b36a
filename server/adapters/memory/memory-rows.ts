/** Rows that are kept in maps: pages of them, and which of them are forgotten. */
import type { Page } from "../../ports/page.js";
import { checkLimit, decodeCursor, pageOf } from "../page-cursor.js";

/** A row with its place in its list. */
export interface Kept<T> {
  readonly id: number;
  readonly row: T;
}

/** What is old enough to go, and how much of it goes at once. */
export interface Slice {
  readonly before: number;
  readonly limit: number;
}

export function newestFirst<T>(
  kept: Iterable<Kept<T>>,
  { cursor, limit }: { cursor?: string | undefined; limit: number },
  timeOf: (row: T) => number,
  matches: (row: T) => boolean,
): Page<T> {
  const after = cursor === undefined ? undefined : decodeCursor(cursor);
  const rows = [...kept]
    .filter(({ row }) => matches(row))
    .map(({ id, row }) => ({ id, row, timestamp: timeOf(row) }))
    .sort((a, b) => b.timestamp - a.timestamp || b.id - a.id)
    .filter(
      ({ timestamp, id }) =>
        after === undefined || timestamp < after.timestamp || (timestamp === after.timestamp && id < after.id),
    )
    .slice(0, checkLimit(limit) + 1);
  return pageOf(
    rows,
    limit,
    (row) => row,
    ({ row }) => row,
  );
}

export function isWithin(time: number, from: number | undefined, to: number | undefined): boolean {
  return (from === undefined || time >= from) && (to === undefined || time < to);
}

/** The keys that were inserted first, as many as there are too many. */
export function oldest<K>(rows: ReadonlyMap<K, unknown>, capacity: number): K[] {
  return rows.size <= capacity ? [] : [...rows.keys()].slice(0, rows.size - capacity);
}

export function forgetOldest<K>(rows: Map<K, unknown>, capacity: number): void {
  for (const key of oldest(rows, capacity)) rows.delete(key);
}

/** Deletes at most `limit` of the old, and says how many. */
export function prune<K, V>(rows: Map<K, V>, limit: number, isOld: (value: V) => boolean): number {
  const old = [...rows].filter(([, value]) => isOld(value)).slice(0, limit);
  for (const [key] of old) rows.delete(key);
  return old.length;
}

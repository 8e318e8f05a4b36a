/** Pages of rows that are kept in maps. */
import type { Page } from "../ports/page.js";
import { checkLimit, decodeCursor, pageOf } from "./page-cursor.js";

/** A row with its place in its list. */
export interface Kept<T> {
  readonly id: number;
  readonly row: T;
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

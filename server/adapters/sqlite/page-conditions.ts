/** Where a page begins and ends in SQL: newest first, after the cursor. */
import { and, desc, type SQL, sql } from "drizzle-orm";
import type { SQLiteColumn } from "drizzle-orm/sqlite-core";
import type { Page } from "../../ports/store.js";
import { checkLimit, decodeCursor, type PagePosition, pageOf } from "../page-cursor.js";

export interface PageQuery {
  readonly cursor?: string | undefined;
  readonly limit: number;
}

/**
 * Runs one page of a list that is sorted by `time`, then by `id`. Every index ends in the rowid, so the sort costs nothing.
 *
 * @param conditions of the list's own filters; undefined ones are left out
 */
export function readPage<Row, Item>(
  query: PageQuery,
  columns: { readonly time: SQLiteColumn; readonly id: SQLiteColumn },
  conditions: readonly (SQL | undefined)[],
  read: (where: SQL | undefined, orderBy: readonly SQL[], limit: number) => readonly Row[],
  positionOf: (row: Row) => PagePosition,
  itemOf: (row: Row) => Item,
): Page<Item> {
  const limit = checkLimit(query.limit);
  const after = query.cursor === undefined ? undefined : decodeCursor(query.cursor);
  const { time, id } = columns;
  const where = and(...conditions, after && sql`(${time}, ${id}) < (${after.timestamp}, ${after.id})`);
  return pageOf(read(where, [desc(time), desc(id)], limit + 1), limit, positionOf, itemOf);
}

/** Reads one page of a list. */
import type { SQL } from "drizzle-orm";
import type { Page } from "../../ports/store.js";
import { type PageColumns, type PageQuery, pageClauses } from "../list-filters.js";
import { type PagePosition, pageOf } from "../page-cursor.js";

/** @param conditions of the list's own filters; undefined ones are left out */
export async function readPage<Row, Item>(
  query: PageQuery,
  columns: PageColumns,
  conditions: readonly (SQL | undefined)[],
  read: (where: SQL | undefined, orderBy: readonly SQL[], limit: number) => Promise<readonly Row[]>,
  positionOf: (row: Row) => PagePosition,
  itemOf: (row: Row) => Item,
): Promise<Page<Item>> {
  const { where, orderBy, limit } = pageClauses(query, columns, conditions);
  return pageOf(await read(where, orderBy, limit + 1), limit, positionOf, itemOf);
}

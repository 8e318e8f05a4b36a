/** Cursors of pages sorted newest first: where the last page ended, so that rows written meanwhile shift nothing. */
import { ParamedicError } from "../../shared/errors.js";
import type { Page } from "../ports/store.js";

/** A row's place in its list: by time, then by the store's own ascending id. */
export interface PagePosition {
  readonly timestamp: number;
  readonly id: number;
}

const LARGEST_PAGE = 10_000;

/** Opaque to callers: base64url, safe in a URL. */
export function encodeCursor({ timestamp, id }: PagePosition): string {
  return Buffer.from(`${timestamp}:${id}`).toString("base64url");
}

/** @throws ParamedicError STORE_REQUEST_INVALID when `cursor` is not one that `encodeCursor` made. */
export function decodeCursor(cursor: string): PagePosition {
  const [timestamp, id] = Buffer.from(cursor, "base64url").toString().split(":").map(Number);
  if (timestamp !== undefined && id !== undefined && Number.isFinite(timestamp) && Number.isSafeInteger(id)) {
    if (encodeCursor({ timestamp, id }) === cursor) return { timestamp, id };
  }
  throw new ParamedicError(
    "STORE_REQUEST_INVALID",
    "the page cursor is malformed: pass the nextCursor of the page before, or none for the first page",
  );
}

/** @throws ParamedicError STORE_REQUEST_INVALID unless `limit` is a whole number from 1 to 10,000. */
export function checkLimit(limit: number): number {
  if (Number.isInteger(limit) && limit >= 1 && limit <= LARGEST_PAGE) return limit;
  throw new ParamedicError(
    "STORE_REQUEST_INVALID",
    `limit must be a whole number in [1, ${LARGEST_PAGE}], got ${limit}`,
  );
}

/** A page from up to `limit + 1` rows: the row too many only tells that there is more. */
export function pageOf<Row, Item>(
  rows: readonly Row[],
  limit: number,
  positionOf: (row: Row) => PagePosition,
  itemOf: (row: Row) => Item,
): Page<Item> {
  const last = rows.length > limit ? rows[limit - 1] : undefined;
  return {
    items: rows.slice(0, limit).map(itemOf),
    nextCursor: last === undefined ? undefined : encodeCursor(positionOf(last)),
  };
}

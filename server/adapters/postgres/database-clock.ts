/** What the database's clock says: the one clock that all instances agree on. */
import { sql } from "drizzle-orm";
import type { Db } from "./postgres-connection.js";

/** UTC milliseconds; goes on within a transaction. */
export const DATABASE_NOW = sql<number>`(extract(epoch from clock_timestamp()) * 1000)::bigint`.mapWith(Number);

export async function databaseNow(db: Db): Promise<number> {
  const [row] = await db.select({ now: DATABASE_NOW }).from(sql`(select 1) as clock`);
  return row?.now ?? 0;
}

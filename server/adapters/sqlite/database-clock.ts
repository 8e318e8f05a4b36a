/** What the database's clock says: the one clock that the processes which share the file agree on. */
import { sql } from "drizzle-orm";
import type { Db } from "./sqlite-connection.js";

/** @returns reads UTC milliseconds */
export function prepareDatabaseClock(db: Db): () => number {
  const read = db
    .select({ now: sql<number>`cast(unixepoch('subsec') * 1000 as integer)` })
    .from(sql`(select 1)`)
    .prepare();
  return () => read.get()?.now ?? 0;
}

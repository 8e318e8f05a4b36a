/** Keeps the last good answers of operations, in the transaction of `db`. */
import { and, desc, eq, lte, sql } from "drizzle-orm";
import { lastGoodValues } from "../../../drizzle/postgres/self-healing-schema.js";
import type { LastGoodValue } from "../../ports/store.js";
import type { Db } from "./postgres-connection.js";

export async function putLastGood(
  db: Db,
  row: LastGoodValue,
  { maxEntries }: { readonly maxEntries: number },
): Promise<void> {
  const { value, storedAt, expiresAt } = row;
  await db
    .insert(lastGoodValues)
    .values(row)
    .onConflictDoUpdate({
      target: [lastGoodValues.operation, lastGoodValues.key],
      set: { value, storedAt, expiresAt },
    });
  await db.delete(lastGoodValues).where(lte(lastGoodValues.expiresAt, storedAt));
  const youngest = db
    .select({ operation: lastGoodValues.operation, key: lastGoodValues.key })
    .from(lastGoodValues)
    .orderBy(desc(lastGoodValues.storedAt))
    .limit(maxEntries);
  const [{ count = 0 } = {}] = await db.select({ count: sql<number>`count(*)::int` }).from(lastGoodValues);
  if (count <= maxEntries) return;
  await db.delete(lastGoodValues).where(sql`(${lastGoodValues.operation}, ${lastGoodValues.key}) not in ${youngest}`);
}

export function createLastGoodQueries(db: Db) {
  return {
    async getLastGood(operation: string, key: string): Promise<LastGoodValue | undefined> {
      const [row] = await db
        .select()
        .from(lastGoodValues)
        .where(and(eq(lastGoodValues.operation, operation), eq(lastGoodValues.key, key)));
      return row;
    },
  };
}

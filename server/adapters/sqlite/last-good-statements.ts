/** Keeps the last good answers of operations, in whatever transaction is open. */
import { and, desc, eq, lte, notInArray, sql } from "drizzle-orm";
import { lastGoodValues } from "../../../drizzle/self-healing-schema.js";
import type { LastGoodValue } from "../../ports/store.js";
import type { Db } from "./sqlite-connection.js";

export interface LastGoodStatements {
  putLastGood(value: LastGoodValue, limits: { readonly maxEntries: number }): void;
}

export function createLastGoodStatements(db: Db): LastGoodStatements {
  return {
    putLastGood(row, { maxEntries }) {
      const { value, storedAt, expiresAt } = row;
      db.insert(lastGoodValues)
        .values(row)
        .onConflictDoUpdate({
          target: [lastGoodValues.operation, lastGoodValues.key],
          set: { value, storedAt, expiresAt },
        })
        .run();
      db.delete(lastGoodValues).where(lte(lastGoodValues.expiresAt, storedAt)).run();
      const [{ count = 0 } = {}] = db.select({ count: sql<number>`count(*)` }).from(lastGoodValues).all();
      if (count <= maxEntries) return;
      const youngest = db
        .select({ id: sql`rowid` })
        .from(lastGoodValues)
        .orderBy(desc(lastGoodValues.storedAt))
        .limit(maxEntries);
      db.delete(lastGoodValues)
        .where(and(notInArray(sql`rowid`, youngest)))
        .run();
    },
  };
}

export interface LastGoodQueries {
  getLastGood(operation: string, key: string): LastGoodValue | undefined;
}

export function createLastGoodQueries(db: Db): LastGoodQueries {
  const find = db
    .select()
    .from(lastGoodValues)
    .where(
      and(eq(lastGoodValues.operation, sql.placeholder("operation")), eq(lastGoodValues.key, sql.placeholder("key"))),
    )
    .prepare();
  return { getLastGood: (operation, key) => find.get({ operation, key }) };
}

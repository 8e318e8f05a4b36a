/** Remembers what was counted into which row, so that a write that is delivered again counts once. */
import { and, eq, lt } from "drizzle-orm";
import { writeReceipts } from "../../../drizzle/postgres/self-healing-schema.js";
import { RECEIPT_RETENTION_MS } from "../folding.js";
import type { Db } from "./postgres-connection.js";

export interface Receipt {
  readonly storedId: string;
  readonly counted: number;
}

type Kind = (typeof writeReceipts.$inferSelect)["kind"];

export async function findReceipt(db: Db, kind: Kind, id: string): Promise<Receipt | undefined> {
  const [receipt] = await db
    .select({ storedId: writeReceipts.storedId, counted: writeReceipts.counted })
    .from(writeReceipts)
    .where(and(eq(writeReceipts.kind, kind), eq(writeReceipts.id, id)));
  return receipt;
}

export async function putReceipt(db: Db, kind: Kind, id: string, receipt: Receipt, at: number): Promise<void> {
  await db
    .insert(writeReceipts)
    .values({ kind, id, ...receipt, at })
    .onConflictDoUpdate({ target: [writeReceipts.kind, writeReceipts.id], set: { ...receipt } });
}

/** Forgets those whose redelivery is past. */
export async function pruneReceipts(db: Db, now: number): Promise<void> {
  await db.delete(writeReceipts).where(lt(writeReceipts.at, now - RECEIPT_RETENTION_MS));
}

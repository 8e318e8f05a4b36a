/** Remembers what was counted into which row, so that a write that is delivered again counts once. */
import { and, eq, lt, sql } from "drizzle-orm";
import { writeReceipts } from "../../../drizzle/self-healing-schema.js";
import { RECEIPT_RETENTION_MS } from "../folding.js";
import { prepareInsert } from "./prepared-row.js";
import type { Db } from "./sqlite-connection.js";

export interface Receipt {
  readonly storedId: string;
  readonly counted: number;
}

export interface ReceiptStatements {
  find(id: string): Receipt | undefined;
  put(id: string, receipt: Receipt, now: number): void;
  /** Forgets those whose redelivery is past. */
  prune(now: number): void;
}

export function createReceiptStatements(db: Db, kind: (typeof writeReceipts.$inferSelect)["kind"]): ReceiptStatements {
  const find = db
    .select({ storedId: writeReceipts.storedId, counted: writeReceipts.counted })
    .from(writeReceipts)
    .where(and(eq(writeReceipts.kind, kind), eq(writeReceipts.id, sql.placeholder("id"))))
    .prepare();
  const put = prepareInsert(db, writeReceipts, {
    target: [writeReceipts.kind, writeReceipts.id],
    set: ["storedId", "counted"],
  });
  const prune = db
    .delete(writeReceipts)
    .where(lt(writeReceipts.at, sql.placeholder("before")))
    .prepare();
  return {
    find: (id) => find.get({ id }),
    put: (id, { storedId, counted }, at) => put({ kind, id, storedId, counted, at }),
    prune(now) {
      prune.run({ before: now - RECEIPT_RETENTION_MS });
    },
  };
}

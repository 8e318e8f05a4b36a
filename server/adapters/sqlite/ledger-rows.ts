/** Counts each batch once, and keeps the ledger short: a row for each recent batch, a mark and gaps for all before. */
import { and, asc, eq, gte, lt, lte, notExists, sql } from "drizzle-orm";
import { ingestBoots, ingestGaps, ingestLedger } from "../../../drizzle/self-healing-schema.js";
import { type Batch, pointsIn } from "../../../shared/series.js";
import { type Gap, ledgerBatchOf } from "../batch-marks.js";
import { ENDED_BOOTS, foldBoot, foldEnded, foldLate, refuseForgotten, settleBoot } from "../boot-totals.js";
import { checkSlice } from "../rollup-slices.js";
import { prepareInsert } from "./prepared-row.js";
import type { Db } from "./sqlite-connection.js";

export interface LedgerRows {
  /** `false` when the batch was counted before, and then nothing is written. */
  add(batch: Batch, now: number): boolean;
  settleBatches(slice: { readonly before: number; readonly limit: number }): number;
  /** Sums up boots not heard of since `before`, none of whose batches is unsettled; gives how many. */
  pruneBoots(slice: { readonly before: number; readonly limit: number }): number;
}

export function createLedgerRows(db: Db): LedgerRows {
  const isBootOf = (table: typeof ingestLedger | typeof ingestBoots | typeof ingestGaps) =>
    and(eq(table.instance, sql.placeholder("instance")), eq(table.boot, sql.placeholder("boot")));
  const before = sql.placeholder("before");
  const limit = sql.placeholder("limit");
  const seq = sql.placeholder("seq");

  const findBatch = db
    .select({ seq: ingestLedger.seq })
    .from(ingestLedger)
    .where(and(isBootOf(ingestLedger), eq(ingestLedger.seq, seq)))
    .prepare();
  const insertBatch = prepareInsert(db, ingestLedger);
  const findBoot = db.select().from(ingestBoots).where(isBootOf(ingestBoots)).prepare();
  const putBoot = prepareInsert(db, ingestBoots, {
    target: [ingestBoots.instance, ingestBoots.boot],
    set: [
      "seq",
      "recorded",
      "dropped",
      "points",
      "batches",
      "firstAt",
      "lastAt",
      "lost",
      "settledSeq",
      "settledCarried",
      "settledWindowStart",
      "settledWindowEnd",
    ],
  });
  const deleteBoot = db.delete(ingestBoots).where(isBootOf(ingestBoots)).prepare();
  const findGap = db
    .select()
    .from(ingestGaps)
    .where(and(isBootOf(ingestGaps), lte(ingestGaps.firstSeq, seq), gte(ingestGaps.lastSeq, seq)))
    .prepare();
  const insertGap = prepareInsert(db, ingestGaps);
  const deleteGap = db
    .delete(ingestGaps)
    .where(and(isBootOf(ingestGaps), eq(ingestGaps.firstSeq, sql.placeholder("firstSeq"))))
    .prepare();

  const oldestBatches = db
    .select({ instance: ingestLedger.instance, boot: ingestLedger.boot })
    .from(ingestLedger)
    .where(lt(ingestLedger.committedAt, before))
    .orderBy(asc(ingestLedger.committedAt))
    .limit(limit)
    .as("oldest");
  const bootsToSettle = db.selectDistinct().from(oldestBatches).prepare();
  const batchesOfBoot = db
    .select()
    .from(ingestLedger)
    .where(isBootOf(ingestLedger))
    .orderBy(asc(ingestLedger.seq))
    .limit(limit)
    .prepare();
  const deleteSettled = db
    .delete(ingestLedger)
    .where(and(isBootOf(ingestLedger), lte(ingestLedger.seq, seq)))
    .prepare();

  const unsettledBatch = db
    .select({ seq: ingestLedger.seq })
    .from(ingestLedger)
    .where(and(eq(ingestLedger.instance, ingestBoots.instance), eq(ingestLedger.boot, ingestBoots.boot)));
  const endedBoots = db
    .select()
    .from(ingestBoots)
    .where(
      and(
        lt(ingestBoots.lastAt, before),
        sql`not (${ingestBoots.instance} = ${ENDED_BOOTS.instance} and ${ingestBoots.boot} = ${ENDED_BOOTS.boot})`,
        notExists(unsettledBatch),
      ),
    )
    .orderBy(asc(ingestBoots.lastAt))
    .limit(limit)
    .prepare();

  const insertGaps = (instance: string, boot: string, gaps: readonly Gap[]) => {
    for (const gap of gaps) insertGap({ instance, boot, ...gap });
  };

  /** `false` when the mark tells that the batch was folded before. */
  const addLate = (known: typeof ingestBoots.$inferSelect, batch: Batch, points: number, now: number): boolean => {
    const { instance, boot } = batch;
    const gap = findGap.get({ instance, boot, seq: batch.seq });
    if (!gap) return false;
    const late = foldLate(known, gap, batch, points, now);
    deleteGap.run({ instance, boot, firstSeq: gap.firstSeq });
    insertGaps(instance, boot, late.left);
    putBoot({ instance, boot, ...late.boot });
    return true;
  };

  return {
    add(batch, now) {
      const { instance, boot } = batch;
      const points = pointsIn(batch);
      const known = findBoot.get({ instance, boot });
      if (known && batch.seq <= known.settledSeq) return addLate(known, batch, points, now);
      if (!known) refuseForgotten(batch, findBoot.get(ENDED_BOOTS)?.lastAt);
      else if (findBatch.get({ instance, boot, seq: batch.seq })) return false;
      insertBatch({ instance, boot, ...ledgerBatchOf(batch, points), committedAt: now });
      putBoot({ instance, boot, ...foldBoot(known, batch, points, now) });
      return true;
    },

    settleBatches(slice) {
      checkSlice(slice);
      let settled = 0;
      for (const place of bootsToSettle.all({ ...slice })) {
        const known = findBoot.get(place);
        const rows = batchesOfBoot.all({ ...place, limit: slice.limit - settled });
        const isRecent = rows.findIndex(({ committedAt }) => committedAt >= slice.before);
        const old = isRecent < 0 ? rows : rows.slice(0, isRecent);
        if (!known || old.length === 0) continue;
        const { boot, gaps } = settleBoot(known, old);
        insertGaps(place.instance, place.boot, gaps);
        deleteSettled.run({ ...place, seq: boot.settledSeq });
        putBoot(boot);
        settled += old.length;
        if (settled >= slice.limit) break;
      }
      return settled;
    },

    pruneBoots(slice) {
      const ended = endedBoots.all({ ...slice });
      const before = findBoot.get(ENDED_BOOTS);
      const [first, ...rest] = before ? [before, ...ended] : ended;
      if (!first || ended.length === 0) return 0;
      putBoot({ ...ENDED_BOOTS, ...foldEnded([first, ...rest]) });
      for (const { instance, boot } of ended) deleteBoot.run({ instance, boot });
      return ended.length;
    },
  };
}

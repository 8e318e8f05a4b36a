/** Counts each batch once, and keeps the ledger short: a row for each recent batch, a mark and gaps for all before. */
import { and, asc, eq, gte, inArray, lt, lte, not, notExists, sql } from "drizzle-orm";
import { ingestBoots, ingestGaps, ingestLedger } from "../../../drizzle/postgres/self-healing-schema.js";
import { type Batch, pointsIn } from "../../../shared/series.js";
import { type Gap, ledgerBatchOf } from "../batch-marks.js";
import {
  type BootTotals,
  ENDED_BOOTS,
  foldBoot,
  foldEnded,
  foldLate,
  refuseForgotten,
  settleBoot,
} from "../boot-totals.js";
import { checkSlice } from "../rollup-slices.js";
import type { Db } from "./postgres-connection.js";

interface Boot {
  readonly instance: string;
  readonly boot: string;
}

/** `false` when the batch was counted before, and then nothing is written. */
export async function addToLedger(db: Db, batch: Batch, now: number): Promise<boolean> {
  const points = pointsIn(batch);
  const known = await findBoot(db, batch);
  if (known && batch.seq <= known.settledSeq) return addLate(db, known, batch, points, now);
  if (!known) refuseForgotten(batch, (await findBoot(db, ENDED_BOOTS))?.lastAt);
  const { instance, boot } = batch;
  const inserted = await db
    .insert(ingestLedger)
    .values({ instance, boot, ...ledgerBatchOf(batch, points), committedAt: now })
    .onConflictDoNothing()
    .returning({ seq: ingestLedger.seq });
  if (inserted.length === 0) return false;
  await putBoot(db, batch, foldBoot(known, batch, points, now));
  return true;
}

/** `false` when the mark tells that the batch was folded before. */
async function addLate(db: Db, known: BootTotals, batch: Batch, points: number, now: number): Promise<boolean> {
  const [gap] = await db
    .delete(ingestGaps)
    .where(and(isOf(ingestGaps, batch), lte(ingestGaps.firstSeq, batch.seq), gte(ingestGaps.lastSeq, batch.seq)))
    .returning();
  if (!gap) return false;
  const late = foldLate(known, gap, batch, points, now);
  await insertGaps(db, batch, late.left);
  await putBoot(db, batch, late.boot);
  return true;
}

export async function settleBatches(
  db: Db,
  slice: { readonly before: number; readonly limit: number },
): Promise<number> {
  const { before, limit } = checkSlice(slice);
  const oldest = db
    .select({ instance: ingestLedger.instance, boot: ingestLedger.boot })
    .from(ingestLedger)
    .where(lt(ingestLedger.committedAt, before))
    .orderBy(asc(ingestLedger.committedAt))
    .limit(limit)
    .as("oldest");
  let settled = 0;
  for (const place of await db.selectDistinct().from(oldest)) {
    const known = await findBoot(db, place);
    const rows = await db
      .select()
      .from(ingestLedger)
      .where(isOf(ingestLedger, place))
      .orderBy(asc(ingestLedger.seq))
      .limit(limit - settled);
    const recent = rows.findIndex(({ committedAt }) => committedAt >= before);
    const old = recent < 0 ? rows : rows.slice(0, recent);
    if (!known || old.length === 0) continue;
    const { boot, gaps } = settleBoot(known, old);
    await insertGaps(db, place, gaps);
    await db.delete(ingestLedger).where(and(isOf(ingestLedger, place), lte(ingestLedger.seq, boot.settledSeq)));
    await putBoot(db, place, boot);
    settled += old.length;
    if (settled >= limit) break;
  }
  return settled;
}

/** Sums up boots not heard of since `before`, none of whose batches is unsettled; gives how many. */
export async function pruneBoots(db: Db, slice: { readonly before: number; readonly limit: number }): Promise<number> {
  const unsettled = db
    .select({ seq: ingestLedger.seq })
    .from(ingestLedger)
    .where(and(eq(ingestLedger.instance, ingestBoots.instance), eq(ingestLedger.boot, ingestBoots.boot)));
  const ended = await db
    .select()
    .from(ingestBoots)
    .where(and(lt(ingestBoots.lastAt, slice.before), not(isSumOfEnded), notExists(unsettled)))
    .orderBy(asc(ingestBoots.lastAt))
    .limit(slice.limit);
  const sum = await findBoot(db, ENDED_BOOTS);
  const [first, ...rest] = sum ? [sum, ...ended] : ended;
  if (!first || ended.length === 0) return 0;
  await putBoot(db, ENDED_BOOTS, foldEnded([first, ...rest]));
  const places = ended.map(({ instance, boot }) => sql`(${instance}, ${boot})`);
  await db.delete(ingestBoots).where(inArray(sql`(${ingestBoots.instance}, ${ingestBoots.boot})`, places));
  return ended.length;
}

async function findBoot(db: Db, place: Boot) {
  const [boot] = await db.select().from(ingestBoots).where(isOf(ingestBoots, place));
  return boot;
}

async function putBoot(db: Db, { instance, boot }: Boot, totals: BootTotals): Promise<void> {
  const { seq, recorded, dropped, points, batches, firstAt, lastAt, lost } = totals;
  const { settledSeq, settledCarried, settledWindowStart, settledWindowEnd } = totals;
  const mark = { settledSeq, settledCarried, settledWindowStart, settledWindowEnd };
  const set = { seq, recorded, dropped, points, batches, firstAt, lastAt, lost, ...mark };
  await db
    .insert(ingestBoots)
    .values({ instance, boot, ...set })
    .onConflictDoUpdate({ target: [ingestBoots.instance, ingestBoots.boot], set });
}

/** A statement has at most 65,535 parameters. */
const GAPS_AT_ONCE = 1_000;

async function insertGaps(db: Db, { instance, boot }: Boot, gaps: readonly Gap[]): Promise<void> {
  for (let at = 0; at < gaps.length; at += GAPS_AT_ONCE) {
    const some = gaps.slice(at, at + GAPS_AT_ONCE);
    await db.insert(ingestGaps).values(some.map((gap) => ({ ...gap, instance, boot })));
  }
}

export async function pruneGaps(db: Db, slice: { readonly before: number; readonly limit: number }): Promise<number> {
  const { instance, boot, firstSeq, windowEnd } = ingestGaps;
  const oldest = db
    .select({ instance, boot, firstSeq })
    .from(ingestGaps)
    .where(lt(windowEnd, slice.before))
    .orderBy(asc(windowEnd))
    .limit(slice.limit);
  return (await db.delete(ingestGaps).where(inArray(sql`(${instance}, ${boot}, ${firstSeq})`, oldest))).rowCount ?? 0;
}

function isOf(table: typeof ingestLedger | typeof ingestBoots | typeof ingestGaps, { instance, boot }: Boot) {
  return and(eq(table.instance, instance), eq(table.boot, boot));
}

const isSumOfEnded = sql`(${ingestBoots.instance} = ${ENDED_BOOTS.instance} and ${ingestBoots.boot} = ${ENDED_BOOTS.boot})`;

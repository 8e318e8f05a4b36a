/** What the ledger sums for one life of one process, and how it changes: a batch more, a mark that moves, an end. Pure. */
import { ParamedicError } from "../../shared/errors.js";
import { type Batch, batchId } from "../../shared/series.js";
import { DAY_MS } from "../../shared/units.js";
import {
  type BatchMark,
  closeGap,
  type Gap,
  type LedgerBatch,
  ledgerBatchOf,
  moveMark,
  NO_MARK,
  pointsOf,
  sumOf,
} from "./batch-marks.js";

/** Where those are summed up that ended long ago; a live process has a name. */
export const ENDED_BOOTS = Object.freeze({ instance: "", boot: "" });

export interface BootTotals extends BatchMark {
  readonly seq: number;
  readonly recorded: number;
  readonly dropped: Readonly<Record<string, number>>;
  readonly points: number;
  readonly batches: number;
  readonly lost: number;
  readonly firstAt: number;
  readonly lastAt: number;
}

/** One more batch: the newest one's cumulative counts hold, whatever order they come in. */
export function foldBoot(known: BootTotals | undefined, batch: Batch, points: number, now: number): BootTotals {
  const { seq, recordedTotal, droppedTotal } = batch;
  const newest = !known || seq > known.seq ? { seq, recorded: recordedTotal, dropped: droppedTotal } : known;
  return {
    ...(known ?? { ...NO_MARK, lost: 0, firstAt: now }),
    seq: newest.seq,
    recorded: newest.recorded,
    dropped: newest.dropped,
    points: (known?.points ?? 0) + points,
    batches: (known?.batches ?? 0) + 1,
    // A process whose clock is behind does not make a boot look as if it had ended.
    lastAt: Math.max(known?.lastAt ?? now, now),
  };
}

/** Moves the mark of a boot over batches of its ledger. */
export function settleBoot<T extends BootTotals>(
  boot: T,
  batches: readonly LedgerBatch[],
): { readonly boot: T; readonly gaps: readonly Gap[] } {
  const { mark, gaps } = moveMark(boot, batches);
  return { boot: { ...boot, ...mark, lost: boot.lost + pointsOf(gaps) }, gaps };
}

/** Folds a batch that was thought to be lost, and says what is left of its gap. */
export function foldLate(
  known: BootTotals,
  gap: Gap,
  batch: Batch,
  points: number,
  now: number,
): { readonly boot: BootTotals; readonly left: readonly Gap[] } {
  const left = closeGap(gap, ledgerBatchOf(batch, points));
  const boot = foldBoot(known, batch, points, now);
  return { boot: { ...boot, lost: boot.lost + pointsOf(left) - gap.points }, left };
}

/** The entry of the ledger that has no name, with more boots in it. They have ended, so what they miss is lost. */
export function foldEnded(boots: readonly [BootTotals, ...BootTotals[]]): BootTotals {
  const counts = new Map<string, number>();
  for (const boot of boots) {
    for (const [reason, count] of Object.entries(boot.dropped)) counts.set(reason, (counts.get(reason) ?? 0) + count);
  }
  const dropped = Object.fromEntries(counts);
  const total = (read: (boot: BootTotals) => number) => boots.reduce((sum, boot) => sum + read(boot), 0);
  const recorded = total((boot) => boot.recorded);
  const points = total((boot) => boot.points);
  return {
    ...NO_MARK,
    seq: 0,
    recorded,
    dropped,
    points,
    batches: total((boot) => boot.batches),
    lost: Math.max(0, recorded - sumOf(dropped) - points),
    firstAt: Math.min(...boots.map((boot) => boot.firstAt)),
    lastAt: Math.max(...boots.map((boot) => boot.lastAt)),
  };
}

/** A live process is heard of each day, and clocks differ: a window this long after the last forgotten boot is a new one's. */
const FORGOTTEN_MARGIN_MS = DAY_MS;

/**
 * Refuses a batch of an unknown boot when it may be one of those that are forgotten.
 *
 * @param forgottenUntil when the last of the forgotten boots was heard of; undefined when there are none
 * @throws ParamedicError STORE_REQUEST_INVALID
 */
export function refuseForgotten(batch: Batch, forgottenUntil: number | undefined): void {
  if (forgottenUntil === undefined || batch.windowEnd > forgottenUntil + FORGOTTEN_MARGIN_MS) return;
  throw new ParamedicError(
    "STORE_REQUEST_INVALID",
    `the batch ${batchId(batch)} is older than the processes that the ledger remembers: nobody can tell whether it was folded before, so it is not; check the clock of ${batch.instance} if it runs`,
  );
}

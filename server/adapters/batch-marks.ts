/**
 * Which batches of a boot are folded, in a few numbers: up to its mark each is folded unless it is in a gap; above it the
 * ledger names those that are. So rows of the ledger can go, and a batch that comes late is still told from one that comes
 * twice. Pure.
 */
import type { Batch } from "../../shared/series.js";

/** The batch at the mark; `settledSeq` is 0 before there is one. */
export interface BatchMark {
  readonly settledSeq: number;
  readonly settledCarried: number;
  readonly settledWindowStart: number;
  readonly settledWindowEnd: number;
}

export const NO_MARK: BatchMark = Object.freeze({
  settledSeq: 0,
  settledCarried: 0,
  settledWindowStart: 0,
  settledWindowEnd: 0,
});

/** What the ledger keeps of a batch. */
export interface LedgerBatch {
  readonly seq: number;
  readonly windowStart: number;
  readonly windowEnd: number;
  readonly points: number;
  /** Points of all batches of its boot up to this one. */
  readonly carried: number;
}

export interface Gap {
  readonly firstSeq: number;
  readonly lastSeq: number;
  readonly windowStart: number;
  readonly windowEnd: number;
  readonly points: number;
  /** Points of all batches of its boot before the gap. */
  readonly carriedBefore: number;
}

export function ledgerBatchOf(batch: Batch, points: number): LedgerBatch {
  const { seq, windowStart, windowEnd, recordedTotal, droppedTotal } = batch;
  return { seq, windowStart, windowEnd, points, carried: Math.max(0, recordedTotal - sumOf(droppedTotal)) };
}

export function sumOf(counts: Readonly<Record<string, number>>): number {
  return Object.values(counts).reduce((sum, count) => sum + count, 0);
}

export function pointsOf(gaps: readonly Gap[]): number {
  return gaps.reduce((sum, { points }) => sum + points, 0);
}

/**
 * Moves the mark over batches, and makes a gap of each hole before one of them.
 *
 * @param batches above the mark, by their number, and none missing between them that the ledger has
 */
export function moveMark(
  mark: BatchMark,
  batches: readonly LedgerBatch[],
): { readonly mark: BatchMark; readonly gaps: readonly Gap[] } {
  const gaps: Gap[] = [];
  let at = mark;
  for (const batch of batches) {
    if (batch.seq > at.settledSeq + 1) gaps.push(gapBetween(at, batch));
    at = {
      settledSeq: batch.seq,
      settledCarried: batch.carried,
      settledWindowStart: batch.windowStart,
      settledWindowEnd: batch.windowEnd,
    };
  }
  return { mark: at, gaps };
}

function gapBetween(before: BatchMark, after: LedgerBatch): Gap {
  const isFirst = before.settledSeq === 0;
  return {
    firstSeq: before.settledSeq + 1,
    lastSeq: after.seq - 1,
    // Several batches share a window, so a missing one may be of the window before as well as of the one after.
    windowStart: isFirst ? after.windowStart : Math.min(before.settledWindowStart, after.windowStart),
    windowEnd: isFirst ? after.windowEnd : Math.max(before.settledWindowEnd, after.windowEnd),
    points: Math.max(0, after.carried - after.points - before.settledCarried),
    carriedBefore: before.settledCarried,
  };
}

/** What is left of a gap when one of its batches has come after all: nothing, or one gap or two. Their points add up. */
export function closeGap(gap: Gap, batch: LedgerBatch): readonly Gap[] {
  const missing = Math.max(0, gap.points - batch.points);
  const missingBefore = Math.min(missing, Math.max(0, batch.carried - batch.points - gap.carriedBefore));
  const left: Gap = {
    ...gap,
    lastSeq: batch.seq - 1,
    windowEnd: Math.min(gap.windowEnd, Math.max(gap.windowStart, batch.windowEnd)),
    points: batch.seq === gap.lastSeq ? missing : missingBefore,
  };
  const right: Gap = {
    ...gap,
    firstSeq: batch.seq + 1,
    windowStart: Math.max(gap.windowStart, Math.min(gap.windowEnd, batch.windowStart)),
    points: batch.seq === gap.firstSeq ? missing : missing - missingBefore,
    carriedBefore: batch.carried,
  };
  return [left, right].filter(({ firstSeq, lastSeq }) => firstSeq <= lastSeq);
}

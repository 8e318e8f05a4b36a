/** The ledger in plain maps: counts each batch once, with the marks and gaps that every store keeps. */
import { type Batch, type BatchGap, pointsIn } from "../../../shared/series.js";
import type { LedgerEntry, RollupStore } from "../../ports/store.js";
import { type Gap, type LedgerBatch, ledgerBatchOf } from "../batch-marks.js";
import {
  type BootTotals,
  ENDED_BOOTS,
  foldBoot,
  foldEnded,
  foldLate,
  refuseForgotten,
  settleBoot,
} from "../boot-totals.js";
import type { Slice } from "./memory-rows.js";

export interface MemoryLedger {
  /** `false` when the batch was counted before. */
  add(batch: Batch, now: number): boolean;
  settle(slice: Slice): number;
  pruneBoots(slice: Slice): number;
  pruneGaps(slice: Slice): number;
  entries(): readonly LedgerEntry[];
  gaps(query: Parameters<RollupStore["listGaps"]>[0]): readonly BatchGap[];
}

interface KeptBoot {
  readonly instance: string;
  readonly boot: string;
  totals: BootTotals;
  /** By number; a number above the mark has its row here, if it was folded. */
  readonly batches: Map<number, LedgerBatch & { readonly committedAt: number }>;
  gaps: readonly Gap[];
}

/** @param capacity batches with a row of their own; beyond it the mark moves over the oldest of them */
export function createMemoryLedger(capacity: number): MemoryLedger {
  const boots = new Map<string, KeptBoot>();
  /** Gaps of boots that are summed up. */
  let endedGaps: readonly BatchGap[] = [];
  let rows = 0;

  const keyOf = ({ instance, boot }: { readonly instance: string; readonly boot: string }) =>
    JSON.stringify([instance, boot]);
  const endedKey = keyOf(ENDED_BOOTS);
  const isNamed = (kept: KeptBoot) => keyOf(kept) !== endedKey;

  /** Moves the mark of a boot over its rows, in their order, up to the first that is not old. */
  const settleRows = (kept: KeptBoot, isOld: (row: { readonly committedAt: number }) => boolean, limit: number) => {
    const inOrder = [...kept.batches.values()].sort((a, b) => a.seq - b.seq).slice(0, limit);
    const recent = inOrder.findIndex((row) => !isOld(row));
    const old = recent < 0 ? inOrder : inOrder.slice(0, recent);
    const { boot, gaps } = settleBoot(kept.totals, old);
    kept.totals = boot;
    kept.gaps = [...kept.gaps, ...gaps];
    for (const { seq } of old) kept.batches.delete(seq);
    rows -= old.length;
    return old.length;
  };

  /** For a tenth of the capacity, so that rows are not put in order for each batch. */
  const makeRoom = () => {
    const room = Math.floor(capacity * 0.9);
    for (const kept of boots.values()) {
      if (rows <= room) return;
      settleRows(kept, () => true, rows - room);
    }
  };

  const addLate = (kept: KeptBoot, batch: Batch, now: number): boolean => {
    const gap = kept.gaps.find(({ firstSeq, lastSeq }) => firstSeq <= batch.seq && batch.seq <= lastSeq);
    if (!gap) return false;
    const late = foldLate(kept.totals, gap, batch, pointsIn(batch), now);
    kept.totals = late.boot;
    kept.gaps = [...kept.gaps.filter((other) => other !== gap), ...late.left];
    return true;
  };

  const allGaps = (): BatchGap[] => [...endedGaps, ...[...boots.values()].flatMap(gapsOf)];

  return {
    add(batch, now) {
      const { instance, boot } = batch;
      const key = keyOf(batch);
      const known = boots.get(key);
      if (known && batch.seq <= known.totals.settledSeq) return addLate(known, batch, now);
      if (known?.batches.has(batch.seq)) return false;
      if (!known) refuseForgotten(batch, boots.get(endedKey)?.totals.lastAt);
      const points = pointsIn(batch);
      const totals = foldBoot(known?.totals, batch, points, now);
      const kept = known ?? { instance, boot, totals, batches: new Map(), gaps: [] };
      kept.totals = totals;
      kept.batches.set(batch.seq, { ...ledgerBatchOf(batch, points), committedAt: now });
      boots.set(key, kept);
      rows += 1;
      if (rows > capacity) makeRoom();
      return true;
    },

    settle({ before, limit }) {
      let settled = 0;
      for (const kept of boots.values()) {
        if (settled >= limit) break;
        settled += settleRows(kept, ({ committedAt }) => committedAt < before, limit - settled);
      }
      return settled;
    },

    pruneBoots({ before, limit }) {
      const ended = [...boots.values()]
        .filter((kept) => isNamed(kept) && kept.totals.lastAt < before && kept.batches.size === 0)
        .sort((a, b) => a.totals.lastAt - b.totals.lastAt)
        .slice(0, limit);
      const sum = boots.get(endedKey);
      const [first, ...rest] = sum ? [sum, ...ended] : ended;
      if (!first || ended.length === 0) return 0;
      const totals = foldEnded([first.totals, ...rest.map((kept) => kept.totals)]);
      endedGaps = [...endedGaps, ...ended.flatMap(gapsOf)];
      for (const kept of ended) boots.delete(keyOf(kept));
      boots.set(endedKey, { ...ENDED_BOOTS, totals, batches: new Map(), gaps: [] });
      return ended.length;
    },

    pruneGaps({ before, limit }) {
      const old = allGaps()
        .filter(({ to }) => to < before)
        .sort((a, b) => a.to - b.to)
        .slice(0, limit);
      const placeOf = (gap: Pick<BatchGap, "instance" | "boot" | "firstSeq">) => `${gap.firstSeq} ${keyOf(gap)}`;
      const gone = new Set(old.map(placeOf));
      endedGaps = endedGaps.filter((gap) => !gone.has(placeOf(gap)));
      for (const kept of boots.values()) {
        kept.gaps = kept.gaps.filter(({ firstSeq }) => !gone.has(placeOf({ ...kept, firstSeq })));
      }
      return old.length;
    },

    entries: () =>
      [...boots.values()]
        .sort((a, b) => a.totals.firstAt - b.totals.firstAt)
        .map(({ instance, boot, totals: { recorded, dropped, points, batches, lost, lastAt } }) => ({
          instance,
          boot,
          recorded,
          dropped,
          rolledUp: points,
          batches,
          lost,
          lastAt,
        })),

    gaps: ({ from, to, limit }) =>
      allGaps()
        .filter((gap) => (to === undefined || gap.from < to) && (from === undefined || gap.to >= from))
        .sort((a, b) => b.to - a.to)
        .slice(0, limit),
  };
}

function gapsOf({ instance, boot, gaps }: KeptBoot): readonly BatchGap[] {
  return gaps.map(({ firstSeq, lastSeq, windowStart, windowEnd, points }) => ({
    instance,
    boot,
    firstSeq,
    lastSeq,
    from: windowStart,
    to: windowEnd,
    points,
  }));
}

/** Rollups in maps, by series, resolution and bucket: batches fold into them, and they into coarser ones. */
import { bucketStart, coarserThan, RESOLUTIONS_MS } from "../../../shared/resolutions.js";
import { type SeriesDescriptor, seriesKey } from "../../../shared/series.js";
import type { Clock } from "../../ports/clock.js";
import type { CompactionStore, RollupSlice, RollupStore } from "../../ports/store.js";
import { commitEntry } from "../commit-entry.js";
import { bucketOf, foldRollup, ROLLUP_RESOLUTION_MS, type Rollup } from "../folding.js";
import { checkLimit } from "../page-cursor.js";
import { checkPrunable, checkSlice, compactedInto, foldUp } from "../rollup-slices.js";
import { canonicalTags } from "../series-steps.js";
import { createMemoryLedger } from "./memory-ledger.js";
import { forgetOldest, prune, type Slice } from "./memory-rows.js";

export interface KeptRollup {
  readonly rollup: Rollup;
  /** In the row of the next coarser resolution too. */
  readonly compacted: boolean;
}

export interface KeptSeries {
  readonly descriptor: SeriesDescriptor;
  /** By resolution, then by start of the bucket. */
  readonly levels: ReadonlyMap<number, Map<number, KeptRollup>>;
}

export interface MemoryRollups {
  readonly store: RollupStore & Pick<CompactionStore, "settleBatches" | "compactRollups" | "pruneRollups">;
  series(): Iterable<KeptSeries>;
  /** Since when each resolution is whole; one that is not named always was. */
  readonly keptFrom: ReadonlyMap<number, number>;
  pruneDeadBatches(slice: Slice): number;
  pruneGaps(slice: Slice): number;
  pruneBoots(slice: Slice): number;
}

export interface MemoryRollupsOptions {
  readonly capacity: number;
  readonly bucketsPerSeries: number;
}

export function createMemoryRollups(
  { clock }: { readonly clock: Clock },
  { capacity, bucketsPerSeries }: MemoryRollupsOptions,
): MemoryRollups {
  const series = new Map<string, KeptSeries>();
  const keptFrom = new Map<number, number>();
  const ledger = createMemoryLedger(capacity);
  const deadBatches = new Map<string, { readonly reason: string; readonly payload: string; readonly at: number }>();

  /** Adds to a row, and if that is compacted, to the one above it, and so on. */
  const foldInto = (kept: KeptSeries, resolutionMs: number, bucket: number, rollup: Rollup): void => {
    const level = kept.levels.get(resolutionMs);
    if (!level) return;
    const before = level.get(bucket);
    level.set(bucket, {
      rollup: before ? foldRollup(before.rollup, rollup, rollup.lastAt) : rollup,
      compacted: before?.compacted ?? false,
    });
    forgetOldest(level, bucketsPerSeries);
    const coarser = coarserThan(resolutionMs);
    if (before?.compacted && coarser !== undefined) foldInto(kept, coarser, bucketStart(bucket, coarser), rollup);
  };

  const slicedRows = ({ resolutionMs, before, limit }: RollupSlice, matches: (row: KeptRollup) => boolean) =>
    [...series.values()]
      .flatMap((kept) =>
        [...(kept.levels.get(resolutionMs) ?? [])]
          .filter(([bucket, row]) => bucket < before && matches(row))
          .map(([bucket, { rollup }]) => ({ ...rollup, seriesId: kept, bucket })),
      )
      .slice(0, limit);

  const commitBatch: RollupStore["commitBatch"] = async (batch) => {
    if (!ledger.add(batch, clock.now())) return false;
    const bucket = bucketOf(batch.windowEnd);
    for (const one of batch.series) {
      const { metricType, metricName, kind, unit, source, tags, count, sum, min, max, last, buckets } = one;
      const descriptor = { metricType, metricName, kind, unit, source, tags };
      const key = seriesKey(descriptor);
      const kept = series.get(key) ?? { descriptor, levels: emptyLevels() };
      series.set(key, kept);
      foldInto(kept, ROLLUP_RESOLUTION_MS, bucket, { count, sum, min, max, last, buckets, lastAt: batch.windowEnd });
    }
    return true;
  };

  return {
    series: () => series.values(),
    keptFrom,
    store: {
      commitBatch,
      commitEntry: (fields) => commitEntry(fields, commitBatch),
      async saveDeadBatch({ entryId, reason, payload, at }) {
        if (!deadBatches.has(entryId)) deadBatches.set(entryId, { reason, payload, at });
        forgetOldest(deadBatches, capacity);
      },
      async listSeries({ metricName, limit }) {
        return [...series.values()]
          .filter(({ descriptor }) => metricName === undefined || descriptor.metricName === metricName)
          .map(({ descriptor }) => ({ descriptor, place: placeOf(descriptor) }))
          .sort((a, b) => (a.place < b.place ? -1 : 1))
          .slice(0, checkLimit(limit))
          .map(({ descriptor }) => descriptor);
      },
      async ledger() {
        return ledger.entries();
      },
      async listGaps(query) {
        return ledger.gaps({ ...query, limit: checkLimit(query.limit) });
      },
      async settleBatches(slice) {
        return ledger.settle(checkSlice(slice));
      },
      async compactRollups(slice) {
        const coarser = compactedInto(checkSlice(slice));
        const pending = slicedRows(slice, ({ compacted }) => !compacted);
        for (const { seriesId, bucket, rollup } of foldUp(pending, coarser)) {
          foldInto(seriesId, coarser, bucket, rollup);
        }
        for (const { seriesId, bucket } of pending) {
          const level = seriesId.levels.get(slice.resolutionMs);
          const kept = level?.get(bucket);
          if (kept) level?.set(bucket, { ...kept, compacted: true });
        }
        return pending.length;
      },
      async pruneRollups(slice) {
        const { resolutionMs, before } = checkPrunable(slice);
        const isCoarsest = coarserThan(resolutionMs) === undefined;
        if (!isCoarsest) keptFrom.set(resolutionMs, Math.max(keptFrom.get(resolutionMs) ?? before, before));
        const old = slicedRows(slice, ({ compacted }) => isCoarsest || compacted);
        for (const { seriesId, bucket } of old) seriesId.levels.get(resolutionMs)?.delete(bucket);
        return old.length;
      },
    },
    pruneDeadBatches: ({ before, limit }) => prune(deadBatches, limit, ({ at }) => at < before),
    pruneGaps: (slice) => ledger.pruneGaps(slice),
    pruneBoots: (slice) => ledger.pruneBoots(slice),
  };
}

/** By name, then by what else identifies a series; tags in one order. */
function placeOf({ metricName, metricType, source, tags }: SeriesDescriptor): string {
  return [metricName, metricType, source, JSON.stringify(canonicalTags(tags))].join("\u0000");
}

function emptyLevels(): KeptSeries["levels"] {
  return new Map(RESOLUTIONS_MS.map((resolutionMs) => [resolutionMs, new Map()]));
}

/**
 * Looks at every batch that is folded for what cannot be: the invariants that one batch, or two of one boot, can break. A
 * broken one is a fault of ours, or of a stranger who writes into our stream; the batch is folded all the same.
 */
import type { BatchOutline } from "../../shared/batch-outline.js";
import { brokenInvariant } from "../../shared/errors.js";
import { batchId } from "../../shared/series.js";

export interface BatchWatch {
  see(batch: BatchOutline): void;
}

/** An invariant, and what breaks it. */
type Problem = readonly [id: string, what: string];

/** Boots that are remembered; the one not heard of for longest is forgotten. */
const REMEMBERED_BOOTS = 1_000;

export function createBatchWatch({
  onFault,
}: {
  readonly onFault?: ((error: unknown) => void) | undefined;
}): BatchWatch {
  const newest = new Map<string, BatchOutline>();

  const against = (batch: BatchOutline, known: BatchOutline): Problem | undefined => {
    const [earlier, later] = batch.seq < known.seq ? [batch, known] : [known, batch];
    if (batch.seq === known.seq) {
      return batch.recordedTotal === known.recordedTotal && batch.points === known.points
        ? undefined
        : ["I2", `${batchId(batch)} came twice with different content`];
    }
    if (later.recordedTotal - later.points < earlier.recordedTotal) {
      const before = `${batchId(earlier)} before it ${earlier.recordedTotal}`;
      return ["I1", `${batchId(later)} says ${later.recordedTotal} points were recorded, ${before}`];
    }
    const fewer = Object.entries(earlier.droppedTotal).find(
      ([reason, count]) => (later.droppedTotal[reason] ?? 0) < count,
    );
    if (!fewer) return undefined;
    const [reason] = fewer;
    return ["I3", `${batchId(later)} says fewer points were dropped as ${reason} than ${batchId(earlier)} before it`];
  };

  return {
    see(batch) {
      const boot = JSON.stringify([batch.instance, batch.boot]);
      const known = newest.get(boot);
      const problem = alone(batch) ?? (known && against(batch, known));
      if (problem) onFault?.(brokenInvariant(...problem));
      newest.delete(boot);
      newest.set(boot, known !== undefined && known.seq > batch.seq ? known : batch);
      const [oldest] = newest.keys();
      if (newest.size > REMEMBERED_BOOTS && oldest !== undefined) newest.delete(oldest);
    },
  };
}

function alone(batch: BatchOutline): Problem | undefined {
  const { points, droppedTotal, recordedTotal, oddSeries } = batch;
  const dropped = Object.values(droppedTotal).reduce((sum, count) => sum + count, 0);
  if (points + dropped > recordedTotal) return ["I1", `${batchId(batch)} has more points than its boot recorded`];
  if (oddSeries === undefined) return undefined;
  return ["I4", `${batchId(batch)} has a sum or a last value of ${oddSeries} that its count, min and max do not allow`];
}

/** What the invariants of a batch ask for, without its series: small enough to hand from thread to thread. */
import { type Batch, pointsIn, type SeriesSummary } from "./series.js";

export interface BatchOutline extends Pick<Batch, "instance" | "boot" | "seq" | "recordedTotal" | "droppedTotal"> {
  /** Points that it carries. */
  readonly points: number;
  /** I4: a series whose sum or last value its count, min and max do not allow. */
  readonly oddSeries: string | undefined;
}

export function outlineOf(batch: Batch): BatchOutline {
  const { instance, boot, seq, recordedTotal, droppedTotal, series } = batch;
  const odd = series.find((one) => !isPossible(one));
  return {
    instance,
    boot,
    seq,
    recordedTotal,
    droppedTotal,
    points: pointsIn(batch),
    oddSeries: odd?.metricName,
  };
}

/** Sums are floats: what they may be off by, as a share of the largest they could be. */
const TOLERANCE = 1e-6;

/** That buckets hold as many points as count says is checked when a batch is read. */
function isPossible({ count, sum, min, max, last }: SeriesSummary): boolean {
  if (last < min || last > max) return false;
  const [least, most] = [count * min, count * max];
  const slack = TOLERANCE * Math.max(Math.abs(least), Math.abs(most));
  // A sum that outgrows a float stays at the largest one.
  return !Number.isFinite(slack) || (sum >= least - slack && sum <= most + slack);
}

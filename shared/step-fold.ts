/** Adds rollups up into steps of time, in whatever order they are read. */
import { HistogramRecorder } from "./histogram.js";
import { bucketStart } from "./resolutions.js";
import { seriesPoint } from "./rollup.js";
import type { MergedSummary, SeriesPoint } from "./series.js";
import { SummaryFold, type SummaryPart } from "./summary-fold.js";

export interface StepSummary extends MergedSummary {
  /** Start of the step, UTC milliseconds. */
  readonly timestamp: number;
}

export interface StepFold {
  /** @param time any moment of the step that it counts in, UTC milliseconds */
  add(time: number, part: SummaryPart): void;
  /** The first steps that hold anything, oldest first. The fold is spent then. */
  take(): readonly StepSummary[];
}

/**
 * @param limit steps at most; the latest go first, so memory does not grow with the range
 * @example
 * const fold = createStepFold({ stepMs: 60_000, limit: 2_000 });
 * for (const { bucket, ...rollup } of rows) fold.add(bucket, rollup);
 * fold.take().map(pointOf);
 */
export function createStepFold({ stepMs, limit }: { readonly stepMs: number; readonly limit: number }): StepFold {
  const steps = new Map<number, SummaryFold>();

  const firstSteps = () => [...steps].sort(([a], [b]) => a - b).slice(0, limit);
  const forgetLater = () => {
    const kept = firstSteps();
    steps.clear();
    for (const [start, fold] of kept) steps.set(start, fold);
  };

  return {
    add(time, part) {
      const start = bucketStart(time, stepMs);
      let fold = steps.get(start);
      if (fold === undefined) {
        if (steps.size >= 2 * limit) forgetLater();
        fold = new SummaryFold();
        steps.set(start, fold);
      }
      fold.add(part);
    },
    take() {
      const room = new HistogramRecorder();
      return firstSteps().map(([timestamp, fold]) => {
        const { count, sum, min, max, buckets } = fold.take(room);
        return { timestamp, count, sum, min, max, buckets };
      });
    },
  };
}

export function pointOf(step: StepSummary): SeriesPoint {
  return seriesPoint(step.timestamp, step);
}

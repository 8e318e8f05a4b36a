/** What ranges of rollups in maps say: steps, heat maps, and the procedures at the top. */
import { heatMapOf } from "../../../shared/heat-map.js";
import { stretchesOf } from "../../../shared/resolutions.js";
import { createStepFold, pointOf, type StepSummary } from "../../../shared/step-fold.js";
import { createProcedureFold } from "../../../shared/top-procedures.js";
import { DAY_MS } from "../../../shared/units.js";
import type { RangeStore, SeriesQuery } from "../../ports/store.js";
import type { Rollup } from "../folding.js";
import { checkLimit } from "../page-cursor.js";
import { passesOf, type Range } from "../range-plan.js";
import { carriesTags, checkBands, checkStep } from "../series-steps.js";
import type { KeptSeries, MemoryRollups } from "./memory-rollups.js";

export function createMemoryRanges({ series, keptFrom }: Pick<MemoryRollups, "series" | "keptFrom">): RangeStore {
  const rollupsIn = (kept: KeptSeries, range: Range): { bucket: number; rollup: Rollup }[] =>
    passesOf(range, keptFrom).flatMap(({ resolutionMs, from, to, onlyPending }) =>
      [...(kept.levels.get(resolutionMs) ?? [])]
        .filter(([bucket, { compacted }]) => bucket >= from && bucket < to && !(onlyPending && compacted))
        .map(([bucket, { rollup }]) => ({ bucket, rollup })),
    );

  const readSteps = ({ metricName, tags, stepMs, limit, ...range }: SeriesQuery): readonly StepSummary[] => {
    const fold = createStepFold({ stepMs: checkStep(stepMs), limit: checkLimit(limit) });
    for (const kept of series()) {
      if (kept.descriptor.metricName !== metricName || !carriesTags(kept.descriptor.tags, tags)) continue;
      for (const { bucket, rollup } of rollupsIn(kept, { ...range, stepMs })) fold.add(bucket, rollup);
    }
    return fold.take();
  };

  return {
    async readMetric(metricName) {
      const found = [...series()].filter(({ descriptor }) => descriptor.metricName === metricName);
      const [first] = found;
      return first && { kind: first.descriptor.kind, unit: first.descriptor.unit, series: found.length };
    },
    async readSeries(query) {
      return readSteps(query).map(pointOf);
    },
    async readHeatMap({ mostBands, ...query }) {
      return heatMapOf(readSteps(query), checkBands(mostBands));
    },
    async readTopProcedures({ from, to, by, limit }) {
      const most = checkLimit(limit);
      const fold = createProcedureFold();
      for (const kept of series()) {
        if (kept.descriptor.metricType !== "operation") continue;
        for (const { rollup } of rollupsIn(kept, { from, to, stepMs: DAY_MS })) fold.add(kept.descriptor, rollup);
      }
      return fold.top(by, most);
    },
    async readStretches(range) {
      return stretchesOf({ ...range, stepMs: checkStep(range.stepMs) }, keptFrom);
    },
  };
}

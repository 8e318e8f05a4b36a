/** Metrics: which there are, how one went over a range, which procedures stand out, and the accounting of law 5. */
import { stepFor, type TimeRange, widened } from "../../shared/range-steps.js";
import type { Accounting } from "../../shared/series.js";
import { DAY_MS } from "../../shared/units.js";
import type { RangeStore, RollupStore } from "../ports/store.js";
import {
  heatMapInput,
  listInput,
  MOST_HEAT_MAP_STEPS,
  MOST_POINTS,
  seriesInput,
  topProceduresInput,
} from "./metric-inputs.js";
import { type createProcedures, router } from "./procedures.js";

/** An answer names so many gaps, the latest. */
const MOST_GAPS = 1_000;

export function createMetricsRouter(
  { read }: ReturnType<typeof createProcedures>,
  deps: { readonly store: RollupStore & RangeStore; readonly accounting: () => Promise<Accounting> },
) {
  const { store } = deps;

  /** What is known of a metric, and the step in which a range of it is told unless another one is asked for. */
  const inSteps = async (input: TimeRange & { metricName: string; stepMs?: number | undefined }) => {
    const metric = await store.readMetric(input.metricName);
    return { metric, stepMs: input.stepMs ?? stepFor(input, metric?.series ?? 0) };
  };

  /**
   * What is missing in a range, the latest first: batches that an instance sent and that never came. Their points are of all
   * metrics, because nobody knows which they were. Batches that may still come are not called lost yet.
   */
  const lostIn = async ({ from, to }: TimeRange) => {
    const gaps = await store.listGaps({ from, to, limit: MOST_GAPS });
    return gaps
      .filter(({ points }) => points > 0)
      .map(({ instance, points, ...gap }) => ({ instance, from: gap.from, to: gap.to, points }));
  };

  return router({
    list: read.input(listInput).query(({ input }) => store.listSeries(input)),

    /**
     * One metric, its series merged: oldest first, `from` included, `to` excluded. `unit` is of sum, min, max and the
     * percentiles; `resolutions` says of which stored rows each part was read: a step is never finer than those. `lost` says
     * where points are missing, so that a dip can be told from a loss.
     */
    series: read.input(seriesInput).query(async ({ input }) => {
      const { metric, stepMs } = await inSteps(input);
      const { metricName, from, to } = input;
      const [points, resolutions, lost] = await Promise.all([
        store.readSeries({ ...input, stepMs, limit: MOST_POINTS }),
        store.readStretches({ from, to, stepMs }),
        lostIn(input),
      ]);
      return { metricName, kind: metric?.kind, unit: metric?.unit, from, to, stepMs, resolutions, points, lost };
    }),

    /**
     * How often which values of a histogram were seen, by time: `counts` has a number for each of `bands`, whose bounds are in
     * `unit`. Steps without points are left out.
     */
    heatMap: read.input(heatMapInput).query(async ({ input }) => {
      const { metric, stepMs } = await inSteps(input);
      const { metricName, from, to } = input;
      const [map, resolutions, lost] = await Promise.all([
        store.readHeatMap({ ...input, stepMs, limit: MOST_HEAT_MAP_STEPS }),
        store.readStretches({ from, to, stepMs }),
        lostIn(input),
      ]);
      return { metricName, unit: metric?.unit, from, to, stepMs, resolutions, ...map, lost };
    }),

    /**
     * The procedures that come first, by `calls`, by `errors` (server errors and timeouts) or by `latency` (the 95th
     * percentile). The range is widened by less than a twentieth at either end: `from` and `to` say what was added up.
     */
    topProcedures: read.input(topProceduresInput).query(async ({ input: { by, limit, ...asked } }) => {
      const range = widened(asked);
      const [procedures, resolutions, lost] = await Promise.all([
        store.readTopProcedures({ ...range, by, limit }),
        store.readStretches({ ...range, stepMs: DAY_MS }),
        lostIn(range),
      ]);
      return { by, ...range, resolutions, procedures, lost };
    }),

    accounting: read.query(() => deps.accounting()),
  });
}

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

  return router({
    list: read.input(listInput).query(({ input }) => store.listSeries(input)),

    /**
     * One metric, its series merged: oldest first, `from` included, `to` excluded. `unit` is of sum, min, max and the
     * percentiles; `resolutions` says of which stored rows each part was read: a step is never finer than those.
     */
    series: read.input(seriesInput).query(async ({ input }) => {
      const { metric, stepMs } = await inSteps(input);
      const { metricName, from, to } = input;
      const [points, resolutions] = await Promise.all([
        store.readSeries({ ...input, stepMs, limit: MOST_POINTS }),
        store.readStretches({ from, to, stepMs }),
      ]);
      return { metricName, kind: metric?.kind, unit: metric?.unit, from, to, stepMs, resolutions, points };
    }),

    /**
     * How often which values of a histogram were seen, by time: `counts` has a number for each of `bands`, whose bounds are in
     * `unit`. Steps without points are left out.
     */
    heatMap: read.input(heatMapInput).query(async ({ input }) => {
      const { metric, stepMs } = await inSteps(input);
      const { metricName, from, to } = input;
      const [map, resolutions] = await Promise.all([
        store.readHeatMap({ ...input, stepMs, limit: MOST_HEAT_MAP_STEPS }),
        store.readStretches({ from, to, stepMs }),
      ]);
      return { metricName, unit: metric?.unit, from, to, stepMs, resolutions, ...map };
    }),

    /**
     * The procedures that come first, by `calls`, by `errors` (server errors and timeouts) or by `latency` (the 95th
     * percentile). The range is widened by less than a twentieth at either end: `from` and `to` say what was added up.
     */
    topProcedures: read.input(topProceduresInput).query(async ({ input: { by, limit, ...asked } }) => {
      const range = widened(asked);
      const [procedures, resolutions] = await Promise.all([
        store.readTopProcedures({ ...range, by, limit }),
        store.readStretches({ ...range, stepMs: DAY_MS }),
      ]);
      return { by, ...range, resolutions, procedures };
    }),

    accounting: read.query(() => deps.accounting()),
  });
}

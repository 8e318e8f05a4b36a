/** Metrics: which series there are, one metric over a range with percentiles, and the accounting of law 5. */
import { z } from "zod";
import type { Accounting } from "../../shared/series.js";
import { DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS } from "../../shared/units.js";
import type { RangeStore, RollupStore } from "../ports/store.js";
import { type createProcedures, router } from "./procedures.js";

/** A reader that wants more points than a screen has pixels wants a longer step. */
const MOST_POINTS = 2_000;

const metricName = z.string().min(1).max(300);
const timestamp = z.number().int().min(0).max(8.64e15);

export function createMetricsRouter(
  { read }: ReturnType<typeof createProcedures>,
  deps: { readonly store: RollupStore & RangeStore; readonly accounting: () => Promise<Accounting> },
) {
  return router({
    list: read
      .input(
        z
          .object({ metricName: metricName.optional(), limit: z.number().int().min(1).max(1_000).default(200) })
          .strict()
          .prefault({}),
      )
      .query(({ input }) => deps.store.listSeries(input)),

    /** Oldest first, `from` included, `to` excluded; the step is chosen by the range where none is given. */
    series: read
      .input(
        z
          .object({
            metricName,
            tags: z.record(z.string().max(100), z.string().max(300)).optional(),
            from: timestamp,
            to: timestamp,
            stepMs: z.number().int().multipleOf(RESOLUTION_MS).min(RESOLUTION_MS).max(DAY_MS).optional(),
          })
          .strict()
          .refine(({ from, to }) => from < to, { message: "from must be before to" })
          .refine(({ from, to, stepMs }) => stepMs === undefined || (to - from) / stepMs <= MOST_POINTS, {
            message: `at most ${MOST_POINTS} points: take a longer stepMs`,
          }),
      )
      .query(async ({ input }) => {
        const stepMs = input.stepMs ?? stepFor(input.to - input.from);
        const points = await deps.store.readSeries({ ...input, stepMs, limit: MOST_POINTS });
        return { metricName: input.metricName, stepMs, points };
      }),

    accounting: read.query(() => deps.accounting()),
  });
}

/** The finest that is stored. */
const RESOLUTION_MS = 10 * SECOND_MS;

const STEPS_MS = [RESOLUTION_MS, MINUTE_MS, 10 * MINUTE_MS, HOUR_MS, DAY_MS] as const;

function stepFor(rangeMs: number): number {
  return STEPS_MS.find((stepMs) => rangeMs / stepMs <= 400) ?? DAY_MS;
}

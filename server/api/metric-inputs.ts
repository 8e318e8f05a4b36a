/** What may be asked about metrics, with its limits. */
import { z } from "zod";
import { RESOLUTIONS_MS } from "../../shared/resolutions.js";
import { durationMetricOf, TOP_ORDERS } from "../../shared/top-procedures.js";
import { DAY_MS } from "../../shared/units.js";
import { timestamp } from "./inputs.js";

/** A reader that wants more points than a screen has pixels wants a longer step. */
export const MOST_POINTS = 2_000;
/** Each has a count for every band. */
export const MOST_HEAT_MAP_STEPS = 500;

const MOST_TAGS = 16;

const metricName = z.string().min(1).max(300);

const tags = z
  .record(z.string().max(256), z.string().max(256))
  .refine((given) => Object.keys(given).length <= MOST_TAGS, { message: `at most ${MOST_TAGS} tags` });

/** Its finest is what is stored; without one it is chosen by the range. */
const stepMs = z.number().int().multipleOf(RESOLUTIONS_MS[0]).min(RESOLUTIONS_MS[0]).max(DAY_MS).optional();

interface Stepped {
  readonly from: number;
  readonly to: number;
  readonly stepMs?: number | undefined;
}

const isForward = ({ from, to }: Stepped) => from < to;
const FORWARD = { message: "from must be before to" };

const hasAtMost = (steps: number) => (range: Stepped) =>
  range.stepMs === undefined || (range.to - range.from) / range.stepMs <= steps;
const tooMany = (steps: number) => ({ message: `at most ${steps} steps: take a longer stepMs` });

export const listInput = z
  .object({ metricName: metricName.optional(), limit: z.number().int().min(1).max(1_000).default(200) })
  .strict()
  .prefault({});

export const seriesInput = z
  .object({ metricName, tags: tags.optional(), from: timestamp, to: timestamp, stepMs })
  .strict()
  .refine(isForward, FORWARD)
  .refine(hasAtMost(MOST_POINTS), tooMany(MOST_POINTS));

/** Of a metric, or of a procedure's calls. */
export const heatMapInput = z
  .object({
    metricName: metricName.optional(),
    procedure: z.string().min(1).max(250).optional(),
    tags: tags.optional(),
    from: timestamp,
    to: timestamp,
    stepMs,
    mostBands: z.number().int().min(2).max(64).default(32),
  })
  .strict()
  .refine(isForward, FORWARD)
  .refine(hasAtMost(MOST_HEAT_MAP_STEPS), tooMany(MOST_HEAT_MAP_STEPS))
  .transform(({ procedure, ...input }, context) => {
    const named = procedure === undefined ? input.metricName : durationMetricOf(procedure);
    if (named !== undefined && (procedure === undefined || input.metricName === undefined)) {
      return { ...input, metricName: named };
    }
    context.addIssue({ code: "custom", message: "name a metricName or a procedure, and not both" });
    return z.NEVER;
  });

const LONGEST_TOP_RANGE_MS = 400 * DAY_MS;

export const topProceduresInput = z
  .object({
    from: timestamp,
    to: timestamp,
    by: z.enum(TOP_ORDERS).default("calls"),
    limit: z.number().int().min(1).max(100).default(10),
  })
  .strict()
  .refine(isForward, FORWARD)
  .refine(({ from, to }) => to - from <= LONGEST_TOP_RANGE_MS, {
    message: `at most ${LONGEST_TOP_RANGE_MS / DAY_MS} days`,
  });

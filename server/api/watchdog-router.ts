/** The watchdog, the tasks it watches, what the mode did and is worth, and the service levels. */
import { TRPCError } from "@trpc/server";
import { z } from "zod";
import { MODES } from "../../shared/mode.js";
import { modeReport } from "../../shared/mode-report.js";
import {
  attainmentOf,
  BURN_WINDOWS_MS,
  operationLevels,
  SERVICE_LEVEL_DEFAULTS,
  serviceLevelOf,
  uptimeOf,
} from "../../shared/service-levels.js";
import { TASK_STATUSES } from "../../shared/task.js";
import { DAY_MS, HOUR_MS, MINUTE_MS } from "../../shared/units.js";
import type { Clock } from "../ports/clock.js";
import type { SettingsControl } from "../ports/settings.js";
import type { Store } from "../ports/store.js";
import type { WatchdogControl } from "../ports/watchdog.js";
import { page } from "./inputs.js";
import { type createProcedures, router } from "./procedures.js";

export interface WatchdogRouterDeps {
  readonly clock: Clock;
  readonly store: Pick<
    Store,
    "listTasks" | "countActions" | "sumFailures" | "countAudited" | "getFailure" | "readTopProcedures" | "readSeries"
  >;
  readonly settings: SettingsControl;
  readonly watchdog: WatchdogControl;
}

/** Under which a mark of an operator is in the audit: the audit is where marks are kept. */
const FALSE_ALARM = "failure.false_alarm";

const windowMs = z
  .number()
  .int()
  .min(HOUR_MS)
  .max(90 * DAY_MS);

export function createWatchdogRouter(
  { read, operate }: ReturnType<typeof createProcedures>,
  { clock, store, settings, watchdog }: WatchdogRouterDeps,
) {
  return router({
    /** From memory; `missed` says that the watchdog itself is stuck. */
    state: read.query(() => watchdog.state()),

    /** By their begin, newest first. */
    tasks: read
      .input(
        z
          .object({ name: z.string().min(1).max(150), status: z.enum(TASK_STATUSES) })
          .partial()
          .extend(page.shape)
          .strict()
          .prefault({}),
      )
      .query(({ input }) => store.listTasks(input)),

    /** Runs every check and repairs what fails, within what mode and stop allow. */
    healEverything: operate("heal.everything", () => "everything").mutation(() => watchdog.healEverything()),

    /** What the present mode did or would have done, and whether the next one is earned; of the last 7 days by default. */
    modeReport: read
      .input(
        z
          .object({ windowMs: windowMs.default(7 * DAY_MS) })
          .strict()
          .prefault({}),
      )
      .query(async ({ input }) => {
        const to = clock.now();
        const mode = settings.view().settings.find(({ name }) => name === "mode");
        const modeOf = (value: unknown) => modes.safeParse(value).data ?? "full";
        const since = mode?.stored?.changedAt ?? to - input.windowMs;
        const range = { from: Math.max(since, to - input.windowMs), to: to + 1 };
        const [actions, failures, falseAlarms] = await Promise.all([
          store.countActions(range),
          store.sumFailures(range),
          store.countAudited({ ...range, action: FALSE_ALARM }),
        ]);
        return modeReport({
          mode: modeOf(mode?.value),
          ceiling: modeOf(mode?.ceiling),
          from: range.from,
          to,
          since,
          actions,
          failures: failures.events,
          falseAlarms,
        });
      }),

    /** Marks a failure event as none; the mode's report counts it. */
    markFalseAlarm: operate(FALSE_ALARM, ({ eventId }) => (typeof eventId === "string" ? eventId : ""))
      .input(z.object({ eventId: z.string().min(1).max(100) }))
      .mutation(async ({ input }) => {
        const failure = await store.getFailure(input.eventId);
        if (failure === undefined) {
          throw new TRPCError({
            code: "NOT_FOUND",
            message: `no failure event with id ${JSON.stringify(input.eventId)}`,
          });
        }
        return { eventId: failure.eventId };
      }),

    /** How good it was against what was promised, how much of the error budget is spent, and how fast; 7 days by default. */
    serviceLevels: read
      .input(
        z
          .object({ windowMs: windowMs.default(SERVICE_LEVEL_DEFAULTS.windowMs) })
          .strict()
          .prefault({}),
      )
      .query(async ({ input }) => {
        const to = clock.now();
        const since = (ms: number) => ({ from: to - ms, to });
        const totals = (ms: number) => store.readTopProcedures({ ...since(ms), by: "errors", limit: MOST_PROCEDURES });
        const up = async (ms: number) => {
          const stepMs = Math.max(MINUTE_MS, Math.ceil(ms / MOST_STEPS / MINUTE_MS) * MINUTE_MS);
          const query = { metricName: "overall_health", ...since(ms), stepMs, limit: MOST_STEPS + 2 };
          return uptimeOf(await store.readSeries(query), stepMs);
        };
        const { hour, sixHours } = BURN_WINDOWS_MS;
        const [window, lastHour, lastSix, failures, upWindow, upHour, upSix] = await Promise.all([
          totals(input.windowMs),
          totals(hour),
          totals(sixHours),
          store.sumFailures(since(input.windowMs)),
          up(input.windowMs),
          up(hour),
          up(sixHours),
        ]);
        const { successRate, uptime, mttrMs } = SERVICE_LEVEL_DEFAULTS;
        return {
          windowMs: input.windowMs,
          operations: operationLevels(successRate, { window, hour: lastHour, sixHours: lastSix }),
          uptime: serviceLevelOf("uptime", uptime, upWindow, { hour: upHour, sixHours: upSix }),
          repair: {
            objectiveMs: mttrMs,
            meanMs: failures.resolved === 0 ? undefined : failures.meanRepairMs,
            met: failures.resolved === 0 ? undefined : failures.meanRepairMs < mttrMs,
            /** Failures that are over, of all. */
            resolved: attainmentOf(failures.resolved, failures.events),
          },
        };
      }),
  });
}

const modes = z.enum(MODES);
/** The whole is the sum of these. */
const MOST_PROCEDURES = 1_000;
const MOST_STEPS = 5_000;

/** Service levels, from what is stored: how good it was, how much of the error budget is spent, and how fast. Pure. */
import type { SeriesPoint } from "./series.js";
import type { ProcedureTotals } from "./top-procedures.js";
import { DAY_MS, HOUR_MS, MINUTE_MS } from "./units.js";

export const SERVICE_LEVEL_DEFAULTS = Object.freeze({
  /** Share of the time in which the whole is not unhealthy. */
  uptime: 0.9999,
  /** Share of operations that succeed; what the caller did wrong or gave up counts for none. */
  successRate: 0.95,
  windowMs: 7 * DAY_MS,
  /** Mean time from a failure's first sighting until it is over, below this. */
  mttrMs: 5 * MINUTE_MS,
});

/** The burn rate is told over these: a fast one for who is woken, a slow one for who plans. */
export const BURN_WINDOWS_MS = Object.freeze({ hour: HOUR_MS, sixHours: 6 * HOUR_MS });

/** Good ones of all; `share` is undefined where there were none. */
export interface Attainment {
  readonly good: number;
  readonly total: number;
  readonly share: number | undefined;
}

export interface ServiceLevel {
  /** A procedure's path, or `all`. */
  readonly name: string;
  readonly objective: number;
  readonly actual: Attainment;
  /** Undefined where nothing was measured. */
  readonly met: boolean | undefined;
  /** How many may fail in the window, and how many did; `left` is a share of the budget, below 0 when it is overspent. */
  readonly budget: { readonly allowed: number; readonly spent: number; readonly left: number };
  /** 1 spends the budget just by the window's end; undefined where nothing was measured. */
  readonly burnRate: { readonly hour: number | undefined; readonly sixHours: number | undefined };
}

/** @example attainmentOf(950, 1_000).share // 0.95 */
export function attainmentOf(good: number, total: number): Attainment {
  return { good, total, share: total > 0 ? good / total : undefined };
}

/** @param recent what was attained in the burn windows */
export function serviceLevelOf(
  name: string,
  objective: number,
  actual: Attainment,
  recent: { readonly hour: Attainment; readonly sixHours: Attainment },
): ServiceLevel {
  const allowed = (1 - objective) * actual.total;
  const spent = actual.total - actual.good;
  const burn = ({ share }: Attainment) => (share === undefined ? undefined : (1 - share) / (1 - objective));
  return {
    name,
    objective,
    actual,
    met: actual.share === undefined ? undefined : actual.share >= objective,
    budget: { allowed, spent, left: allowed > 0 ? (allowed - spent) / allowed : 1 },
    burnRate: { hour: burn(recent.hour), sixHours: burn(recent.sixHours) },
  };
}

/** What the service answered for: calls that the caller got wrong or left are not its doing. */
export function operationsOf({ outcomes }: Pick<ProcedureTotals, "outcomes">): Attainment {
  const failed = outcomes.server_error + outcomes.timeout + outcomes.rejected;
  return attainmentOf(outcomes.success, outcomes.success + failed);
}

export function sumOf(attained: readonly Attainment[]): Attainment {
  return attained.reduce(
    (sum, { good, total }) => attainmentOf(sum.good + good, sum.total + total),
    attainmentOf(0, 0),
  );
}

/** The level of each procedure, the one with the least budget left first, and of all of them together. */
export function operationLevels(
  objective: number,
  totals: Readonly<Record<"window" | "hour" | "sixHours", readonly ProcedureTotals[]>>,
): { readonly all: ServiceLevel; readonly procedures: readonly ServiceLevel[] } {
  const of = (rows: readonly ProcedureTotals[], procedure: string) => {
    const found = rows.find((row) => row.procedure === procedure);
    return found === undefined ? attainmentOf(0, 0) : operationsOf(found);
  };
  const all = (rows: readonly ProcedureTotals[]) => sumOf(rows.map(operationsOf));
  return {
    all: serviceLevelOf("all", objective, all(totals.window), {
      hour: all(totals.hour),
      sixHours: all(totals.sixHours),
    }),
    procedures: totals.window
      .map((row) =>
        serviceLevelOf(row.procedure, objective, operationsOf(row), {
          hour: of(totals.hour, row.procedure),
          sixHours: of(totals.sixHours, row.procedure),
        }),
      )
      .toSorted((a, b) => a.budget.left - b.budget.left || (a.name < b.name ? -1 : 1)),
  };
}

/**
 * How long the whole was up, in steps of `overall_health` (1, 0.5, 0). A step in which it was never unhealthy was up, one in
 * which it always was was down; one of both counts by its mean. Steps without a measurement count for nothing.
 */
export function uptimeOf(
  points: readonly Pick<SeriesPoint, "count" | "sum" | "min" | "max">[],
  stepMs: number,
): Attainment {
  const measured = points.filter(({ count }) => count > 0);
  const up = measured.reduce((sum, { count, sum: total, min }) => sum + (min > 0 ? 1 : total / count), 0);
  return attainmentOf(up * stepMs, measured.length * stepMs);
}

/**
 * When Paramedic holds itself back: by how its own repairs and the tasks it watches end, never by how users' calls end, so
 * that an outage does not switch healing off. Pure.
 */
import type { HealthCheckResult } from "./health.js";
import { type ActionStatus, ALERT_OPERATOR } from "./recovery.js";
import type { ActionCount, RepairEnd } from "./reports.js";
import { MINUTE_MS } from "./units.js";

export const SAFETY_DEFAULTS = Object.freeze({
  /** What ended within this long counts. */
  windowMs: 30 * MINUTE_MS,
  /** Fewer ends than this say nothing. */
  minSamples: 10,
  /** Above this share of failures repairs are no longer carried out, only recorded. */
  safetyRate: 0.5,
  /** Above this share somebody has to look at once. */
  criticalRate: 0.8,
  /** Failed repairs, or failed checks of one critical dependency, in a row that stop all repairs. */
  stopAfter: 10,
});
export type SafetyConfig = { readonly [Name in keyof typeof SAFETY_DEFAULTS]: number };

/** How Paramedic's own actions ended. */
export interface OwnRate {
  readonly ended: number;
  readonly failed: number;
  /** 0 to 1; undefined while fewer ended than say anything. */
  readonly rate: number | undefined;
}

/** normal → safety (repairs are only recorded) → critical (and somebody is told) */
export type SafetyVerdict = "normal" | "safety" | "critical";

const FAILED = ["failed", "rolled_back", "timed_out", "abandoned"] as const satisfies readonly ActionStatus[];

/** Whether an action was carried out and came to nothing. */
export function isFailedAction(status: ActionStatus): boolean {
  return FAILED.some((known) => known === status);
}

/**
 * @param actions what guards did themselves is left out: rescues fail with the call they serve
 * @example ownRate(actions, { succeeded: 3, failed: 0, reset: 1 }, SAFETY_DEFAULTS).rate // undefined, too few ended
 */
export function ownRate(
  actions: readonly ActionCount[],
  tasks: { readonly succeeded: number; readonly failed: number; readonly reset: number },
  { minSamples }: Pick<SafetyConfig, "minSamples">,
): OwnRate {
  const repairs = actions.filter(
    ({ scope, dryRun, byGuard, actionStrategy }) =>
      scope === "service" && !dryRun && !byGuard && actionStrategy !== ALERT_OPERATOR,
  );
  const rows = (matches: (status: ActionStatus) => boolean) =>
    repairs.filter(({ status }) => matches(status)).reduce((sum, count) => sum + count.rows, 0);
  const failed = rows(isFailedAction) + tasks.failed + tasks.reset;
  const ended = failed + rows((status) => status === "succeeded") + tasks.succeeded;
  return { ended, failed, rate: ended < minSamples || ended === 0 ? undefined : failed / ended };
}

/** @example judgeSafety({ ended: 10, failed: 6, rate: 0.6 }, SAFETY_DEFAULTS) // "safety" */
export function judgeSafety({ rate }: OwnRate, { safetyRate, criticalRate }: SafetyConfig): SafetyVerdict {
  if (rate === undefined || rate <= safetyRate) return "normal";
  return rate > criticalRate ? "critical" : "safety";
}

/** @param repairs newest first; that a human was told is none */
export function failedInARow(repairs: readonly RepairEnd[]): number {
  const counted = repairs.filter(
    ({ status, actionStrategy }) =>
      actionStrategy !== ALERT_OPERATOR && (status === "succeeded" || isFailedAction(status)),
  );
  const good = counted.findIndex(({ status }) => !isFailedAction(status));
  return good < 0 ? counted.length : good;
}

/** How often in a row each critical check failed. */
export type CheckStreaks = ReadonlyMap<string, { readonly failures: number; readonly checkedAt: number }>;

/**
 * Counts a look at the checks. Each result counts once; unknown says nothing, and what is not unhealthy ends a streak.
 *
 * @param checks the last results; those that are not critical are left out
 */
export function countChecks(
  before: CheckStreaks,
  checks: readonly Pick<HealthCheckResult, "name" | "status" | "criticality" | "checkedAt">[],
): CheckStreaks {
  const streaks = new Map<string, { readonly failures: number; readonly checkedAt: number }>();
  for (const { name, status, criticality, checkedAt } of checks) {
    if (criticality !== "critical") continue;
    const known = before.get(name) ?? { failures: 0, checkedAt: 0 };
    if (status === "unknown" || checkedAt <= known.checkedAt) streaks.set(name, known);
    else streaks.set(name, { failures: status === "unhealthy" ? known.failures + 1 : 0, checkedAt });
  }
  return streaks;
}

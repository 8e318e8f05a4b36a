/** What operators allow: which repairs may run for which services, when, how often and by whose hand. Pure. */
import { z } from "zod";
import { matchesName } from "./mode.js";
import { MAX_TIMER_MS, MINUTE_MS } from "./units.js";

/** The engine's own name among those who repair. */
export const ENGINE = "engine";

/**
 * One rule. The first one that fits a repair decides; where none does, it may run, but rests while its service is in
 * maintenance, and waits for approval when the strategy itself asks for it.
 *
 * @example
 * // Reconnect the main database at most twice an hour; restart only at night, and only when somebody says so.
 * [
 *   { services: ["db:main"], strategies: ["database_reconnect"], allow: "yes", mostPerWindow: 2, windowMs: 3_600_000 },
 *   { strategies: ["graceful_restart"], allow: "approval", hoursUtc: { from: "22:00", to: "05:00" } },
 * ]
 */
export interface RecoveryPolicy {
  /** Names, or prefixes ending in `*`. @default all */
  readonly services?: readonly string[] | undefined;
  /** Names of strategies, or prefixes ending in `*`. @default all */
  readonly strategies?: readonly string[] | undefined;
  /** `engine`, names of operators, or prefixes ending in `*`. @default everybody */
  readonly by?: readonly string[] | undefined;
  /** `approval`: an operator must say yes first; an operator who begins it himself has. */
  readonly allow: "yes" | "no" | "approval";
  /** @default "outside_maintenance" */
  readonly when?: "always" | "in_maintenance" | "outside_maintenance" | undefined;
  /** Hours of the day, UTC, `from` included and `to` excluded; over midnight where `to` comes first. @default all day */
  readonly hoursUtc?: { readonly from: string; readonly to: string } | undefined;
  /** Over all instances, for each service; 1 to 10,000. @default the engine's budget alone */
  readonly mostPerWindow?: number | undefined;
  /** 1 to 2^31-1 ms. @default 600_000 */
  readonly windowMs?: number | undefined;
}

export type PolicyVerdict =
  | { readonly type: "allowed"; readonly limit?: { readonly most: number; readonly windowMs: number } | undefined }
  | {
      readonly type: "needs_approval";
      readonly limit?: { readonly most: number; readonly windowMs: number } | undefined;
    }
  | { readonly type: "refused"; readonly reason: "policy" | "maintenance" | "outside_hours" };

export interface PolicyQuestion {
  readonly service: string;
  readonly strategy: string;
  /** `engine`, or an operator's name. */
  readonly by: string;
  readonly inMaintenance: boolean;
  /** The strategy asks for it itself. @default false */
  readonly asksForApproval?: boolean | undefined;
  /** UTC milliseconds. */
  readonly now: number;
}

const WINDOW_DEFAULT_MS = 10 * MINUTE_MS;

export function judgePolicy(policies: readonly RecoveryPolicy[], question: PolicyQuestion): PolicyVerdict {
  const { by, inMaintenance, asksForApproval = false, now } = question;
  const rule = policies.find((policy) => fits(policy, question)) ?? {
    allow: asksForApproval ? "approval" : "yes",
  };
  if (rule.allow === "no") return { type: "refused", reason: "policy" };
  switch (rule.when ?? (by === ENGINE ? "outside_maintenance" : "always")) {
    case "outside_maintenance":
      if (inMaintenance) return { type: "refused", reason: "maintenance" };
      break;
    case "in_maintenance":
      if (!inMaintenance) return { type: "refused", reason: "maintenance" };
      break;
    case "always":
      break;
  }
  if (rule.hoursUtc !== undefined && !isWithinHours(rule.hoursUtc, now)) {
    return { type: "refused", reason: "outside_hours" };
  }
  const limit =
    rule.mostPerWindow === undefined
      ? undefined
      : { most: rule.mostPerWindow, windowMs: rule.windowMs ?? WINDOW_DEFAULT_MS };
  return { type: rule.allow === "approval" && by === ENGINE ? "needs_approval" : "allowed", limit };
}

function fits({ services, strategies, by }: RecoveryPolicy, question: PolicyQuestion): boolean {
  return (
    matchesAny(services, question.service) && matchesAny(strategies, question.strategy) && matchesAny(by, question.by)
  );
}

function matchesAny(patterns: readonly string[] | undefined, name: string): boolean {
  return patterns === undefined || patterns.some((pattern) => matchesName(pattern, name));
}

const names = z.array(z.string().min(1).max(200)).min(1).max(1_000);
const timeOfDay = z.string().regex(/^([01]\d|2[0-3]):[0-5]\d$/, "a time of day such as 22:00");

/** Rules as they come from outside. */
export const recoveryPolicies = z
  .array(
    z.strictObject({
      services: names.optional(),
      strategies: names.optional(),
      by: names.optional(),
      allow: z.enum(["yes", "no", "approval"]),
      when: z.enum(["always", "in_maintenance", "outside_maintenance"]).optional(),
      hoursUtc: z.strictObject({ from: timeOfDay, to: timeOfDay }).optional(),
      mostPerWindow: z.number().int().min(1).max(10_000).optional(),
      windowMs: z.number().int().min(1).max(MAX_TIMER_MS).optional(),
    }),
  )
  .max(1_000);

function isWithinHours({ from, to }: { readonly from: string; readonly to: string }, now: number): boolean {
  const time = new Date(now).toISOString().slice(11, 16);
  return from <= to ? time >= from && time < to : time >= from || time < to;
}

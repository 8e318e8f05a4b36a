/** What rescues may cost in a window, in attempts, tokens or money: the options, their defaults and legal ranges. */
import { MAX_TIMER_MS, MINUTE_MS } from "../../shared/units.js";
import { invalidPolicy, requireInteger, requireKnown, requireNumber } from "./policy-checks.js";

/**
 * A ceiling for retries, hedges and failovers together, beside the share of the traffic that `retryBudget` allows. First
 * attempts are never refused by it, nor those that follow a refusal at the door: nothing was asked before them.
 *
 * @example
 * const policy = { rescueBudget: { name: "llm", maxCost: 2, windowMs: 3_600_000 } }; // two dollars an hour, for all
 * paramedic.llm({ providers, policy });
 */
export interface RescueBudgetPolicy {
  /** Services that name the same budget share it; the limits that were given first stand. @default the service's own */
  readonly name?: string | undefined;
  /** In any span of this length no more is spent; 10 to 2^31-1 ms. @default 60_000 */
  readonly windowMs?: number | undefined;
  /** Extra attempts; 0 to 1,000,000,000. @default no limit */
  readonly maxAttempts?: number | undefined;
  /** Tokens, of request and answer, that extra attempts use; 0 to 1e15. @default no limit */
  readonly maxTokens?: number | undefined;
  /** Money that extra attempts cost, in the currency of the providers' prices; 0 to 1e12. @default no limit */
  readonly maxCost?: number | undefined;
}

export const RESCUE_BUDGET_DEFAULTS = { windowMs: MINUTE_MS } as const;

const BUDGET_OPTIONS = [
  "name",
  "windowMs",
  "maxAttempts",
  "maxTokens",
  "maxCost",
] as const satisfies (keyof RescueBudgetPolicy)[];

/** @throws ParamedicError `CONFIGURATION_INVALID` naming the service, the option, what it got and what is legal. */
export function resolveRescueBudget(
  service: string,
  given: RescueBudgetPolicy | undefined,
): RescueBudgetPolicy | undefined {
  if (given === undefined) return undefined;
  requireKnown(service, "rescueBudget", given, BUDGET_OPTIONS);
  const { name, maxAttempts, maxTokens, maxCost } = given;
  const windowMs = given.windowMs ?? RESCUE_BUDGET_DEFAULTS.windowMs;
  if (name !== undefined && (typeof name !== "string" || name === "")) {
    throw invalidPolicy(service, "rescueBudget.name", `got ${JSON.stringify(name)}; legal: a name`);
  }
  if (maxAttempts === undefined && maxTokens === undefined && maxCost === undefined) {
    throw invalidPolicy(service, "rescueBudget", "needs maxAttempts, maxTokens or maxCost");
  }
  requireNumber(service, "rescueBudget.windowMs", windowMs, 10, MAX_TIMER_MS);
  if (maxAttempts !== undefined) requireInteger(service, "rescueBudget.maxAttempts", maxAttempts, 0, 1_000_000_000);
  if (maxTokens !== undefined) requireInteger(service, "rescueBudget.maxTokens", maxTokens, 0, 1e15);
  if (maxCost !== undefined) requireNumber(service, "rescueBudget.maxCost", maxCost, 0, 1e12);
  return Object.freeze({ name, windowMs, maxAttempts, maxTokens, maxCost });
}

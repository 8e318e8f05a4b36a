/** When a guard asks a second time beside an attempt that has not answered yet: its options, their defaults and legal ranges. */
import { MAX_TIMER_MS } from "../../shared/units.js";
import { invalidPolicy, requireInteger, requireKnown, requireNumber } from "./policy-checks.js";

export const HEDGE_TARGETS = ["same", "next"] as const;
export type HedgeTarget = (typeof HEDGE_TARGETS)[number];

/**
 * A hedge is one more attempt beside one that is late. The first success is the caller's and the others are called off. Only
 * work that may run twice is hedged, within the caller's deadline; a hedge costs the retry budget as much as a retry.
 *
 * @example paramedic.guard("http:search", { hedge: { afterMs: 300, afterPercentile: 95 } })
 */
export interface HedgePolicy {
  /**
   * An attempt is late after this long; 1 to 2^31-1 ms. Beside `afterPercentile`, as long as too few answers are known.
   * @default with `afterPercentile` none: nothing is hedged before 20 answers
   */
  readonly afterMs?: number | undefined;
  /** An attempt is late when so many per cent of the last 256 answers took less long; 50 to 99.9. @default none */
  readonly afterPercentile?: number | undefined;
  /** Hedges of one attempt, each as long after the one before; 1 to 10. @default 1 */
  readonly maxHedges?: number | undefined;
  /**
   * Who is asked: the service that is late, or the next target of the operation that admits calls; the same one where there
   * is no other. @default "same"
   */
  readonly target?: HedgeTarget | undefined;
}

/** With every default filled in. */
export interface ResolvedHedgePolicy {
  readonly afterMs: number | undefined;
  readonly afterPercentile: number | undefined;
  readonly maxHedges: number;
  readonly target: HedgeTarget;
}

export const HEDGE_DEFAULTS = { maxHedges: 1, target: "same" } as const satisfies Partial<ResolvedHedgePolicy>;

const HEDGE_OPTIONS = ["afterMs", "afterPercentile", "maxHedges", "target"] as const satisfies (keyof HedgePolicy)[];

/** @throws ParamedicError `CONFIGURATION_INVALID` naming the service, the option, what it got and what is legal. */
export function resolveHedgePolicy(service: string, given: HedgePolicy | undefined): ResolvedHedgePolicy | undefined {
  if (given === undefined) return undefined;
  requireKnown(service, "hedge", given, HEDGE_OPTIONS);
  const { afterMs, afterPercentile } = given;
  const maxHedges = given.maxHedges ?? HEDGE_DEFAULTS.maxHedges;
  const target = given.target ?? HEDGE_DEFAULTS.target;
  if (afterMs === undefined && afterPercentile === undefined) {
    throw invalidPolicy(service, "hedge", "needs afterMs or afterPercentile, to say when an attempt is late");
  }
  if (afterMs !== undefined) requireNumber(service, "hedge.afterMs", afterMs, 1, MAX_TIMER_MS);
  if (afterPercentile !== undefined) requireNumber(service, "hedge.afterPercentile", afterPercentile, 50, 99.9);
  requireInteger(service, "hedge.maxHedges", maxHedges, 1, 10);
  if (!HEDGE_TARGETS.includes(target)) {
    throw invalidPolicy(service, "hedge.target", `got ${String(target)}; legal: ${HEDGE_TARGETS.join(", ")}`);
  }
  return Object.freeze({ afterMs, afterPercentile, maxHedges, target });
}

/** When a closed circuit opens, by the counts of its window. Every threshold is reached with `>=`. Pure. */
import type { CircuitCounts, OwnOpeningReason } from "../../shared/circuit.js";
import type { CircuitConfig } from "../../shared/circuit-config.js";

export type TripReason = Extract<OwnOpeningReason, "failure_threshold" | "failure_ratio" | "slow_call_ratio">;

type JudgedCounts = Pick<CircuitCounts, "calls" | "failures" | "slow">;

/** Shares of the calls in a window; undefined while they are too few to say. */
export type WindowRatios = Pick<CircuitCounts, "failureRatio" | "slowCallRatio">;

/**
 * The rule that says to open; undefined when none does. A ratio is judged after every result, so a success may open the
 * circuit: by being the one that makes the calls enough.
 *
 * @example tripReason({ calls: 10, failures: 5, slow: 0 }, { ...config, window: "time", failureRatio: 0.5 }) // "failure_ratio"
 */
export function tripReason(counts: JudgedCounts, config: CircuitConfig): TripReason | undefined {
  const { failures } = counts;
  if (config.window === "consecutive") return failures >= config.failureThreshold ? "failure_threshold" : undefined;
  if (isReached(failures, config.windowFailures)) return "failure_threshold";
  const { failureRatio, slowCallRatio } = ratiosOf(counts, config);
  if (isReached(failureRatio, config.failureRatio)) return "failure_ratio";
  if (isReached(slowCallRatio, config.slowCallMs === undefined ? undefined : config.slowCallRatio)) {
    return "slow_call_ratio";
  }
  return undefined;
}

export function ratiosOf({ calls, failures, slow }: JudgedCounts, config: CircuitConfig): WindowRatios {
  const enough = calls >= (config.window === "consecutive" ? 1 : config.minimumCalls);
  return { failureRatio: enough ? failures / calls : undefined, slowCallRatio: enough ? slow / calls : undefined };
}

function isReached(value: number | undefined, threshold: number | undefined): boolean {
  return (value ?? 0) >= (threshold ?? Number.POSITIVE_INFINITY);
}

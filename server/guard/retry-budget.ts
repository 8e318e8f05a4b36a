/** How much rescuing one service may cost: a bucket of tokens that its own calls fill, so that retries never become the storm. */
import type { RetryBudgetPolicy } from "./guard-policy.js";

/** Runs the struggling service once more. */
export const RETRY_COST = 1;
/**
 * Moves load to another service instead of adding to the one that struggles, so with the default ratio every call may do it
 * once; a chain through many targets is still bounded.
 */
export const FAILOVER_COST = 0.1;

/**
 * The part of what a window brings that is kept for failovers, and for retries of callers who have nowhere else to go: beside
 * an attempt that may still answer, or a target that waits, one more request is a convenience.
 */
const KEPT_SHARE = 0.5;

/** Tokens that busy times may save up, as a multiple of `minRetries`, so that a burst of failures finds some. */
const SAVINGS = 10;

export interface RetryBudget {
  /** What a hedge leaves in the bucket, and a retry while another target waits. */
  kept(now: number): number;
  /** A call was made to the service. */
  earn(): void;
  /** @param now monotonic milliseconds */
  has(cost: number, now: number): boolean;
  /** Takes `cost` tokens, or none and says so. */
  take(cost: number, now: number): boolean;
  tokens(now: number): number;
}

/** @param now monotonic milliseconds; the bucket begins with `minRetries` tokens */
export function createRetryBudget(policy: RetryBudgetPolicy, now: number): RetryBudget {
  const { ratio, minRetries, windowMs } = policy;
  const most = Math.max(minRetries * SAVINGS, 1);
  let tokens = minRetries;
  let filledAt = now;
  /** Calls whose tokens are not in the bucket yet: every call counts here, and few ask what is in it. */
  let calls = 0;
  let earned = 0;
  let earnedBefore = 0;
  let earnedSince = now;

  const collect = (): void => {
    earned += calls * ratio;
    if (tokens < most) tokens = Math.min(tokens + calls * ratio, most);
    calls = 0;
  };

  // Time alone fills up to `minRetries` only; what is above it was earned by calls.
  const fill = (at: number): number => {
    collect();
    const refilled = tokens + (Math.max(at - filledAt, 0) / windowMs) * minRetries;
    if (tokens < minRetries) tokens = Math.min(refilled, minRetries);
    filledAt = at;
    return tokens;
  };
  // A tenth of a token ten times is a whole one, whatever binary fractions say.
  const covers = (cost: number, at: number): boolean => fill(at) >= cost - 1e-9;

  // Nobody asks while all is well: then a window is as long as that, and counts by its mean.
  const earnedInWindow = (at: number): number => {
    collect();
    const passedMs = at - earnedSince;
    if (passedMs >= windowMs) {
      earnedBefore = earned * (windowMs / passedMs);
      earned = 0;
      earnedSince = at;
    }
    return Math.max(earnedBefore, earned);
  };

  return {
    kept: (at) => Math.min(minRetries + earnedInWindow(at), most) * KEPT_SHARE,
    earn() {
      calls += 1;
    },
    has: covers,
    take(cost, at) {
      if (!covers(cost, at)) return false;
      tokens = Math.max(tokens - cost, 0);
      return true;
    },
    tokens: fill,
  };
}

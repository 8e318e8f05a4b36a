/** A request that is too long for one model goes on only to a model that is known to take more. */
import type { TargetTraits } from "../run.js";

/** One target's traits for one request. */
export type WindowTraits = Required<Pick<TargetTraits, "accepts" | "judge">>;

/**
 * @param windows tokens that each target takes, in order of preference; undefined where nobody knows
 * @returns one for each target, for one request
 */
export function windowTraits(windows: readonly (number | undefined)[]): readonly WindowTraits[] {
  /** The largest window that was too small. */
  let tooSmall: number | undefined;
  const takesMore = (window: number | undefined) => tooSmall === undefined || (window ?? 0) > tooSmall;
  return windows.map((window, index) => ({
    accepts: () => takesMore(window),
    judge(found) {
      if (found.reason !== "context_overflow" || window === undefined) return found;
      tooSmall = Math.max(tooSmall ?? 0, window);
      return windows.slice(index + 1).some(takesMore) ? { ...found, failover: true } : found;
    },
  }));
}

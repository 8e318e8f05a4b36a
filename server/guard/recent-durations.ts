/** How long the last answers of a service took, for a percentile of what is usual now. */

/** Enough for the 99th percentile to be a measured one. */
const KEPT = 256;
/** Below this many, a percentile is a guess. */
const TELLING = 20;
/** Sorting at each question would cost more than what it is asked for. */
const REFRESH_EVERY = 16;

export interface RecentDurations {
  add(durationMs: number): void;
  /** Undefined while fewer than 20 are known. */
  percentileMs(): number | undefined;
}

/** @param percentile above 0, below 100 */
export function createRecentDurations(percentile: number): RecentDurations {
  const kept: number[] = [];
  let next = 0;
  let known: number | undefined;
  let addedSince = 0;

  return {
    add(durationMs) {
      kept[next] = durationMs;
      next = (next + 1) % KEPT;
      addedSince += 1;
    },
    percentileMs() {
      if (kept.length < TELLING) return undefined;
      if (known === undefined || addedSince >= REFRESH_EVERY) {
        const sorted = kept.toSorted((a, b) => a - b);
        known = sorted[Math.ceil((percentile / 100) * sorted.length) - 1];
        addedSince = 0;
      }
      return known;
    },
  };
}

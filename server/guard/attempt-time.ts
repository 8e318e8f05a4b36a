/** How long one attempt may take, so that a hang leaves time for the ways that are left. */

/** A fallback is local: it gets this long even when the deadline is all but spent. */
export const FALLBACK_LEAST_MS = 250;
/** The part of the remaining time that targets leave to it, up to `FALLBACK_LEAST_MS`. */
const FALLBACK_SHARE = 0.1;

/** Given less than this, and less than its policy's time, a service has not shown that it hangs. */
const TELLING_MS = 1_000;

/**
 * The policy's time, or the attempt's fair share of what remains of the caller's, whichever is shorter.
 *
 * @param waysLeft targets that may still be asked, this one included; at least 1
 * @returns 0 or less when nothing is left
 * @example attemptTimeMs({ policyMs: 30_000, remainingMs: 20_000, waysLeft: 2, hasFallback: false }) // 10_000
 */
export function attemptTimeMs({
  policyMs,
  remainingMs,
  waysLeft,
  hasFallback,
}: {
  readonly policyMs: number;
  readonly remainingMs: number;
  readonly waysLeft: number;
  readonly hasFallback: boolean;
}): number {
  if (remainingMs === Number.POSITIVE_INFINITY) return policyMs;
  const reserveMs = hasFallback ? Math.min(FALLBACK_LEAST_MS, remainingMs * FALLBACK_SHARE) : 0;
  return Math.min(policyMs, (remainingMs - reserveMs) / waysLeft);
}

/**
 * A timeout after so short a time says more about the caller's deadline than about the service: callers in a hurry must not
 * open the circuit for everybody.
 */
export function isTooShortToTell(givenMs: number, policyMs: number): boolean {
  return givenMs < policyMs && givenMs < TELLING_MS;
}

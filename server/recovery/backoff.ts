/** How long to wait before the next try: exponential growth under a cap, with full jitter. Pure. */

/**
 * The longest wait before try `attempt` (0 is the first): `baseDelayMs` doubled each time, at most `maxDelayMs`.
 *
 * @example backoffCeilingMs(3, { baseDelayMs: 1_000, maxDelayMs: 30_000 }) // 8_000
 */
export function backoffCeilingMs(attempt: number, { baseDelayMs, maxDelayMs }: BackoffOptions): number {
  return Math.min(baseDelayMs * 2 ** Math.min(attempt, MAX_DOUBLINGS), maxDelayMs);
}

/** From 1 ms it is more than any timer holds; without a limit, 0 times infinity would be no number. */
const MAX_DOUBLINGS = 31;

/** A wait between 0 and the ceiling, so that those who failed together do not come back together. */
export function backoffDelayMs(attempt: number, options: BackoffOptions, random: () => number): number {
  return Math.round(random() * backoffCeilingMs(attempt, options));
}

export interface BackoffOptions {
  readonly baseDelayMs: number;
  readonly maxDelayMs: number;
}

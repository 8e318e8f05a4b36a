/** Durations in milliseconds, so that no bare 60000 stands in the code. */
export const SECOND_MS = 1_000;
export const MINUTE_MS = 60 * SECOND_MS;
export const HOUR_MS = 60 * MINUTE_MS;
export const DAY_MS = 24 * HOUR_MS;

/** The longest delay a Node timer keeps: a longer one fires after 1 ms with only a warning. */
export const MAX_TIMER_MS = 2 ** 31 - 1;

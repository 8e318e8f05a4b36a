/** The windows over which what is normal for a series is kept. */
export const BASELINE_WINDOWS = ["1h", "24h", "7d"] as const;
export type BaselineWindow = (typeof BASELINE_WINDOWS)[number];

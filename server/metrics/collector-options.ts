/** What a collector may be told: defaults and legal ranges. */
import { ParamedicError } from "../../shared/errors.js";
import { MAX_TIMER_MS, MINUTE_MS, SECOND_MS } from "../../shared/units.js";

export interface CollectorOptions {
  /** Series in one batch; 1 to 10,000. @default 100 */
  readonly batchSize?: number | undefined;
  /** Length of a window, aligned to the wall clock; 1 to 2^31-1. @default 1_000 */
  readonly flushIntervalMs?: number | undefined;
  /** Series that live at once; what exceeds it goes into overflow series. 1 to 1,000,000. @default 10_000 */
  readonly maxSeries?: number | undefined;
  /** Series of one metric name; 1 to 1,000,000. @default 2_000 */
  readonly maxSeriesPerMetric?: number | undefined;
  /** A series without points for this long is forgotten; 1 to 2^31-1. @default 600_000 */
  readonly seriesIdleMs?: number | undefined;
  /** How long one batch may take to arrive before it is sent again; 1 to 2^31-1. @default 3_000 */
  readonly appendTimeoutMs?: number | undefined;
}

export const COLLECTOR_DEFAULTS = Object.freeze({
  batchSize: 100,
  flushIntervalMs: SECOND_MS,
  maxSeries: 10_000,
  maxSeriesPerMetric: 2_000,
  seriesIdleMs: 10 * MINUTE_MS,
  appendTimeoutMs: 3 * SECOND_MS,
}) satisfies Required<CollectorOptions>;

export type ResolvedCollectorOptions = Readonly<Record<keyof CollectorOptions, number>>;

/** @throws ParamedicError CONFIGURATION_INVALID for a value outside its range */
export function resolveCollectorOptions(given: CollectorOptions): ResolvedCollectorOptions {
  return Object.freeze({
    batchSize: wholeOption(given, "batchSize", 10_000),
    flushIntervalMs: wholeOption(given, "flushIntervalMs", MAX_TIMER_MS),
    maxSeries: wholeOption(given, "maxSeries", 1_000_000),
    maxSeriesPerMetric: wholeOption(given, "maxSeriesPerMetric", 1_000_000),
    seriesIdleMs: wholeOption(given, "seriesIdleMs", MAX_TIMER_MS),
    appendTimeoutMs: wholeOption(given, "appendTimeoutMs", MAX_TIMER_MS),
  });
}

function wholeOption(given: CollectorOptions, name: keyof CollectorOptions, highest: number): number {
  const value = given[name] ?? COLLECTOR_DEFAULTS[name];
  if (Number.isSafeInteger(value) && value >= 1 && value <= highest) return value;
  throw new ParamedicError(
    "CONFIGURATION_INVALID",
    `the collector's ${name} is whole and in [1, ${highest}], got ${value}`,
  );
}

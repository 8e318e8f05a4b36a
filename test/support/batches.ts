/** Batches as collectors send them, for tests that need some. */
import type { Batch } from "../../shared/series.js";

export interface BatchParts {
  readonly instance?: string;
  readonly boot?: string;
  readonly metricName?: string;
  /** Whole milliseconds: a counter's points, so that sums are exact. */
  readonly values?: readonly number[];
  readonly recordedTotal?: number;
}

/** @example batchOf(1, { values: [3, 4] }) */
export function batchOf(seq: number, parts: BatchParts = {}): Batch {
  const values = parts.values ?? [1];
  const windowStart = Date.UTC(2026, 0, 1) + seq * 1_000;
  return {
    version: 1,
    instance: parts.instance ?? "test",
    boot: parts.boot ?? "boot",
    seq,
    windowStart,
    windowEnd: windowStart + 1_000,
    recordedTotal: parts.recordedTotal ?? seq * values.length,
    droppedTotal: {},
    series: [
      {
        metricType: "custom",
        metricName: parts.metricName ?? "orders_total",
        kind: "counter",
        unit: "1",
        source: "test",
        tags: {},
        count: values.length,
        sum: values.reduce((sum, value) => sum + value, 0),
        min: Math.min(...values),
        max: Math.max(...values),
        last: values.at(-1) ?? 0,
        buckets: [],
      },
    ],
  };
}

/** Where stages record measurements. The collector is behind it. Nothing here throws, waits or does I/O. */
import type { MetricType, SeriesDescriptor, SeriesKind, Tags } from "../../shared/series.js";

/** One measurement in the convenient form. */
export interface MetricPoint {
  readonly metricType: MetricType;
  readonly metricName: string;
  readonly value: number;
  /** @default "1" */
  readonly unit?: string | undefined;
  /** @default {} */
  readonly tags?: Tags | undefined;
  /** @default metricName */
  readonly source?: string | undefined;
  /** @default "histogram" for unit "ms" and "s", "counter" for a name ending in `_count` or `_total`, else "gauge" */
  readonly kind?: SeriesKind | undefined;
}

/** A series resolved once; recording through it allocates nothing. */
export interface SeriesHandle {
  record(value: number): void;
}

export interface MetricSink {
  record(point: MetricPoint): void;
  /** The same handle for equal descriptors, for as long as the series lives; beyond the cap, the overflow series'. */
  series(descriptor: SeriesDescriptor): SeriesHandle;
}

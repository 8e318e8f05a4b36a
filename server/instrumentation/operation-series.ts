/** The series of each operation, resolved once: `<name>.duration`, `<name>.success_count`, `<name>.failure_count`. */
import type { Tags } from "../../shared/series.js";
import type { MetricSink, SeriesHandle } from "../ports/metric-sink.js";
import type { FailedOutcome } from "./call-outcome.js";

export interface OperationSeries {
  succeeded(durationMs: number): void;
  /** Without a duration where nobody saw the call begin: then it is only counted. */
  failed(outcome: FailedOutcome, durationMs: number | undefined): void;
}

/** The series of an operation by its key. Keys must be bounded: each keeps its handles. */
export type SeriesOfOperation = (key: string) => OperationSeries;

interface Handles {
  readonly duration: SeriesHandle;
  readonly count: SeriesHandle;
}

/**
 * `success_count` and `failure_count` together are all operations that ended; the tag `status` tells the service's failures
 * from the client's errors.
 *
 * @param prefix what stands before the key in metric names and source
 */
export function createOperationSeries(sink: MetricSink, prefix = ""): SeriesOfOperation {
  const byKey = new Map<string, OperationSeries>();
  return (key) => {
    const known = byKey.get(key);
    if (known) return known;
    const series = new LazyOperationSeries(sink, prefix + key);
    byKey.set(key, series);
    return series;
  };
}

/** Asks for a series when something happens that belongs there. */
class LazyOperationSeries implements OperationSeries {
  private success: Handles | undefined;
  private readonly failures = new Map<string, Handles>();

  constructor(
    private readonly sink: MetricSink,
    private readonly name: string,
  ) {}

  succeeded(durationMs: number): void {
    this.success ??= this.handles({ status: "success" }, "success_count", {});
    this.success.duration.record(durationMs);
    this.success.count.record(1);
  }

  failed(outcome: FailedOutcome, durationMs: number | undefined): void {
    const key = `${outcome.status} ${outcome.errorType} ${outcome.errorCategory}`;
    let handles = this.failures.get(key);
    if (!handles) {
      const tags = { status: outcome.status, error_type: outcome.errorType, error_category: outcome.errorCategory };
      handles = this.handles(tags, "failure_count", tags);
      this.failures.set(key, handles);
    }
    if (durationMs !== undefined) handles.duration.record(durationMs);
    handles.count.record(1);
  }

  private handles(durationTags: Tags, countName: "success_count" | "failure_count", countTags: Tags): Handles {
    const { sink, name } = this;
    const common = { metricType: "operation", source: name } as const;
    const duration = { metricName: `${name}.duration`, kind: "histogram", unit: "ms", tags: durationTags } as const;
    const count = { metricName: `${name}.${countName}`, kind: "counter", unit: "1", tags: countTags } as const;
    return { duration: sink.series({ ...common, ...duration }), count: sink.series({ ...common, ...count }) };
  }
}
